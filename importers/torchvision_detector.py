"""A file of weights of one of torchvision's detectors; a picture goes in whole, and the network resizes it by itself."""

from functools import partial
from typing import Any

import torch
import torchvision

from importers import labels, tensor_names
from importers.found import OF_WEIGHTS, Found, ImportRefused, Question
from importers.tensor_names import Shapes, fits, shapes, shapes_of
from model_defs.build import build
from model_defs.postprocess import boxes

CLASSES = 91  # that torchvision builds a detector for: 90 and the background
OPTIONS = {"weights_backbone": None}
OTHER_ANSWERS = ("mask", "keypoint")  # detectors that give more than boxes


def find(question: Question) -> Found | None:
    """The network of the file's tensors, or None if they are no detector's.

    Raises:
        ImportRefused: several networks have these tensors, `--network` names one with others, or there are no labels.
    """
    if question.weights is None or (question.flags.network and question.flags.network not in names()):
        return None
    given = shapes(question.weights.tensors)
    asked = [question.flags.network] if question.flags.network else names()
    counts = {name: count for name in asked if (count := fits(given, shapes_of(name, tuple(OPTIONS.items())), CLASSES))}
    if question.flags.network and not counts:
        wrong = tensor_names.difference(given, shapes_of(asked[0], tuple(OPTIONS.items())))
        raise ImportRefused(f"{question.source} does not fit {asked[0]}: {wrong}; leave --network out")
    if len(counts) > 1:
        raise ImportRefused(f"{question.source} fits {' and '.join(counts)}; say which: ARGS='--network {next(iter(counts))}'")
    return read(question, *next(iter(counts.items()))) if counts else None


def names() -> list[str]:
    known = torchvision.models.list_models(module=torchvision.models.detection)
    return [name for name in known if not name.startswith(OTHER_ANSWERS)]


def known(question: Question) -> dict[str, Shapes]:
    """The shapes of all networks, for a refusal that names the nearest."""
    return {name: shapes_of(name, tuple(OPTIONS.items())) for name in names()}


def read(question: Question, name: str, count: int) -> Found:
    """The network with its weights. The first of its `count` classes is the background, which has no label."""
    weights = question.weights
    own = list(torchvision.models.get_model_weights(name))
    names_of_classes, source = labels.find(question, count - 1, weights.extras, unique(own[0].meta["categories"][1:]))
    lines = [
        f"{question.source}: {weights.kind}; {len(weights.tensors)} tensors: torchvision's {name}, "
        f"{count - 1} classes and the background   (--network to say otherwise)",
        labels.line(names_of_classes, source),
        "pictures: whole, in RGB; the network resizes them as torchvision's does",
        "tensors do not show thresholds and the batch norms' epsilon: taken as torchvision's own",
    ]
    spec = {"class_path": "model_defs.detection.TorchvisionDetector", "init_args": {"num_classes": count - 1, "name": name}}
    network = build(spec).eval()
    tensor_names.load(network.network, tensor_names.in_fp32(weights.tensors, lines))
    transform = {
        "class_path": "model_defs.exact_image.WholeImageTransform",
        "init_args": {"upright": bool(question.flags.upright)},
    }
    return Found(
        lines=lines,
        network=spec,
        built=network,
        transform=transform,
        reads=build(transform),
        labels=names_of_classes,
        handler="handlers.vision.ObjectDetector",
        answer=partial(answered, labels=names_of_classes),
        inputs="pictures",
        flags=(*OF_WEIGHTS, "upright"),
    )


def unique(categories: list[str]) -> list[str]:
    """COCO's list has "N/A" for numbers that are not used; each gets its number."""
    return [f"{name} {index}" if categories.count(name) > 1 else name for index, name in enumerate(categories, 1)]


def answered(output: torch.Tensor, sample: Any, labels: list[str]) -> list[dict]:
    return boxes(output, sample, labels)
