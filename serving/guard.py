"""What TorchServe starts in Python's place: a guard that becomes the worker if its model is an archive of the model store.

TorchServe 0.12 takes any local folder as a registration's `url`, links it and runs its code; no setting prevents that
(ModelArchive.downloadModel), and a `handler` may name a file anywhere. So the working folder of each worker is compared with
the archive whose SHA-256 stands in `SHA256SUMS`, file by file, before a line of it runs. What has passed once is sealed by the
times and numbers of its files: a worker that starts again is checked in no time, even when the archive has been built anew
since or the store is gone.

Runs under `python -I -S` and imports only Python's own library. Whoever may write in the server's folder or in the store is
not kept out, nor is code in an archive that was signed.
"""

import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import shlex
import signal
import stat
import sys
import zipfile
from pathlib import Path

SUMS = "SHA256SUMS"
WORKER = "ts/model_service_worker.py"
# The names by which TorchServe starts Python, and what each becomes: the first is told to it, the others it takes from the PATH
# where an archive says `runtime: python3` or `parallelType`.
NAMES = {"python": [], "python3": [], "torchrun": ["-m", "torch.distributed.run"]}
CHUNK = 1 << 20  # bytes
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class GuardError(Exception):
    """This worker must not start; the message says why."""


def install(temporary: str, store: str, site: str) -> Path:
    """The folder in which TorchServe finds the guard under each of Python's names."""
    folder = Path(temporary, "bin")
    folder.mkdir()
    site = os.path.realpath(site)  # as Java names it
    guard = shlex.join([sys.executable, "-I", "-S", os.path.abspath(__file__), temporary, store, site, sys.executable])
    for name in NAMES:
        # A shell's script, since the path of an interpreter in a first line can neither be long nor hold spaces.
        script = folder / name
        script.write_bytes(os.fsencode(f'#!/bin/sh\nexec {guard} {name} "$@"\n'))
        script.chmod(0o700)
    return folder


def main() -> None:
    temporary, store, site, python, name, *arguments = sys.argv[1:]
    try:
        if f"{site}/{WORKER}" in arguments:
            die_with_the_frontend()
            check(Path(temporary).resolve(), Path(store), Path(site))
        elif not os.path.samefile(os.getcwd(), site):  # where system_metrics_cmd runs, which is of no model
            raise GuardError("only workers are started; useVenv and install_py_dep_per_model bring other code and cannot be used")
    except (GuardError, OSError, zipfile.BadZipFile) as error:
        sys.exit(f"this worker cannot start\\n{error}")  # one line; `death_in` of the client looks for it
    own = os.path.join(temporary, "bin")
    os.environ["PATH"] = os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if part != own)
    os.execv(python, [python, *NAMES[name], *arguments])


def die_with_the_frontend() -> None:
    """Be killed when the thread of TorchServe's that started this process ends, even while hung. That thread ends no sooner
    than the worker: it is the one that hands it requests (WorkerThread.run)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def check(temporary: Path, store: Path, site: Path) -> None:
    """
    Raises:
        GuardError: the code that this worker would run is not that of an archive of the store.
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
        with contextlib.suppress(ValueError):  # empty, or written half
            sealed = json.loads(seal.read())
        if sealed is None:
            compare_with_archive(folder, set(found), store)
            seal.truncate(0)
            seal.write(json.dumps(found).encode())
        else:
            compare_with_seal(sealed, found)


def unpacked(folder: Path) -> dict[str, list[int]]:
    """Each file below the folder, with what changes whenever somebody changes it.

    Raises:
        GuardError: there is a link, or whatever else is neither file nor folder.
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
    """Python itself adds what it has compiled, once the first worker of an archive runs."""
    for name in sealed.keys() | found.keys():
        if sealed.get(name) != found.get(name) and not ("__pycache__" in Path(name).parts and name not in sealed):
            raise GuardError(f"{name!r} was changed since the archive was unpacked; unregister the model and register it again")


def compare_with_archive(folder: Path, found: set[str], store: Path) -> None:
    """
    Raises:
        GuardError: the archive that the folder claims to be is not in `SHA256SUMS`, is another, or the folder holds something else.
    """
    name = claimed(folder)
    lines = (store / SUMS).read_text(encoding="utf-8").splitlines() if (store / SUMS).exists() else []
    expected = {name: digest for digest, name in (line.split(maxsplit=1) for line in lines)}.get(name)
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
                if not same(archive, entry, folder / entry.filename):
                    raise GuardError(
                        f"{entry.filename!r} differs from the one in {name!r}; register the archive of the model store"
                    )


def claimed(folder: Path) -> str:
    """The archive's name in the store, by what its manifest says."""
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        model = json.loads((folder / "MAR-INF" / "MANIFEST.json").read_bytes())["model"]
        name = f"{model['modelName']}-{model['modelVersion']}.mar"
        if Path(name).name == name:
            return name
    raise GuardError("MAR-INF/MANIFEST.json says neither name nor version of the model; make archive makes archives that do")


def same(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, file: Path) -> bool:
    with archive.open(entry) as left, file.open("rb") as right:
        while chunk := left.read(CHUNK):
            if right.read(len(chunk)) != chunk:
                return False
        return not right.read(1)


if __name__ == "__main__":
    main()
