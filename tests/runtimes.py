"""Which runtimes this machine can run."""

import importlib.util
import os
import shutil
from collections.abc import Iterable

import pytest

from handlers import runtimes

RUNTIMES = {name: runtimes.find(name) for name in runtimes.names()}
INSTALLED = [
    name
    for name, runtime in RUNTIMES.items()
    if all(importlib.util.find_spec(package) for package in runtime.packages)
    and (name != "compile" or shutil.which(os.environ.get("CXX", "g++")))
]


def missing(runtime: str) -> str:
    """Why a test of the runtime is skipped."""
    return "there is no C++ compiler" if runtime == "compile" else f"not installed: make setup EXTRAS={runtime}"


def needs(runtime: str) -> pytest.MarkDecorator:
    """A mark that skips a test if the runtime is not installed."""
    return pytest.mark.skipif(runtime not in INSTALLED, reason=missing(runtime))


def each(names: Iterable[str]) -> list:
    """These runtimes, for `parametrize`; those that are not installed are skipped."""
    return [pytest.param(name, marks=needs(name)) for name in names]
