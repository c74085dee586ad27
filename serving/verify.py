"""Decide whether an archive may be served: it is the one that was built here, and its zip and its own files pass their checks.

An archive is code that runs here. These checks find one that was changed, damaged or built carelessly. They do not stop
somebody who can write both the archive and `SHA256SUMS`. No code of the archive runs.
"""

import hashlib
import re
import zipfile
from pathlib import Path
from typing import BinaryIO

import msgspec

from serving import manifest, zip_check
from serving.errors import ServerError, UnsafeArchive

SUMS = "SHA256SUMS"
LINE = re.compile(r"([0-9a-f]{64}) [ *]([^/\0]+)")
MOST_SUMS = 1 << 20  # bytes of `SHA256SUMS`: some ten thousand archives


class Verified(msgspec.Struct):
    """An archive that may be served.

    Args:
        sha256: of the archive.
        data: the fingerprint of the data that its model was trained with, "" if training recorded none.
    """

    sha256: str
    data: str


def archives_of(store: Path) -> list[Path]:
    """The archives that the store has, and those that it should have by `SHA256SUMS`."""
    return [store / name for name in sorted({*sums(store), *(file.name for file in store.glob("*.mar"))})]


def verify(archive: Path) -> Verified:
    """Check one archive.

    Raises:
        ServerError: it does not exist, is not the one in `SHA256SUMS`, or fails a check of `zip_check.py` or `manifest.py`.
    """
    expected = sums(archive.parent).get(archive.name)
    if not archive.is_file():
        raise ServerError(f"{archive}: no such archive; make archive makes it")
    if expected is None:
        raise ServerError(f"{archive} is not in {SUMS}; build it here: make archive")
    with archive.open("rb") as file:
        digest = sha256(file)
        if digest != expected:
            raise ServerError(f"{archive} is not the one that was built: its SHA-256 begins {digest[:12]}, not {expected[:12]}")
        try:
            digests = zip_check.check(file)
            with zipfile.ZipFile(file) as opened:
                return Verified(digest, manifest.check(opened, digests, archive.name))
        except UnsafeArchive as error:
            raise UnsafeArchive(f"{archive}: {error}") from None


def sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while piece := file.read(zip_check.CHUNK):
        digest.update(piece)
    return digest.hexdigest()


def sums(store: Path) -> dict[str, str]:
    """`SHA256SUMS`: the digest of each archive by its file name.

    Raises:
        ServerError: the file is malformed.
    """
    file, known = store / SUMS, {}
    try:
        with file.open("rb") as opened:
            text = opened.read(MOST_SUMS + 1)
    except FileNotFoundError:
        return {}
    if len(text) > MOST_SUMS:
        raise ServerError(f"{file} is longer than {MOST_SUMS >> 20} MiB; remove it and build the archives anew: make archive")
    for number, line in enumerate(text.decode(errors="replace").splitlines(), 1):
        match = LINE.fullmatch(line)
        if not match or known.setdefault(match[2], match[1]) != match[1]:
            wrong = f"{match[2]!r} stands there twice" if match else "no SHA-256 and file name"
            raise ServerError(f"{file}:{number}: {wrong}; mend or remove the line")
    return known
