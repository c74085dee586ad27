"""The names and numbers on which the builder of archives and the server agree: each is said here and nowhere else.

Only Python's own library is imported, so that a command of the server starts without torch.
"""

import re
from pathlib import Path

from model_defs.errors import BundleError

# Files of an artifact, which the archive holds too.
MODEL = "model.json"
WEIGHTS = "weights.safetensors"
SAMPLES = "samples"  # a folder
EXPECTED = "expected.json"  # in `samples/` and in `test.zip`
SAMPLES_FILE = f"{SAMPLES}/{EXPECTED}"

# Files that only the archive has.
MANIFEST = "MAR-INF/MANIFEST.json"
RECIPE = "model-config.yaml"  # TorchServe's name for it
BILL = "bom.cdx.json"  # the bill of materials
SCHEMA = "model-config.schema.json"  # which recipes the packed code takes
COMPARISON = "comparison.json"  # how the runtime compares with the eager network, where it is another
CODE = ("handlers", "model_defs")  # the folders with Python files, the entry apart

SUMS = "SHA256SUMS"  # next to the archives
SUMS_LINE = re.compile(r"([0-9a-f]{64}) [ *]([^/\0]+)")  # as `sha256sum` writes it
MOST_SUMS = 1 << 20  # bytes of `SHA256SUMS`: some ten thousand archives

# What a compressed body, or a text inside a file, may have when it is unpacked. The server tells its workers, in the variable,
# what its max_request_size is; without it they take config.properties' own.
MAX_BODY_BYTES, MAX_BODY_VARIABLE = 10 << 20, "BUNDLE_MAX_REQUEST_SIZE"

TOLERANCE = 1e-3  # how far a number may lie from the one that training recorded, unless the recipe says otherwise


class SumsError(BundleError):
    """`SHA256SUMS` is malformed; the message names the line and what to do."""


def read_sums(file: Path) -> dict[str, str]:
    """The SHA-256 of each archive by its file name; empty if there is no such file.

    Raises:
        SumsError: a line, an empty one included, is not a SHA-256 and a file name, or the file is too long.
    """
    try:
        with file.open("rb") as opened:
            text = opened.read(MOST_SUMS + 1)
    except FileNotFoundError:
        return {}
    if len(text) > MOST_SUMS:
        raise SumsError(f"{file} is longer than {MOST_SUMS >> 20} MiB; remove it and build the archives anew: make archive")
    known: dict[str, str] = {}
    for number, line in enumerate(text.decode(errors="replace").splitlines(), 1):
        match = SUMS_LINE.fullmatch(line)
        if not match or known.setdefault(match[2], match[1]) != match[1]:
            wrong = f"{match[2]!r} stands there twice" if match else "no SHA-256 and file name"
            raise SumsError(f"{file}:{number}: {wrong}; mend or remove the line")
    return known
