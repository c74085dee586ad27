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

import torch
import yaml

from archive import bom, compare, export
from archive import recipe as recipes
from archive.errors import ArchiveError
from handlers import base
from handlers.runtimes import RUNTIMES
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
        Unavailable: the runtime cannot do here what the recipe asks.
        WrongAnswer: the handler does not answer the samples as they were answered in training.
    """
    checked = recipes.read(recipe)
    if not (artifact / "model.json").exists():
        raise ArchiveError(f"no artifact in {artifact}/; make train MODEL={artifact.name} makes it")
    if checked.deviceType != "cpu" and RUNTIMES[checked.handler.runtime].devices == ("cpu",):
        raise ArchiveError(f"{recipe}: runtime {checked.handler.runtime} runs on the CPU only; write deviceType: cpu")
    store.mkdir(parents=True, exist_ok=True)
    final = store / f"{artifact.name}-{version}.mar"
    # A folder of its own for each build: the archiver empties <tmp>/<model> first, whoever's it is.
    with tempfile.TemporaryDirectory(prefix=f".{artifact.name}-", dir=store) as work:
        staged, temporary = Path(work) / "staged", Path(work) / "tmp"
        temporary.mkdir()
        stage(artifact, staged)
        section = yaml.safe_load(recipe.read_text(encoding="utf-8"))["handler"]
        (staged / SCHEMA).write_text(json.dumps(recipes.schema(), indent=1), encoding="utf-8")
        trained = Artifact.read(artifact)
        export.export(trained, checked.handler, staged)
        device = "cuda:0" if checked.handler.precision == "fp16" and torch.cuda.is_available() else "cpu"
        handler = base.load(staged, section, device)
        if not compare.is_reference(checked.handler):
            compare.compare(trained, handler, checked.batchSize).write(staged)
        handler.warm_up(checked.batchSize)
        made = run_archiver(artifact.name, version, staged, recipe, temporary)
        normalised = temporary / final.name
        normalise(made, normalised)
        bom.add(normalised, artifact.name, version)
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
