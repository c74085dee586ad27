"""A model that torchtext's environment trained is archived and served by this one."""

import json
import subprocess
from pathlib import Path

import pytest

from archive.build import build
from bench import servers
from serving.evaluate import evaluate
from serving.state import StateDir

PYTHON = Path(".venv-torchtext/bin/python")
TRAIN = """
import sys
from pathlib import Path
from train.__main__ import train

folder = Path(sys.argv[1])
train("intents", ["--trainer.max_epochs=10"], folder / "artifacts", folder / "runs")
"""

pytestmark = [
    pytest.mark.server,
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="no .venv-torchtext: make setup EXTRAS=torchtext"),
]


@pytest.fixture(scope="module")
def training(tmp_path_factory) -> tuple[Path, str]:
    """The artifact, and what its training printed."""
    folder = tmp_path_factory.mktemp("torchtext")
    done = subprocess.run([PYTHON, "-c", TRAIN, folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "artifacts" / "intents", done.stdout


def test_the_training_and_its_artifact_say_that_torchtext_was_used(training):
    artifact, printed = training
    assert printed.count("texts by torchtext 0.18.0\n") == 1
    versions = json.loads((artifact / "model.json").read_text())["versions"]
    assert (versions["torch"], versions["torchtext"]) == ("2.3.1", "0.18.0")


def test_the_served_answers_are_those_of_the_training(training, tmp_path):
    artifact, _ = training
    build(artifact, Path("archive/recipes/intents.yaml"), tmp_path / "store")
    with servers.bundle(tmp_path / "store", tmp_path / ".torchserve", [("intents", "1.0")]):
        figures = evaluate(StateDir(tmp_path / ".torchserve"), "intents", artifact / "test.zip", clients=4)
    assert figures.inputs == 140 and figures.disagreements == []
    assert figures.value == figures.offline > 0.5
