"""Clients of other projects, in an environment of their own, which `make setup EXTRAS=clients` makes."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

BIN = Path(".venv-clients/bin").absolute()


def ask(script: str, *arguments: Any) -> dict:
    """Run a script of tests/clients/ and read what it prints. Without the environment, the test is skipped."""
    if not BIN.is_dir():
        pytest.skip("no .venv-clients: make setup EXTRAS=clients")
    done = subprocess.run(
        [BIN / "python", f"tests/clients/{script}", *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
