"""Which runtimes this machine can try."""

import importlib.util
import os
import shutil

from handlers.runtimes import RUNTIMES

INSTALLED = [
    name
    for name, runtime in RUNTIMES.items()
    if all(importlib.util.find_spec(package) for package in runtime.packages)
    and (name != "compile" or shutil.which(os.environ.get("CXX", "g++")))
]


def missing(runtime: str) -> str:
    """Why a test of it is left out."""
    return "there is no C++ compiler" if runtime == "compile" else f"not installed: make setup EXTRAS={runtime}"
