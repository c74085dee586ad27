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
DESCRIPTION = "description.json"  # what the model takes and gives
CODE = ("handlers", "model_defs")  # the folders with Python files, the entry apart

SUMS = "SHA256SUMS"  # next to the archives
SUMS_LINE = re.compile(r"([0-9a-f]{64}) [ *]([^/\0]+)")  # as `sha256sum` writes it
MAX_SUMS = 1 << 20  # bytes of `SHA256SUMS`: some ten thousand archives

MODEL_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")  # fits into file names, URLs, archive names and make's variables
# TorchServe's management API looks for "/token" anywhere in a request, and takes /models/tokens for a request about its tokens.
TOKEN_API = "token"
SHARED_RECIPE = "default"  # archive/recipes/default.yaml: what all recipes share
VERSION = re.compile(r"(\d+(?:\.\d+)*)([-.]?[A-Za-z][A-Za-z0-9.]*)?(\+[A-Za-z0-9.]+)?", re.ASCII)  # 2.0, 2.0.1-rc1, 2.0+gpu

# What a compressed body, or a text inside a file, may have when it is unpacked. The server tells its workers, in the variable,
# what its max_request_size is; without it they take config.properties' own.
MAX_BODY_BYTES, MAX_BODY_VARIABLE = 10 << 20, "BUNDLE_MAX_REQUEST_SIZE"

# A model's explanations have workers of their own, under the model's name with this ending. No model's name has a dot. The server
# tells its workers, in the variable, whether they leave explanations to those.
EXPLAINER, EXPLAINERS_VARIABLE = ".explain", "BUNDLE_EXPLANATION_WORKERS"
EXPLAINS = "handlers/explain/subject.py"  # an archive that has this file gives explanations

TOLERANCE = 1e-3  # how far a number may lie from the one that training recorded, unless the recipe says otherwise


def fault_of_name(name: str) -> str | None:
    """Why no model can have this name, and what to do; None if one can."""
    if not MODEL_NAME.fullmatch(name):
        return f"{name!r}: a model's name is a letter, then letters, digits and underscores, 63 at most, such as my_flowers"
    if name.startswith(TOKEN_API):
        return f"{name!r}: TorchServe cannot manage a model whose name begins with {TOKEN_API!r}; take another, such as my_{name}"
    if name == SHARED_RECIPE:
        return f"{name!r}: {name}.yaml holds what all recipes share; take another name, such as my_{name}"
    return None


class SumsError(BundleError):
    """`SHA256SUMS` is malformed; the message names the line and what to do."""


def read_sums(file: Path) -> dict[str, str]:
    """The SHA-256 of each archive by its file name; empty if there is no such file.

    Raises:
        SumsError: a line, an empty one included, is not a SHA-256 and a file name, or the file is too long.
    """
    try:
        with file.open("rb") as opened:
            text = opened.read(MAX_SUMS + 1)
    except FileNotFoundError:
        return {}
    if len(text) > MAX_SUMS:
        raise SumsError(f"{file} is longer than {MAX_SUMS >> 20} MiB; remove it and build the archives again: make archive")
    known: dict[str, str] = {}
    for number, line in enumerate(text.decode(errors="replace").splitlines(), 1):
        match = SUMS_LINE.fullmatch(line)
        if not match or known.setdefault(match[2], match[1]) != match[1]:
            wrong = f"{match[2]!r} stands there twice" if match else "no SHA-256 and file name"
            raise SumsError(f"{file}:{number}: {wrong}; mend or remove the line")
    return known


def version_order(version: str) -> tuple:
    """A sort key that puts 1.10 after 1.9, and 1.0.0-rc1 before 1.0.0. The Makefile sorts archives in the same order.

    Raises:
        ValueError: no version; see `VERSION`.
    """
    match = VERSION.fullmatch(version)
    if not match:
        raise ValueError(f"{version!r} is no version: expected numbers, and perhaps a pre-release, such as 2.0 or 2.0-rc1")
    numbers, pre_release, build = match.groups()
    return [int(part) for part in numbers.split(".")], pre_release is None, natural(pre_release), natural(build)


def natural(text: str | None) -> list[tuple[int, int, str]]:
    """A sort key that puts rc2 before rc10."""
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.findall(r"[0-9]+|[A-Za-z]+", text or "")]
