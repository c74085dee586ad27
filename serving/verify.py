"""Whether an archive may be hosted: it is the one that was built, nothing in it can reach beyond it, and its papers are right.

An archive is code that will run here. These checks find a changed, damaged or careless one; whoever can write both the
archive and `SHA256SUMS` can still put in what they like. Knows nothing of HTTP, nor of what is printed; none of an archive's
code is run.
"""

import hashlib
import zipfile
from pathlib import Path
from typing import BinaryIO

import msgspec

from model_defs.bundle_format import SUMS, SumsError, read_sums
from serving import manifest, zip_check
from serving.state import ServerError
from serving.zip_check import UnsafeArchive


class Trusted(msgspec.Struct):
    """An archive that may be hosted.

    Args:
        sha256: of the archive.
        data: the fingerprint of what its model was trained with; empty where training left none.
        bundle: the version of the bundle that built it; empty where the archive does not say it.
    """

    sha256: str
    data: str
    bundle: str = ""


class Audited(msgspec.Struct):
    """One archive of a store: what it is, or what is wrong with it."""

    archive: Path
    trusted: Trusted | None = None
    fault: str = ""


def audit(archives: list[Path]) -> list[Audited]:
    """`verify` for each."""
    audited = []
    for archive in archives:
        try:
            audited.append(Audited(archive, verify(archive)))
        except ServerError as error:
            audited.append(Audited(archive, fault=str(error)))
    return audited


def archives_of(store: Path) -> list[Path]:
    """All that a store has, and all that it should have."""
    return [store / name for name in sorted({*sums(store), *(file.name for file in store.glob("*.mar"))})]


def verify(archive: Path) -> Trusted:
    """
    Raises:
        ServerError: it is not there, not the one in `SHA256SUMS`, or holds what no archive of the bundle does.
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
            with zipfile.ZipFile(file) as whole:
                return Trusted(digest, *manifest.check(whole, digests, archive.name))
        except UnsafeArchive as error:
            raise ServerError(f"{archive}: {error}") from None


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
    try:
        return read_sums(store / SUMS)
    except SumsError as error:
        raise ServerError(str(error)) from None
