"""One imported model of each kind, served by a real TorchServe, with the answers that its import recorded."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision
import yaml

from importers.__main__ import parser, run
from model_defs.answer_diff import difference
from serving.client import BYTES, TYPES
from tests.bundle import serving_archives

pytestmark = [pytest.mark.server, pytest.mark.slow]
OWNER = Path("tests/importers/hugging_face_owner.py").absolute()
MODELS = {"classifier": "photos", "vit": "photos", "bert": "texts", "wav2vec2": "sounds"}


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("imported")
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, OWNER, folder], cwd=folder, env=environment, check=True, capture_output=True)
    torch.manual_seed(0)
    torch.save(torchvision.models.mobilenet_v3_small(num_classes=3).state_dict(), folder / "classifier")
    (folder / "classes.txt").write_text("tench\nzebra\ncat")
    for name, tried in MODELS.items():
        run(parser().parse_args([name, str(folder / name), "--try", str(folder / tried)]), folder)
        recipe = folder / f"archive/recipes/{name}.yaml"
        recipe.write_text(yaml.safe_dump(yaml.safe_load(recipe.read_text()) | {"maxWorkers": 1, "minWorkers": 1}))
    with serving_archives(folder / "artifacts", folder, folder / "archive/recipes", MODELS) as bundle:
        yield bundle


@pytest.mark.parametrize("name", MODELS)
def test_it_answers_over_http_as_its_import_recorded(imported, name):
    content_type = TYPES[".txt"] if MODELS[name] == "texts" else BYTES
    for sample, payload in imported.samples(name):
        answer = imported.post(name, data=payload, headers={"Content-Type": content_type})
        assert answer.status_code == 200, answer.text
        assert difference(answer.json(), sample["answer"], 1e-4) is None
