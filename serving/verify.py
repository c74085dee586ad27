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

from model_defs.bundle_format import SUMS, VERSION, SumsError, read_sums, version_order
from serving import manifest, zip_check
from serving.errors import ServerError, UnsafeArchive


class Verified(msgspec.Struct):
    """An archive that may be served.

    Args:
        sha256: of the archive.
        data: the fingerprint of the data that its model was trained with, "" if training recorded none.
        bundle: the version of the bundle that built it, "" if the archive does not say it.
        origin: where the model comes from, in words: "trained here", "imported, compared" ...
    """

    sha256: str
    data: str
    bundle: str = ""
    origin: str = ""


def archives_of(store: Path) -> list[Path]:
    """The archives that the store has, and those that it should have by `SHA256SUMS`."""
    return [store / name for name in sorted({*sums(store), *(file.name for file in store.glob("*.mar"))})]


def archive_path(store: Path, model: str, version: str, use: str = "hosted") -> Path:
    """The path of an archive in the store.

    Args:
        use: what the caller does with it, for the message.

    Raises:
        ServerError: the names are those of something outside the store.
    """
    if not re.fullmatch(r"[\w.+-]+", f"{model}{version}", re.ASCII):
        raise ServerError(f"{model!r} {version!r} is no model and version: only archives of {store}/ can be {use}")
    return store / f"{model}-{version}.mar"


def newest(store: Path, model: str) -> str:
    """The highest version of the model that the store has.

    Raises:
        ServerError: there is none.
    """
    archive = re.compile(rf"{re.escape(model)}-({VERSION.pattern})\.mar", re.ASCII)
    versions = [match[1] for name in sums(store) if (match := archive.fullmatch(name))]
    if not versions:
        raise ServerError(
            f"no archive of {model!r} in {store}/; make archive MODEL={model} makes one; "
            f"a model that you have: make import NAME={model} FROM=model.pth"
        )
    return max(versions, key=version_order)


def verify(archive: Path) -> Verified:
    """Check one archive.

    Raises:
        ServerError: it does not exist, is not the one in `SHA256SUMS`, or fails a check of `zip_check.py` or `manifest.py`.
    """
    expected = sums(archive.parent).get(archive.name)
    if not archive.is_file():
        raise ServerError(f"{archive}: no such archive; make archive makes it")
    if expected is None:
        raise ServerError(
            f"{archive} is not in {SUMS}; build it here: make archive; "
            f"an archive from elsewhere: make import NAME=name FROM={archive}"
        )
    with archive.open("rb") as file:
        digest = sha256(file)
        if digest != expected:
            raise ServerError(f"{archive} is not the one that was built: its SHA-256 begins {digest[:12]}, not {expected[:12]}")
        try:
            digests = zip_check.check(file)
            with zipfile.ZipFile(file) as opened:
                return Verified(digest, *manifest.check(opened, digests, archive.name))
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
    try:
        return read_sums(store / SUMS)
    except SumsError as error:
        raise ServerError(str(error)) from None
