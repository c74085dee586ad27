"""docs/your-own-model.md works: its files in a copy of the project, and its commands one after the other."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from serving.config import free_ports

pytestmark = pytest.mark.server
PAGE = Path("docs/your-own-model.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^\*\*`([^`]+)`\*\*\n\n```\w+\n(.*?)^```", PAGE, re.M | re.S))
COMMANDS = "".join(re.findall(r"^```bash\n(.*?)^```", PAGE, re.M | re.S)).replace("\\\n", "").splitlines()
CODE = ("archive", "handlers", "model_defs", "requirements", "serving", "train")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of this project, its server on free ports, with the page's files in it."""
    folder = tmp_path_factory.mktemp("own")
    for name in CODE:
        shutil.copytree(name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for lock in (folder / "requirements").iterdir():
        os.utime(lock, (1, 1))  # older than what is installed
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(name, folder)
    settings = Path("config.properties").read_text(encoding="utf-8")
    for setting in free_ports():
        name = setting.partition("=")[0]
        settings = re.sub(rf"^{name}=.*\n", "", settings, flags=re.M) + f"{setting}\n"
    (folder / "config.properties").write_text(settings, encoding="utf-8")
    (folder / ".venv").symlink_to(Path(sys.prefix), target_is_directory=True)
    for name, content in FILES.items():
        assert not (folder / name).exists(), f"{name} is no new file"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    yield folder
    run(folder, "make stop")


def run(folder: Path, command: str) -> str:
    inference = re.search(r"^inference_address=(.*)$", (folder / "config.properties").read_text(), re.M)[1]
    ours = ("MAKEFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "ARGS")  # of the make that runs these tests
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    done = subprocess.run(
        command.replace("http://127.0.0.1:8080", inference),
        shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_from_an_empty_file_to_an_answer(project):
    said = {command: run(project, command) for command in COMMANDS}
    trained, served, predicted, evaluated, refused = said.values()
    assert "artifacts/motifs/: accuracy" in trained and "motifs 1.0 is ready" in served
    assert json.loads(predicted.splitlines()[-1])[0]["label"] == "TATA box"
    assert "0 disagreements" in evaluated and float(re.search(r"over HTTP ([\d.]+)", evaluated)[1]) > 0.8
    assert refused.strip() in PAGE


def test_the_page_s_own_tests_pass_in_the_project(project):
    tests = [name for name in FILES if name.startswith("tests/")]
    command = [sys.executable, "-m", "pytest", "-q", "--import-mode=importlib", "--noconftest", *tests]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_page_s_table_lists_its_files():
    assert set(re.findall(r"^\| `([^`]+)` \|", PAGE, re.M)) == set(FILES)
