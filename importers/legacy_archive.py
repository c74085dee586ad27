"""An archive of torch-model-archiver with one of TorchServe's stock handlers, taken apart: its weights, its labels, its network.

No code of the archive runs, except a network's file that `--network` names.
"""

import json
import shutil
import tempfile
import zipfile
import zlib
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from importers import labels, own_network, torchvision_classifier, torchvision_detector
from importers.found import Found, ImportRefused, Question
from importers.torchvision_detector import unique
from model_defs import postprocess

ZIP = b"PK\x03\x04"
MANIFEST = "MAR-INF/MANIFEST.json"
MAX_JSON = 4 << 20
MAX_RATIO = 1000  # of an entry's bytes to its compressed bytes: deflate's own limit is near 1,030
MAX_BYTES = 16 << 30
NAMES = "index_to_name.json"
TORCHSERVE = "torchserve"  # --answer-as


class Stock(NamedTuple):
    """A stock handler of TorchServe.

    Args:
        finders: the importers that can tell its network.
        first: the number of the first label.
        handler: that answers in TorchServe's form.
        form: from our answer to TorchServe's.
    """

    finders: tuple[Callable[[Question], Found | None], ...]
    first: int
    handler: str
    form: Callable[[Any], Any]


STOCK = {
    "image_classifier": Stock(
        (torchvision_classifier.find, own_network.find), 0, "handlers.legacy.ImageClassifier", postprocess.by_label
    ),
    "object_detector": Stock((torchvision_detector.find,), 1, "handlers.legacy.ObjectDetector", postprocess.corners_by_label),
}


def find(question: Question) -> Found | None:
    """The model of the archive, or None if the source is no archive, or one with another handler.

    Raises:
        ImportRefused: a damaged archive, or what the importer of its weights refuses.
    """
    if not is_archive(question.source):
        return None
    with tempfile.TemporaryDirectory() as work:
        try:
            with zipfile.ZipFile(question.source) as archive:
                model = manifest(archive)
                if model["handler"] not in STOCK:
                    return None
                folder = Path(work)
                for name in (model.get("serializedFile"), model.get("modelFile"), NAMES):
                    extract(archive, name, folder)
        except (
            zipfile.BadZipFile,
            zlib.error,
            ValueError,
            KeyError,
            NotImplementedError,
            RuntimeError,
            EOFError,
            OSError,
        ) as error:
            raise ImportRefused(f"{question.source}: a damaged archive ({str(error)[:100]}); copy it again") from error
        weights = folder / Path(str(model.get("serializedFile") or "nothing")).name
        if not weights.is_file():
            raise ImportRefused(f"{question.source} holds no file of weights; import the weights: FROM=model.pth")
        stock = STOCK[model["handler"]]
        found = taken_apart(question, stock, weights)
    found.lines.insert(0, f"{question.source}: an archive with TorchServe's {model['handler']}, taken apart")
    found.lines = [line.replace(f"{work}/", "") for line in found.lines]
    found.flags = (*found.flags, "answer_as")
    return as_torchserve(found, stock) if question.flags.answer_as == TORCHSERVE else found


def is_archive(source: Path) -> bool:
    if not source.is_file():
        return False
    with source.open("rb") as opened:
        if opened.read(4) != ZIP:
            return False
    try:
        with zipfile.ZipFile(source) as archive:
            return MANIFEST in archive.namelist()
    except (zipfile.BadZipFile, ValueError, OSError):
        return False


def manifest(archive: zipfile.ZipFile) -> dict[str, Any]:
    """The model's section of the manifest."""
    if archive.getinfo(MANIFEST).file_size > MAX_JSON:
        raise ValueError("its manifest is too long")
    try:
        model = json.loads(archive.read(MANIFEST))["model"]
    except (TypeError, RecursionError):
        model = None
    if not isinstance(model, dict) or not isinstance(model.get("handler"), str):
        raise ValueError("its manifest names no handler")
    return model


def extract(archive: zipfile.ZipFile, name: Any, folder: Path) -> None:
    """Write one entry of the archive's root into the folder, if it is there."""
    if not isinstance(name, str) or Path(name).name not in archive.namelist():
        return
    info = archive.getinfo(Path(name).name)
    if info.file_size > min(MAX_BYTES, MAX_RATIO * info.compress_size + MAX_JSON):
        raise ValueError(f"{info.filename} would take {info.file_size:,} bytes")
    with archive.open(info) as source, (folder / info.filename).open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)


def taken_apart(question: Question, stock: Stock, weights: Path) -> Found:
    """The model of the archive's weights, with the archive's labels."""
    flags = Namespace(**vars(question.flags))
    file, separator, call = flags.network.partition(".py:")
    if separator and (weights.parent / f"{file}.py").is_file():
        flags.network = f"{weights.parent / file}.py:{call}"  # the archive's own file of the network
    inner = replace(question, source=weights, flags=flags, first_number=stock.first)
    if not question.labels and (names := weights.parent / NAMES).is_file():
        numbered = labels.read_numbered(names)
        given = [numbered[number] for number in sorted(numbered) if number >= stock.first]
        (weights.parent / "labels.json").write_text(json.dumps(unique(given)), encoding="utf-8")
        names.unlink()
        inner.labels = str(weights.parent / "labels.json")
    for finder in stock.finders:
        if found := finder(inner):
            return found
    raise ImportRefused(
        f"{question.source}: its weights ({inner.weights.kind}, {len(inner.weights.tensors)} tensors) fit no network of "
        "torchvision's; name the file of the network, which then runs: ARGS='--network model.py:MyNet()'"
    )


def as_torchserve(found: Found, stock: Stock) -> Found:
    """The same model with answers in TorchServe's form. It has no metric, and so no test set."""
    ours = found.answer
    found.lines.append("answers have the form of TorchServe's own handler; class folders in TRY give no test set for it")
    return replace(found, handler=stock.handler, answer=lambda *given: stock.form(ours(*given)), metric="")
