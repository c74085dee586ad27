"""One imported model of each kind, served by a real TorchServe: its answers over HTTP are those of its owner's own Python."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from importers.__main__ import parser, run
from importers.expect import as_scores
from model_defs.answer_diff import difference
from serving.client import BYTES, TYPES
from tests.bundle import serving_archives

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(1200)]
OWNER = Path(__file__).with_name("owners_models.py")
PICTURES = ("torchvision", "onnx", "stock", "detector", "own_network", "custom", "timm", "vit", "yolos", "segformer", "clip")
NAMES = (*PICTURES, "text_archive", "bert", "wav2vec2", "entities", "embeddings")
TRUSTED = ("custom", "text_archive")  # archives whose code runs
COUNT, CLOSE = 20, 1e-4


@pytest.fixture(scope="module")
def owned(tmp_path_factory):
    """The folder of the owner's script, which ran without the bundle, and what it says of each kind."""
    for package in ("transformers", "timm", "onnxruntime"):
        pytest.importorskip(package, reason=f"make setup EXTRAS={package}")
    folder = tmp_path_factory.mktemp("imported")
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, OWNER, folder], cwd=folder, env=environment, check=True, capture_output=True)
    return folder, json.loads((folder / "kinds.json").read_bytes())


@pytest.fixture(scope="module")
def imported(owned):
    """A server with all of them, each with one worker."""
    folder, kinds = owned
    own = Path("model_defs/own/own_network.py")  # an archive's code is taken from the project
    load = torch.load, torch.jit.load  # which an old handler's process replaces
    try:
        for name, (source, inputs, flags, _) in kinds.items():
            trust = ["--trust", hashlib.sha256((folder / source).read_bytes()).hexdigest()] if name in TRUSTED else []
            run(parser().parse_args([name, str(folder / source), "--try", str(folder / inputs), *flags, *trust]), folder)
            recipe = folder / f"archive/recipes/{name}.yaml"
            recipe.write_text(yaml.safe_dump(yaml.safe_load(recipe.read_text()) | {"maxWorkers": 1, "minWorkers": 1}))
        torch.load, torch.jit.load = load
        own.write_bytes((folder / own).read_bytes())
        with serving_archives(folder / "artifacts", folder, folder / "archive/recipes", NAMES) as bundle:
            yield bundle
    finally:
        own.unlink(missing_ok=True)


@pytest.mark.parametrize("name", NAMES)
def test_it_answers_over_http_as_its_owners_python(imported, owned, name):
    folder, kinds = owned
    _, inputs, _, own = kinds[name]
    assert len(own) == COUNT
    wrong = {}
    for file, expected in own.items():
        content_type = TYPES[".txt"] if inputs == "texts" else BYTES
        answer = imported.post(name, data=(folder / inputs / file).read_bytes(), headers={"Content-Type": content_type})
        assert answer.status_code == 200, (file, answer.text)
        given = answer.json()
        if name == "segformer":
            given = {segment["label"]: segment["mask"] for segment in given}
        elif as_scores(expected) is not None and name not in ("detector", "yolos"):
            given, expected = as_scores(given), as_scores(expected)
        if found := difference(given, expected, CLOSE):
            wrong[file] = found
    assert not wrong
