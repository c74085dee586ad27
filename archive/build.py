"""Artifact and recipe -> `model_store/<model>-<version>.mar`: stage, export, prove, pack. The same inputs give the same bytes."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from archive import bom, export, runtime_check
from archive import recipe as recipes
from archive.errors import ArchiveError
from archive.recipe_schema import ENTRY, schema
from handlers import base, description, runtimes
from handlers.base import Handler
from handlers.settings import Settings
from model_defs.artifact import BACKGROUNDS, CALIBRATION, REPORT, TEST, Artifact
from model_defs.build import class_paths, find_class
from model_defs.bundle_format import MANIFEST, MODEL, RECIPE, SCHEMA, SUMS, VERSION, fault_of_name, read_sums
from model_defs.imports import PROJECT, modules

ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip can hold


def build(artifact: Path, recipe: Path, store: Path, version: str = "1.0") -> Path:
    """Write the archive, and its SHA-256 into `SHA256SUMS`.

    Raises:
        RecipeError: a key or a value that would not do what it says.
        ArchiveError: no artifact, a package that is not installed, a runtime that answers otherwise than the eager network, or a
            failure of the archiver.
        SumsError: `SHA256SUMS` is malformed.
        RuntimeUnavailable: the runtime cannot do what the recipe asks on this machine.
        WrongAnswer: the handler does not answer the samples as they were answered in training.
    """
    check_name(artifact.name, version)
    checked = recipes.read(recipe)
    if not (artifact / MODEL).exists():
        raise ArchiveError(
            f"no artifact in {artifact}/; make train MODEL={artifact.name} makes it; "
            f"a model that you have: make import NAME={artifact.name} FROM=model.pth"
        )
    store.mkdir(parents=True, exist_ok=True)
    read_sums(store / SUMS)  # a malformed one is reported now, not after minutes of work
    # Each build has its own folder, because the archiver empties <tmp>/<model> first, even if another build uses it.
    with tempfile.TemporaryDirectory(prefix=f".{artifact.name}-", dir=store) as work:
        staged, trained = Path(work, "staged"), Artifact.read(artifact)
        prove(trained, assemble(trained, checked.handler, staged), checked.batchSize)
        return pack(artifact.name, staged, recipe, store, version)


def check_name(name: str, version: str) -> None:
    """
    Raises:
        ArchiveError: an archive of this name would be found as another model's, or would not be found.
    """
    if fault := fault_of_name(name):
        raise ArchiveError(fault)
    if not VERSION.fullmatch(version):
        raise ArchiveError(f"version {version!r}: expected numbers, and perhaps a pre-release, such as 2.0 or 2.0.1-rc1")


def assemble(artifact: Artifact, settings: Settings, staged: Path) -> Handler:
    """Stage the archive's files, the recipe apart, and load the handler over them as a worker does. Errors: see `build`."""
    stage(artifact, settings, staged)
    export.export(artifact, settings, staged)
    return base.load(staged, msgspec.to_builtins(settings), export.device_of(settings))


def prove(artifact: Artifact, handler: Handler, batch_size: int, most: int = runtime_check.MAX_HELD_OUT) -> None:
    """Compare the handler with the eager network, answer the samples in batches of each size, and stage the figures and the
    description.

    Args:
        batch_size: the largest.
        most: inputs of the test set to compare on.

    Raises:
        ArchiveError: too far from the eager network.
        WrongAnswer: a sample is not answered as in training.
    """
    if not runtimes.is_exact(artifact, handler.settings):
        runtime_check.compare(artifact, handler, batch_size, most).write(handler.artifact.folder)
    handler.warm_up(batch_size)
    description.write(handler)


def pack(name: str, staged: Path, recipe: Path, store: Path, version: str) -> Path:
    """The staged files and the recipe -> the archive, and its line in `SHA256SUMS`."""
    final = store / f"{name}-{version}.mar"
    description.stamp(staged, name, version)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=store) as work:
        made = run_archiver(name, version, staged, recipe, Path(work))
        normalised = Path(work, final.name)
        normalise(made, normalised)
        bom.add(normalised, name, version)
        normalised.replace(final)
    record(final)
    return final


def stage(artifact: Artifact, settings: Settings, staged: Path) -> None:
    """Make a folder that looks as the unpacked archive will: the artifact's files, and the code that reads them."""
    # copyfile does not copy the times: the archiver cannot zip a file dated before 1980, and some images and stores have such.
    left_out = shutil.ignore_patterns(TEST, CALIBRATION, REPORT)
    shutil.copytree(artifact.folder, staged, ignore=left_out, copy_function=shutil.copyfile)
    if find_class(settings.class_path, base.PACKAGE).takes_backgrounds:
        (staged / BACKGROUNDS).mkdir()
        for name, payload in artifact.backgrounds().items():
            (staged / BACKGROUNDS / name).write_bytes(payload)
    code = needed(artifact, settings)
    for module, file in code.items():
        if module != f"handlers.{ENTRY}":
            target = staged / file.relative_to(PROJECT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    (staged / SCHEMA).write_text(json.dumps(schema(code), indent=1), encoding="utf-8")


def needed(artifact: Artifact, settings: Settings) -> dict[str, Path]:
    """The modules of the archive, by dotted name: what this model, its handler, its runtime and TorchServe's entry reach, and the
    eager runtime, which every archive holds."""
    classes = *class_paths(artifact.network), *class_paths(artifact.transform), settings.class_path
    held = {f"handlers.runtimes.{name}" for name in (runtimes.EAGER, settings.runtime)}
    return modules({f"handlers.{ENTRY}", *held, *(class_path.rpartition(".")[0] for class_path in classes)})


def run_archiver(name: str, version: str, staged: Path, recipe: Path, temporary: Path) -> Path:
    """torch-model-archiver's own archive of the staged folder."""
    config = temporary / RECIPE
    config.write_text(recipes.complete(recipe), encoding="utf-8")
    command = [
        sys.executable, "-m", "model_archiver.model_packaging",
        "--model-name", name, "--version", version, "--runtime", "python", "--archive-format", "zip-store",
        "--handler", Path(base.__file__).with_name(f"{ENTRY}.py"), "--extra-files", staged, "--config-file", config,
        "--export-path", temporary,
    ]  # fmt: skip
    done = subprocess.run(command, env=os.environ | {"TMPDIR": str(temporary)}, capture_output=True, text=True, check=False)
    made = temporary / f"{name}.mar"
    if done.returncode or not made.exists():
        raise ArchiveError(f"torch-model-archiver failed on {name!r}: {(done.stderr or done.stdout).strip()[-500:]}")
    return made


def normalise(made: Path, normalised: Path) -> None:
    """Write the same entries sorted, without dates and without compression, and the bundle's version into the manifest.

    zlib's output differs between versions, and TorchServe unpacks stored files faster.
    """
    with zipfile.ZipFile(made) as source, zipfile.ZipFile(normalised, "w", zipfile.ZIP_STORED) as target:
        for name in sorted(name for name in source.namelist() if not name.endswith("/")):
            content = source.read(name)
            if name == MANIFEST:
                changes = {"createdOn": "", "bundleVersion": bom.bundle_version()}
                content = json.dumps(json.loads(content) | changes, indent=2, sort_keys=True).encode()
            entry = zipfile.ZipInfo(name, ZIP_EPOCH)
            entry.external_attr = 0o644 << 16
            target.writestr(entry, content)


def record(archive: Path) -> None:
    """Set the archive's line in `SHA256SUMS`, which `sha256sum --check` reads; several builds may do so at once.

    Raises:
        SumsError: the file is malformed.
    """
    file = archive.parent / SUMS
    with locked(file):
        sums = read_sums(file) | {archive.name: sha256(archive)}
        lines = [f"{sums[name]}  {name}\n" for name in sorted(sums) if (archive.parent / name).exists()]
        new = file.with_name(f".{SUMS}.new")
        new.write_text("".join(lines), encoding="utf-8")
        new.replace(file)  # a reader sees the old file or the new one, never a part


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the lock of a file that its holders replace; the file is made if there is none."""
    while True:
        with file.open("a") as opened:
            fcntl.flock(opened, fcntl.LOCK_EX)
            # While this process waited, another may have replaced the file. Then this lock is on the old one, and worth nothing.
            if file.exists() and os.path.samestat(os.fstat(opened.fileno()), file.stat()):
                yield
                return


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
