"""To add a runtime is to add a file to `handlers/runtimes/` and, for exported files, one to `archive/exporters/`."""

import json
import shutil
import subprocess
import sys
import zipfile

import pytest

RUNTIME = '''
"""A toy: the network as a text file with the digest of its weights, run by PyTorch."""

from handlers.runtimes.runtime import Exported


class Toy(Exported):
    precisions = ("fp32", "fp7")
    files = ("network.toy",)

    def __init__(self, artifact, settings, device, threads):
        self.network = artifact.build_network()
        super().__init__(artifact, settings, device, threads)

    def loaded(self, files, settings, device, threads):
        assert files[0].read_text() == f"fp32 on {device}"
        return lambda inputs: self.network(*inputs).detach()
'''
EXPORTER = '''
"""Export to `network.toy`."""


def export(artifact, precision, device, folder):
    (folder / "network.toy").write_text(f"{precision} on {device}")
'''
RECIPE = "handler: {class_path: handlers.vision.ImageClassifier, runtime: toy}\n"
ANSWER = """
import yaml
from handlers import base
section = yaml.safe_load(open("model-config.yaml"))["handler"]
handler = base.load(".", section)
handler.warm_up(2)
print(type(handler.runtime).__name__, type(handler.runtime).__module__)
"""


@pytest.fixture
def archive(project, picture_artifact):
    """`python -m archive` with a toy runtime of these devices: what it says, and its exit status."""

    def run(devices: str, recipe: str) -> tuple[str, int]:
        shutil.copytree(picture_artifact, project / "artifacts" / "digits")
        (project / "handlers/runtimes/toy.py").write_text(RUNTIME.replace("    files", f"    devices = {devices}\n    files"))
        (project / "archive/exporters/toy.py").write_text(EXPORTER)
        (project / "archive/recipes/digits.yaml").write_text(recipe)
        command = [sys.executable, "-m", "archive", "digits"]
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr, done.returncode

    return run


@pytest.mark.slow
def test_a_runtime_of_two_new_files_is_archived_and_served(archive, project, tmp_path):
    said, status = archive('("cpu",)', f"deviceType: cpu\n{RECIPE}")
    assert status == 0, said
    assert said.startswith("digits: toy fp32 against eager fp32: the same first label in 100.00% of 8 answers")
    with zipfile.ZipFile(project / "model_store" / "digits-1.0.mar") as file:
        section = json.loads(file.read("model-config.schema.json"))["$defs"]["Settings"]["properties"]
        file.extractall(tmp_path / "unpacked")
    assert section["runtime"]["enum"] == ["eager", "toy"] and "fp7" in section["precision"]["enum"]
    done = subprocess.run([sys.executable, "-c", ANSWER], cwd=tmp_path / "unpacked", capture_output=True, text=True)
    assert done.stdout == "Toy handlers.runtimes.toy\n", done.stderr


def test_a_runtime_for_gpus_only_says_so(archive, project):
    said, status = archive('("cuda",)', f"deviceType: cpu\n{RECIPE}")
    assert status == 1
    assert said == "error: archive/recipes/digits.yaml:1: runtime toy runs on GPUs only; write deviceType: gpu\n"


def test_a_runtime_for_gpus_only_needs_one_where_it_is_archived(archive):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    said, status = archive('("cuda",)', RECIPE)
    assert status == 1
    assert said == "error: runtime toy does not run on cpu; it needs a GPU, and there is none here\n"
