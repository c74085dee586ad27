"""The kinds of models that can be imported. One more kind is a module with a `find` and a line in `KINDS`."""

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

from importers import tensor_names
from importers.found import Found, ImportRefused, Question
from importers.tensor_names import shapes
from model_defs.build import did_you_mean


class Kind(NamedTuple):
    """A kind of model.

    Args:
        module: in this package. Its `find(question)` gives the model, or None where the source is of another kind; one for files
            of weights also has `names()` and `known(question)`, the networks that it tells and their tensors' shapes.
        what: FROM, for people.
        gives: what is served, for people.
    """

    module: str
    what: str
    gives: str


KINDS = (
    Kind("custom_archive", "an archive with its own handler, image_segmenter or text_classifier: .mar", "what it answered"),
    Kind("legacy_archive", "an archive with TorchServe's image_classifier or object_detector: .mar", "picture -> labels, boxes"),
    Kind("onnx_file", "an ONNX file: a classifier of pictures, or of texts with its tokenizer.json", "picture, text -> labels"),
    Kind("torchvision_classifier", "weights of a torchvision classifier: .pth, .ckpt, .pt, .safetensors", "picture -> labels"),
    Kind("torchvision_detector", "weights of a torchvision detector without masks, in the same forms", "picture -> boxes"),
    Kind("own_network", "weights of your own network: ARGS='--network my_net.py:MyNet(n_classes=4)'", "picture, sound -> labels"),
    Kind("hugging_face", "a folder from Hugging Face with config.json and weights", "many tasks: docs/import.md"),
    Kind("timm_model", "a folder of timm's, or weights with ARGS='--network timm/convnext_atto'", "picture -> labels"),
)


def find(question: Question) -> Found:
    """What the source is.

    Raises:
        ImportRefused: of no kind, or of one that cannot be imported as asked.
        WeightsError: a file of weights that cannot be read.
    """
    if not question.source.exists():
        raise ImportRefused(f"FROM={question.source}: no such file or folder")
    modules = [importlib.import_module(f"importers.{kind.module}") for kind in KINDS]
    for module in modules:
        if found := module.find(question):
            return found
    raise refused(question, modules)


def refused(question: Question, modules: list[ModuleType]) -> ImportRefused:
    """What is said of a source of no kind."""
    if question.weights is None and question.flags.network:
        return ImportRefused(f"--network is for a file of weights, and FROM={question.source} is a folder; leave it out")
    if question.weights is None:
        return ImportRefused(f"FROM={question.source}: a folder of no known kind; `make import` lists the kinds")
    if question.flags.network:
        names = [name for module in modules for name in from_module(module, "names", list)()]
        return ImportRefused(f"--network {question.flags.network}: no such network{did_you_mean(question.flags.network, names)}")
    given = shapes(question.weights.tensors)
    known: dict[str, dict[str, tuple[int, ...]]] = {}
    for module in modules:
        known |= from_module(module, "known", lambda _: {})(question)
    return ImportRefused(
        f"{question.source}: {question.weights.kind}, {len(given)} tensors that fit no network; "
        f"{tensor_names.nearest(given, known)}"
    )


def from_module(module: ModuleType, name: str, otherwise: Callable) -> Callable:
    return getattr(module, name, otherwise)


def listed() -> str:
    """The kinds, for people."""
    width = max(len(kind.what) for kind in KINDS)
    rows = "\n".join(f"  {kind.what:{width}}  {kind.gives}" for kind in KINDS)
    return (
        "make import NAME=pets FROM=model.pth LABELS=classes.txt TRY=photos/ [EXPECT=answers.json] [ARGS='--resize 256 ...']\n"
        f"FROM can be\n{rows}\n"
        "TRY is one input or a folder of some; class folders also give a test set. ARGS=--help lists the flags."
    )
