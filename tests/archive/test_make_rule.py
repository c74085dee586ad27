"""archive/make_rule.py: make learns which code an archive holds."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def rule(project, picture_artifact) -> dict[str, list[str]]:
    """What `python -m archive` wrote for make: each target with what it depends on."""
    shutil.copytree(picture_artifact, project / "artifacts" / "digits")
    subprocess.run([sys.executable, "-m", "archive", "digits"], cwd=project, check=True, capture_output=True)
    lines = (project / "model_store/.deps/digits-1.0.d").read_text().splitlines()
    return {target: files.split() for target, _, files in (line.partition(":") for line in lines)}


def test_an_archive_depends_on_the_code_that_it_holds_and_that_packs_it(rule):
    files = rule["model_store/digits-1.0.mar"]
    assert {"handlers/torchserve.py", "handlers/vision.py", "handlers/runtimes/eager.py", "model_defs/vision.py"} <= {*files}
    assert {"archive/build.py", "archive/bom.py"} <= {*files}
    assert not {"handlers/audio.py", "handlers/runtimes/ncnn.py", "archive/exporters/ncnn.py"} & {*files}
    assert all(Path(file).is_file() for file in files)
    assert all(rule[file] == [] for file in files)  # a file that is gone does not stop make
