"""Public data sets that torchvision and torchaudio read and download."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from train.data.example import DataError

DOWNLOADS = "data/downloads"


def open_set(source: Callable, root: Path, **options: Any) -> Any:
    """The data set `source` that lies in `root`; it is downloaded if it is not there.

    Raises:
        DataError: it is not there, and the download failed.
    """
    try:
        try:
            return source(root, **options)
        except (OSError, RuntimeError):
            root.mkdir(parents=True, exist_ok=True)
            return source(root, download=True, **options)
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"{source.__name__} is not in {root}/ and cannot be downloaded ({error}); "
            "give a folder that holds it, or one of class folders, with DATA=<folder>"
        ) from error
