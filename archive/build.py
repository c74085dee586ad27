"""Artifact and recipe -> `model_store/<model>-<version>.mar`: staged, tried out, archived, the same bytes each time.

What a model is stands in `model_defs`; what its settings mean, in `handlers`.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import msgspec
import torch

from archive import bom, export, runtime_check
from archive import recipe as recipes
from archive.errors import ArchiveError
from handlers import base
from handlers.base import Handler
from handlers.runtimes import RUNTIMES
from handlers.settings import Settings
from model_defs.artifact import CALIBRATION, REPORT, TEST, Artifact

ENTRY = "torchserve.py"  # in `handlers/`; at the root of the archive, where TorchServe looks for it
SCHEMA = "model-config.schema.json"  # at the archive's root: what this code takes as a recipe
SUMS = "SHA256SUMS"
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip can hold


def build(artifact: Path, recipe: Path, store: Path, version: str = "1.0") -> Path:
    """Write the archive, and its SHA-256 into `SHA256SUMS`.

    Raises:
        RecipeError: a key or a value that would not do what it says.
        ArchiveError: no artifact, a runtime that answers otherwise than the eager network, or the archiver failed.
        RuntimeUnavailable: the runtime cannot do here what the recipe asks.
        WrongAnswer: the handler does not answer the samples as they were answered in training.
    """
    checked = recipes.read(recipe)
    if not (artifact / "model.json").exists():
        raise ArchiveError(f"no artifact in {artifact}/; make train MODEL={artifact.name} makes it")
    if checked.deviceType != "cpu" and RUNTIMES[checked.handler.runtime].devices == ("cpu",):
        raise ArchiveError(f"{recipe}: runtime {checked.handler.runtime} runs on the CPU only; write deviceType: cpu")
    store.mkdir(parents=True, exist_ok=True)
    # A folder of its own for each build: the archiver empties <tmp>/<model> first, whoever's it is.
    with tempfile.TemporaryDirectory(prefix=f".{artifact.name}-", dir=store) as work:
        staged, trained = Path(work, "staged"), Artifact.read(artifact)
        prove(trained, assemble(trained, checked.handler, staged), checked.batchSize)
        return pack(artifact.name, staged, recipe, store, version)


def assemble(artifact: Artifact, settings: Settings, staged: Path) -> Handler:
    """Stage what goes into the archive beside the recipe; the handler over it, as it will serve. For the errors see `build`."""
    stage(artifact.folder, staged)
    export.export(artifact, settings, staged)
    device = "cuda:0" if settings.precision == "fp16" and torch.cuda.is_available() else "cpu"
    return base.load(staged, msgspec.to_builtins(settings), device)


def prove(artifact: Artifact, handler: Handler, batch_size: int, most: int = runtime_check.MOST_HELD_OUT) -> None:
    """Compare the handler with the eager network, write the figures beside it, and answer the samples in batches of each size.

    Args:
        batch_size: the largest.
        most: inputs of the test set to compare on.

    Raises:
        ArchiveError: too far from the eager network.
        WrongAnswer: a sample is not answered as in training.
    """
    if not runtime_check.is_reference(handler.settings):
        runtime_check.compare(artifact, handler, batch_size, most).write(handler.artifact.folder)
    handler.warm_up(batch_size)


def pack(name: str, staged: Path, recipe: Path, store: Path, version: str) -> Path:
    """The staged files and the recipe -> the archive, and its line in `SHA256SUMS`."""
    final = store / f"{name}-{version}.mar"
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=store) as work:
        made = run_archiver(name, version, staged, recipe, Path(work))
        normalised = Path(work, final.name)
        normalise(made, normalised)
        bom.add(normalised, name, version)
        normalised.replace(final)
    record(final)
    return final


def stage(artifact: Path, staged: Path) -> None:
    """A folder that looks as the archive will: the artifact's files, and the code that reads them."""
    # copyfile leaves the times behind: the archiver cannot zip a file dated before 1980, as some images and stores have them.
    shutil.copytree(artifact, staged, ignore=shutil.ignore_patterns(TEST, CALIBRATION, REPORT), copy_function=shutil.copyfile)
    for package in ("handlers", "model_defs"):
        source = Path(sys.modules[package].__file__).parent
        for module in sorted(source.rglob("*.py")):
            if module.name != ENTRY:
                target = staged / package / module.relative_to(source)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(module, target)
    (staged / SCHEMA).write_text(json.dumps(recipes.schema(), indent=1), encoding="utf-8")


def run_archiver(name: str, version: str, staged: Path, recipe: Path, temporary: Path) -> Path:
    """torch-model-archiver's own archive of the staged folder."""
    config = temporary / "model-config.yaml"
    shutil.copyfile(recipe, config)
    command = [
        sys.executable, "-m", "model_archiver.model_packaging",
        "--model-name", name, "--version", version, "--runtime", "python", "--archive-format", "zip-store",
        "--handler", Path(base.__file__).with_name(ENTRY), "--extra-files", staged, "--config-file", config,
        "--export-path", temporary,
    ]  # fmt: skip
    done = subprocess.run(command, env=os.environ | {"TMPDIR": str(temporary)}, capture_output=True, text=True, check=False)
    made = temporary / f"{name}.mar"
    if done.returncode or not made.exists():
        raise ArchiveError(f"torch-model-archiver failed on {name!r}: {(done.stderr or done.stdout).strip()[-500:]}")
    return made


def normalise(made: Path, normalised: Path) -> None:
    """The same entries without the time and place of their making: sorted, undated, uncompressed (zlib's output differs from
    version to version, and TorchServe unpacks stored files faster)."""
    with zipfile.ZipFile(made) as source, zipfile.ZipFile(normalised, "w", zipfile.ZIP_STORED) as target:
        for name in sorted(name for name in source.namelist() if not name.endswith("/")):
            content = source.read(name)
            if name == "MAR-INF/MANIFEST.json":
                content = json.dumps(json.loads(content) | {"createdOn": ""}, indent=2, sort_keys=True).encode()
            entry = zipfile.ZipInfo(name, ZIP_EPOCH)
            entry.external_attr = 0o644 << 16
            target.writestr(entry, content)


def record(archive: Path) -> None:
    """Set the archive's line in `SHA256SUMS`, which `sha256sum --check` reads; several builds may do so at once."""
    with (archive.parent / SUMS).open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        sums = {name: digest for digest, name in (line.split(maxsplit=1) for line in file.read().splitlines())}
        sums[archive.name] = sha256(archive)
        file.truncate(0)
        file.write("".join(f"{sums[name]}  {name}\n" for name in sorted(sums) if (archive.parent / name).exists()))


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
