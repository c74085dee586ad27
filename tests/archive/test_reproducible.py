"""The same artifact and recipe give the same archive, whatever else is installed and whatever other code says."""

import importlib.util
import json
import subprocess
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from archive.bom import libraries
from archive.build import build
from model_defs.bundle_format import BILL
from tests.archive.conftest import built

EXTRAS = ["ncnn", "onnx", "onnxruntime", "openvino", "tokenizers", "torch_geometric", "transformers"]


@pytest.fixture
def serving_python(tmp_path) -> Path:
    """A Python that sees the packages of the group `serve` and what they require, and nothing else that is installed here."""
    groups = tomllib.loads(Path("pyproject.toml").read_text())["dependency-groups"]
    needed = libraries(canonicalize_name(Requirement(line).name) for line in groups["serve"])
    folder, seen = Path(torch.__file__).parents[1], tmp_path / "packages"
    seen.mkdir()
    for distribution in metadata.distributions(path=[str(folder)]):
        if canonicalize_name(distribution.name) in needed:
            for name in {file.parts[0] for file in distribution.files if file.parts[0] not in ("..", "__pycache__")}:
                if not (seen / name).exists():
                    (seen / name).symlink_to(folder / name)
    venv.create(tmp_path / "venv", with_pip=False)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (site / "packages.pth").write_text(f"{seen}\n")
    return tmp_path / "venv" / "bin" / "python"


@pytest.mark.slow
def test_what_else_is_installed_does_not_change_an_archive(picture_artifact, text_artifact, tmp_path, serving_python):
    seen = f"import importlib.util; print([name for name in {EXTRAS} if importlib.util.find_spec(name)])"
    assert subprocess.run([serving_python, "-c", seen], capture_output=True, text=True).stdout == "[]\n"
    if not any(map(importlib.util.find_spec, EXTRAS)):
        pytest.skip("no extra is installed here: make setup EXTRAS=onnxruntime")
    artifacts = {"digits": picture_artifact, "intents": text_artifact}
    whole = built(Path.cwd(), tmp_path / "whole", artifacts)
    assert built(Path.cwd(), tmp_path / "small", artifacts, serving_python) == whole


@pytest.mark.slow
def test_only_its_own_code_changes_an_archive(picture_artifact, text_artifact, tmp_path, project):
    artifacts = {"digits": picture_artifact, "intents": text_artifact}
    before = built(project, tmp_path / "before", artifacts)
    for changed in ("handlers/audio.py", "handlers/vision.py", "handlers/runtimes/ncnn.py", "model_defs/graph.py"):
        with (project / changed).open("a") as file:
            file.write("\n# a comma,\n")
    after = built(project, tmp_path / "after", artifacts)
    assert after["intents"] == before["intents"] and after["digits"] != before["digits"]


@pytest.mark.parametrize(("kind", "recipe", "own", "others"), [
    ("picture", "digits", "model_defs/vision.py", "model_defs/text.py"),
    ("text", "intents", "model_defs/text.py", "model_defs/vision.py"),
])  # fmt: skip
def test_a_bill_lists_what_its_own_model_needs(kind, recipe, own, others, request, tmp_path):
    artifact = request.getfixturevalue(f"{kind}_artifact")
    with zipfile.ZipFile(build(artifact, Path(f"archive/recipes/{recipe}.yaml"), tmp_path / "store")) as file:
        listed = {part["name"] for part in json.loads(file.read(BILL))["components"]}
    assert {"torch", "torchserve", "captum", "handlers/runtimes/eager.py", own} <= listed
    assert not listed & {"ncnn", "onnxruntime", "openvino", "torch-geometric", "transformers", "soundfile", "torchaudio"}
    assert not listed & {"handlers/audio.py", "handlers/runtimes/ncnn.py", "model_defs/graph.py", others}


def test_a_model_of_an_extra_lists_it(transformer_artifact, tmp_path):
    with zipfile.ZipFile(build(transformer_artifact, Path("archive/recipes/intents_transformer.yaml"), tmp_path)) as file:
        listed = {part["name"] for part in json.loads(file.read(BILL))["components"]}
    assert {"transformers", "tokenizers"} <= listed
