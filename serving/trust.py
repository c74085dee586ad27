"""Whether an archive may be hosted: it is the one that was built, and nothing in it can reach beyond it.

An archive is code that will run here. These checks find a changed, damaged or careless one; whoever can write both the
archive and `SHA256SUMS` can still put in what they like. Knows nothing of HTTP.
"""

import hashlib
import re
import stat
import zipfile
from collections import Counter
from pathlib import Path, PurePosixPath

from serving.home import ServerError

SUMS = "SHA256SUMS"
# torch.save's and joblib's names, and how a pickle of protocol 2 and above begins.
PICKLES = {".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".dill"}
PICKLED = re.compile(rb"\x80[\x02-\x05]")


def verify(archive: Path) -> str:
    """The archive's SHA-256.

    Raises:
        ServerError: it is not there, not the one in `SHA256SUMS`, or holds what no archive of the bundle does.
    """
    try:
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    except FileNotFoundError:
        raise ServerError(f"{archive}: no such archive; make archive makes it") from None
    expected = sums(archive.parent).get(archive.name)
    if expected is None:
        raise ServerError(f"{archive} is not in {SUMS}; build it here: make archive")
    if digest != expected:
        raise ServerError(f"{archive} is not the one that was built: its SHA-256 begins {digest[:12]}, not {expected[:12]}")
    try:
        with zipfile.ZipFile(archive) as file:
            names = Counter(entry.filename for entry in file.infolist())
            for entry in file.infolist():
                if wrong := fault(entry, file.read(entry)) or (names[entry.filename] > 1 and "stands there twice"):
                    raise ServerError(f"{archive}: {entry.filename!r} {wrong}; such an archive is not hosted")
    except zipfile.BadZipFile as error:
        raise ServerError(f"{archive} is no archive: {error}") from None
    return digest


def sums(store: Path) -> dict[str, str]:
    """`SHA256SUMS`: the digest of each archive by its file name."""
    file = store / SUMS
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return {name: digest for digest, name in (line.split(maxsplit=1) for line in lines)}


def fault(entry: zipfile.ZipInfo, content: bytes) -> str | None:
    """What is wrong with an entry, if anything is."""
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        return "leaves the archive"
    if stat.S_ISLNK(entry.external_attr >> 16):
        return "is a symbolic link"
    if path.suffix.lower() in PICKLES or PICKLED.match(content) or (content[:2] == b"PK" and b"data.pkl" in content):
        return "is a pickle, which could run anything"
    return None
