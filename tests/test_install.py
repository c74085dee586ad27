"""requirements/install.sh: which Python it takes, and what it says where there is none."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path("requirements/install.sh").absolute()
# A Python that only answers what it is asked: whether its version is one of those given, and which one it has.
FAKE = """\
#!/bin/sh
case "$1" in
-c) shift 2; case " $* " in *" {version} "*) exit 0 ;; *) exit 1 ;; esac ;;
--version) echo Python {version} ;;
*) echo "{name} $*"; exit 9 ;;
esac
"""


@pytest.fixture
def machine(tmp_path):
    """A PATH with the few tools that the script needs, and fake Pythons: `has` adds one, `run` runs the script."""
    bin = tmp_path / "bin"
    bin.mkdir()
    for tool in ("sh", "df", "awk", "cat", "mkdir", "sed"):
        (bin / tool).symlink_to(shutil.which(tool))

    def has(name: str, version: str) -> None:
        (bin / name).write_text(FAKE.format(name=name, version=version))
        (bin / name).chmod(0o755)

    def run(*versions: str) -> subprocess.CompletedProcess:
        command = [SCRIPT, "venv", "lock.txt", *versions]
        return subprocess.run(command, cwd=tmp_path, env=os.environ | {"PATH": str(bin)}, capture_output=True, text=True)

    return has, run


@pytest.mark.parametrize(
    ("versions", "named"), [((), "3.11, 3.12 or 3.13"), (("3.11", "3.12"), "3.11 or 3.12"), (("3.12",), "3.12")]
)
def test_without_a_suitable_python_one_line_says_how_to_get_one(machine, versions, named):
    has, run = machine
    has("python3", "3.14")
    done = run(*versions)
    wanted = f"error: no Python {named} here; get one with: uv python install {named[:4]} (pip install uv gets uv)\n"
    assert (done.returncode, done.stderr) == (1, wanted)


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        ({"python3": "3.14", "python3.13": "3.13"}, "python3.13"),
        ({"python3": "3.14", "python3.13": "3.13", "python3.12": "3.12"}, "python3.12"),
        ({"python3": "3.13", "python3.11": "3.11"}, "python3.11"),
        ({"python3": "3.12"}, "python3"),
        ({"python": "3.11", "python3": "3.10"}, "python"),
    ],
)
def test_it_finds_a_suitable_python(machine, there, taken):
    has, run = machine
    for name, version in there.items():
        has(name, version)
    assert f"{taken} -m venv --clear venv" in run().stdout


def test_an_environment_can_ask_for_other_versions(machine):
    has, run = machine
    has("python3.11", "3.11")
    has("python3.12", "3.12")
    has("python3.13", "3.13")
    assert "python3.12 -m venv" in run("3.12", "3.11").stdout


def test_a_python_that_does_not_start_is_skipped(machine):
    """As pyenv's shims of versions that are not switched on."""
    has, run = machine
    has("python3.11", "broken")
    has("python3.12", "3.12")
    assert "python3.12 -m venv" in run().stdout
