"""Comparisons of the bundle's text code with torchtext's. `make test-torchtext` runs them in torchtext's environment."""

from importlib.util import find_spec
from pathlib import Path

import pytest

collect_ignore_glob = [] if find_spec("torchtext") else ["test_*.py"]

SHARED = Path("../shared/data")


@pytest.fixture(params=["ag_news", "imdb"])
def real_texts(request) -> list[str]:
    """The texts of a real training set."""
    from train.data.text import TextCSV

    folder = SHARED / request.param
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    data = TextCSV(root=str(folder))
    data.setup()
    return [example.read().decode() for example in data.splits["train"]]
