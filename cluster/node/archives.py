"""An archive on this node: fetched, compared with the SHA-256 of the configuration, unpacked once, and first on the path."""

import fcntl
import hashlib
import importlib
import os
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import BinaryIO

CODE = ("handlers", "model_defs")  # the packages that each archive has its own version of
CHUNK = 1 << 20


def unpacked(source: str, sha256: str, cache: Path) -> Path:
    """The folder of the unpacked archive in `cache`. Several replicas of a node may ask at once.

    Args:
        source: a path that every node sees, or a URL that fsspec knows, such as s3://bucket/digits-1.0.mar.
        sha256: that the archive must have.

    Raises:
        ValueError: it is another archive.
        OSError: it cannot be read.
    """
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = cache / sha256
    with (cache / f".{sha256}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            with tempfile.TemporaryFile(dir=cache) as file:
                fetch(source, sha256, file)
                staged = Path(tempfile.mkdtemp(prefix=".new-", dir=cache))
                try:
                    with zipfile.ZipFile(file) as archive:
                        archive.extractall(staged)
                    staged.rename(folder)
                except BaseException:
                    shutil.rmtree(staged)
                    raise
    return folder


def fetch(source: str, sha256: str, file: BinaryIO) -> None:
    """Copy the archive into the file. For the arguments and errors see `unpacked`."""
    digest = hashlib.sha256()
    with opened(source) as content:
        while piece := content.read(CHUNK):
            digest.update(piece)
            file.write(piece)
    if digest.hexdigest() != sha256:
        raise ValueError(
            f"{source} is not the archive of the configuration: its SHA-256 begins {digest.hexdigest()[:12]}, not {sha256[:12]}; "
            "make deploy sends the new one, or bring the old one back"
        )


def opened(source: str):
    if "://" not in source:
        return Path(source).open("rb")
    import fsspec

    return fsspec.open(source, "rb").open()


def use(folder: Path) -> None:
    """Let this process import `handlers` and `model_defs` from the archive.

    Raises:
        RuntimeError: it has imported others, or would.
    """
    strangers = sorted(name for name in sys.modules if name.partition(".")[0] in CODE)
    if strangers:
        raise RuntimeError(f"{strangers[0]} was imported before the archive's own; each replica needs a process of its own")
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    for name in CODE:
        found = Path(importlib.import_module(name).__path__[0]).resolve()
        if found != (folder / name).resolve():
            raise RuntimeError(f"{name} comes from {found}, not from the archive in {folder}")


def default_cache() -> Path:
    """Where a node keeps unpacked archives."""
    return Path(os.environ.get("BUNDLE_ARCHIVES", Path(tempfile.gettempdir()) / f"bundle-archives-{os.getuid()}"))
