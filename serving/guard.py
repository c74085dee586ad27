"""The guard that TorchServe starts in place of Python: it checks the worker's code, then becomes the worker.

TorchServe 0.12 accepts any local folder as the `url` of a registration, links it and runs its code. No setting prevents that
(ModelArchive.downloadModel), and a `handler` may name a file anywhere. So before any code runs, the guard compares the worker's
folder, file by file, with the archive whose SHA-256 is in `SHA256SUMS`. Then it seals the folder: it records each file's size,
times and inode. For a worker that starts again it only compares these. That takes no time, and works even if the archive was
built again since or the store is gone.

The guard runs under `python -I -S` and imports only the standard library. It does not stop somebody who can write to the
server's folder or to the store, nor code in an archive that is in `SHA256SUMS`.
"""

import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import re
import shlex
import signal
import stat
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

SUMS = "SHA256SUMS"
LINE = re.compile(r"([0-9a-f]{64}) [ *]([^/\0]+)")
WORKER = "ts/model_service_worker.py"
# The names by which TorchServe starts Python, and the Python arguments that each stands for. The guard's path to `python` is a
# setting. TorchServe looks the others up in PATH, if an archive has `runtime: python3` or `parallelType`.
NAMES = {"python": [], "python3": [], "torchrun": ["-m", "torch.distributed.run"]}
END = "--"  # of the guard's own arguments; TorchServe's follow
CHUNK = 1 << 20  # bytes that are read at once
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class GuardError(Exception):
    """This worker must not start; the message says why."""


def install(temporary: str, store: str, site: str, start: Sequence[str]) -> Path:
    """Make the folder in which TorchServe finds the guard under each of Python's names.

    Args:
        temporary: the server's temporary folder.
        store: the model store.
        site: the `site-packages` that has TorchServe.
        start: the command that stands for Python once a worker has passed: Python itself, or the fork server's client.
    """
    folder = Path(temporary, "bin")
    folder.mkdir()
    site = os.path.realpath(site)  # Java resolves links, too
    guard = [sys.executable, "-I", "-S", os.path.abspath(__file__), temporary, store, site]
    for name, options in NAMES.items():
        # A shell script: the interpreter's path in a `#!` line may neither be long nor contain spaces.
        script = folder / name
        command = shlex.join([*guard, *start, *options, END])
        script.write_bytes(os.fsencode(f'#!/bin/sh\nexec {command} "$@"\n'))
        script.chmod(0o700)
    return folder


def main() -> None:
    temporary, store, site, *start = sys.argv[1 : sys.argv.index(END)]
    arguments = sys.argv[sys.argv.index(END) + 1 :]
    try:
        if f"{site}/{WORKER}" in arguments:
            die_with_the_frontend()
            check(Path(temporary).resolve(), Path(store), Path(site))
        elif not os.path.samefile(os.getcwd(), site):  # `system_metrics_cmd` runs there, and belongs to no model
            raise GuardError("only workers are started; useVenv and install_py_dep_per_model bring other code and cannot be used")
        else:
            start = [sys.executable]
    except (GuardError, OSError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        sys.exit(f"this worker cannot start\\n{error}")  # one line; serving/worker_log.py looks for it
    become([*start, *arguments], own=os.path.join(temporary, "bin"))


def become(command: list[str], own: str) -> None:
    """Replace this process by the command. `own` is the guards' folder, which the worker does not get in its PATH."""
    os.environ["PATH"] = os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if part != own)
    os.execv(command[0], command)


def die_with_the_frontend() -> None:
    """Let Linux kill this process when the thread of TorchServe that started it ends, even while this process hangs.

    That thread hands the worker its requests, so it lives as long as the worker (WorkerThread.run).
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def check(temporary: Path, store: Path, site: Path) -> None:
    """Check the code that this worker would run.

    Raises:
        GuardError: it is not that of an archive of the store.
    """
    folder = Path.cwd()
    if folder.parent != temporary / "models":
        raise GuardError(f"{str(folder)!r} is no archive of the model store; a folder is not served, only what make archive made")
    for entry in filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)):
        path = Path(os.path.realpath(entry))
        if not path.is_relative_to(folder) and path != site:
            raise GuardError(f"a handler in {entry!r} is not of the model store; register the archive without naming one")
    seals = temporary / "seals"
    seals.mkdir(exist_ok=True)
    with (seals / folder.name).open("a+b") as seal:
        fcntl.flock(seal, fcntl.LOCK_EX)  # the model's other workers start at the same time
        seal.seek(0)
        sealed, found = None, unpacked(folder)
        with contextlib.suppress(ValueError):  # the seal is empty, or only half of it was written
            sealed = json.loads(seal.read())
        if sealed is None:
            compare_with_archive(folder, set(found), store)
            seal.truncate(0)
            seal.write(json.dumps(found).encode())
        else:
            compare_with_seal(sealed, found)


def unpacked(folder: Path) -> dict[str, list[int]]:
    """The files below the folder, each with facts that change whenever somebody changes the file.

    Raises:
        GuardError: there is a link, or something else that is neither file nor folder.
    """
    found = {}
    for parent, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = os.path.join(parent, name)
            facts = os.lstat(path)
            if stat.S_ISREG(facts.st_mode):
                found[os.path.relpath(path, folder)] = [facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino]
            elif not stat.S_ISDIR(facts.st_mode):
                raise GuardError(f"{path!r} is neither file nor folder; such an archive is not served")
    return found


def compare_with_seal(sealed: dict[str, list[int]], found: dict[str, list[int]]) -> None:
    """Compare the folder with its seal. New files in `__pycache__` are Python's own: it adds them when the first worker runs.

    Raises:
        GuardError: a file was changed, added or removed.
    """
    for name in sealed.keys() | found.keys():
        if sealed.get(name) != found.get(name) and not ("__pycache__" in Path(name).parts and name not in sealed):
            raise GuardError(f"{name!r} was changed since the archive was unpacked; unregister the model and register it again")


def compare_with_archive(folder: Path, found: set[str], store: Path) -> None:
    """Compare the files of the folder with the archive that the folder's manifest names.

    Raises:
        GuardError: the archive is not in `SHA256SUMS` or has another SHA-256, or the folder has other files.
    """
    name = archive_name(folder)
    expected = sums(store).get(name)
    if expected is None:
        raise GuardError(f"{name!r} is not in {store / SUMS}; build it here: make archive")
    with (store / name).open("rb") as opened:
        digest = hashlib.sha256()
        while chunk := opened.read(CHUNK):
            digest.update(chunk)
        if digest.hexdigest() != expected:
            raise GuardError(
                f"{name!r} is not the one that was built: its SHA-256 begins {digest.hexdigest()[:12]}, not {expected[:12]}"
            )
        with zipfile.ZipFile(opened) as archive:
            entries = {entry.filename: entry for entry in archive.infolist() if not entry.is_dir()}
            if differ := sorted(entries.keys() ^ found):
                raise GuardError(
                    f"{differ[0]!r} is {'not ' if differ[0] in found else 'only '}in {name!r}; such a model is not served"
                )
            for entry in entries.values():
                if not is_same(archive, entry, folder / entry.filename):
                    raise GuardError(
                        f"{entry.filename!r} differs from the one in {name!r}; register the archive of the model store"
                    )


def archive_name(folder: Path) -> str:
    """The archive's file name in the store, from the model and the version in the folder's manifest."""
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        model = json.loads((folder / "MAR-INF" / "MANIFEST.json").read_bytes())["model"]
        name = f"{model['modelName']}-{model['modelVersion']}.mar"
        if Path(name).name == name:
            return name
    raise GuardError("MAR-INF/MANIFEST.json says neither name nor version of the model; make archive makes archives that do")


def sums(store: Path) -> dict[str, str]:
    """`SHA256SUMS`: the digest of each archive by its file name. Malformed lines are ignored; `make verify` reports them."""
    with contextlib.suppress(FileNotFoundError):
        lines = (store / SUMS).read_text(encoding="utf-8", errors="replace").splitlines()
        return {match[2]: match[1] for line in lines if (match := LINE.fullmatch(line))}
    return {}


def is_same(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, file: Path) -> bool:
    """Whether the file has the entry's content."""
    with archive.open(entry) as left, file.open("rb") as right:
        while chunk := left.read(CHUNK):
            if right.read(len(chunk)) != chunk:
                return False
        return not right.read(1)


if __name__ == "__main__":
    main()
