"""What several tests of archive/ use: a copy of the code that may be changed, and archives built from it in another process."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BUILD = """
import sys
from pathlib import Path
from archive.build import build
store, *pairs = sys.argv[1:]
for pair in pairs:
    artifact, recipe = pair.split("=")
    build(Path(artifact), Path("archive/recipes", f"{recipe}.yaml"), Path(store))
"""


@pytest.fixture
def project(tmp_path) -> Path:
    """A folder with the code that archives are made of and by."""
    folder = tmp_path / "project"
    for package in ("handlers", "model_defs", "archive"):
        shutil.copytree(package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy("pyproject.toml", folder)
    return folder


def built(project: Path, store: Path, artifacts: dict[str, Path], python: str | Path = sys.executable) -> dict[str, bytes]:
    """The bytes of the archives that the code in `project` makes of these artifacts, by the name of the recipe."""
    pairs = [f"{artifact}={recipe}" for recipe, artifact in artifacts.items()]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [python, "-c", BUILD, store, *pairs]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {recipe: (store / f"{artifact.name}-1.0.mar").read_bytes() for recipe, artifact in artifacts.items()}
