"""One example of a data set, and the error for data that cannot be used."""

from pathlib import Path
from typing import Any, NamedTuple

from model_defs.errors import BundleError


class DataError(BundleError):
    """The data cannot be used. The message names the file and the line, and says what to do."""


class Example(NamedTuple):
    """One input and its truth.

    Args:
        payload: the input's bytes, or the file that holds them.
        truth: in the format that `model_defs/metrics.py` takes: a label; a list of boxes or masks; numbers.
        source: where the example comes from, for messages: a path, or `train.csv:17`.
        suffix: of a file that holds such an input: ".png".
    """

    payload: bytes | Path
    truth: Any
    source: str
    suffix: str

    def read(self) -> bytes:
        return self.payload.read_bytes() if isinstance(self.payload, Path) else self.payload
