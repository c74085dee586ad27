"""requirements/install.sh: which Python it takes, and what it says where there is none."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path("requirements/install.sh").absolute()


@pytest.fixture
def machine(tmp_path):
    """A PATH of its own with the few tools that the script needs, and Pythons that only tell what they were asked to do."""
    bin = tmp_path / "bin"
    bin.mkdir()
    for tool in ("sh", "df", "awk", "cat", "mkdir"):
        (bin / tool).symlink_to(shutil.which(tool))

    def has(name: str, version: str) -> None:
        suits = 0 if version in ("3.10", "3.11", "3.12") else 1
        answers = f'-c) exit {suits};; --version) echo Python {version};; *) echo "{name} $*"; exit 9;;'
        (bin / name).write_text(f'#!/bin/sh\ncase "$1" in {answers} esac\n')
        (bin / name).chmod(0o755)

    def run() -> subprocess.CompletedProcess:
        command = [SCRIPT, "venv", "lock.txt"]
        return subprocess.run(command, cwd=tmp_path, env=os.environ | {"PATH": str(bin)}, capture_output=True, text=True)

    return has, run


def test_without_a_python_that_suits_it_says_the_one_command_that_gets_one(machine):
    has, run = machine
    has("python3", "3.13")
    done = run()
    assert done.returncode == 1 and "uv python install 3.11" in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        ({"python3": "3.13", "python3.12": "3.12"}, "python3.12"),
        ({"python3": "3.13", "python3.12": "3.12", "python3.10": "3.10"}, "python3.10"),
        ({"python3": "3.12", "python3.11": "3.11"}, "python3.11"),
        ({"python3": "3.10"}, "python3"),
        ({"python": "3.12", "python3": "3.9"}, "python"),
    ],
)
def test_it_finds_the_python_that_suits(machine, there, taken):
    has, run = machine
    for name, version in there.items():
        has(name, version)
    assert f"{taken} -m venv --clear venv" in run().stdout


def test_a_broken_python_of_the_right_name_is_passed_over(machine):
    """As pyenv's shims are, for versions that are not switched on."""
    has, run = machine
    has("python3.11", "broken")
    has("python3.12", "3.12")
    assert "python3.12 -m venv" in run().stdout
