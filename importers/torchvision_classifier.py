"""A file of weights of one of torchvision's classifiers: the network is told by the names and shapes of its tensors."""

import math
from functools import partial
from typing import Any

import torch
import torchvision

from importers import labels, tensor_names
from importers.found import OF_WEIGHTS, Found, ImportRefused, Question
from importers.preprocessing import FLAGS, chosen, described
from importers.tensor_names import Shapes, fits, shapes, shapes_of
from model_defs.build import build
from model_defs.postprocess import top
from model_defs.vision import Normalize

CLASSES = 1000  # that torchvision builds a classifier for
AUXILIARY = {"googlenet": {"init_weights": False}, "inception_v3": {"init_weights": False}}


def find(question: Question) -> Found | None:
    """The network of the file's tensors, or None if they are no classifier's.

    Raises:
        ImportRefused: no labels, or the network that `--network` names has other tensors.
    """
    if question.weights is None or ".py:" in question.flags.network:
        return None
    given = shapes(question.weights.tensors)
    told = told_network(question, given)
    return told and read(question, *told)


def told_network(question: Question, given: Shapes) -> tuple[str, dict[str, Any], int] | None:
    """The network's name, its options and its number of classes."""
    if question.flags.network:
        if question.flags.network not in names():
            return None
        for options in variants(question.flags.network, given):
            if count := fits(given, shapes_of(question.flags.network, tuple(options.items())), CLASSES):
                return question.flags.network, options, count
        wanted = shapes_of(question.flags.network, tuple(variants(question.flags.network, given)[0].items()))
        raise ImportRefused(
            f"{question.source} does not fit {question.flags.network}: {tensor_names.difference(given, wanted)}; "
            "leave --network out, and the tensors say which network it is"
        )
    for name in tensor_names.in_order(names(), "looking for the network"):
        for options in variants(name, given):
            if count := fits(given, shapes_of(name, tuple(options.items())), CLASSES):
                return name, options, count
    return None


def names() -> list[str]:
    return torchvision.models.list_models(module=torchvision.models)


def variants(name: str, given: Shapes) -> list[dict[str, Any]]:
    """What torchvision's function may have been called with, as far as tensors show it."""
    if name in AUXILIARY:
        return [AUXILIARY[name], AUXILIARY[name] | {"aux_logits": False}]
    positions, patches = given.get("encoder.pos_embedding", ()), given.get("conv_proj.weight", ())
    if name.startswith("vit_") and len(positions) == 3 and len(patches) == 4:
        return [{"image_size": math.isqrt(max(0, positions[1] - 1)) * patches[-1] or 224}]
    return [{}]


def known(question: Question) -> dict[str, Shapes]:
    """The shapes of all networks, for a refusal that names the nearest."""
    given = shapes(question.weights.tensors)
    return {name: shapes_of(name, tuple(variants(name, given)[0].items())) for name in names()}


def read(question: Question, name: str, options: dict[str, Any], count: int) -> Found:
    """The network with its weights."""
    weights = question.weights
    options = options | ({"transform_input": True} if question.flags.transform_input and name in AUXILIARY else {})
    own = list(torchvision.models.get_model_weights(name))
    names_of_classes, source = labels.find(question, count, weights.extras, own[0].meta["categories"] if own else None)
    usual = usual_of(own[0].transforms.keywords) if own else {}
    if size := options.get("image_size"):
        usual |= {"resize": size * usual.get("resize", size) // usual.get("crop", size), "crop": size}
    seen = chosen(question.flags, usual)
    lines = [
        f"{question.source}: {weights.kind}; {len(weights.tensors)} tensors: torchvision's {name} with {count} classes"
        + ("" if question.flags.network else "   (--network to say otherwise)"),
        labels.line(names_of_classes, source),
        *described(seen, f"torchvision's for {own[0]}" if own else "the usual", question.flags),
        "tensors do not show activations and strides: taken as in torchvision's network",
    ]
    if name in AUXILIARY and not question.flags.transform_input:
        lines.append("nor transform_input: taken as off; --transform-input for a network made from torchvision's own weights")
    if weights.named:
        lines.append(f"the file refers to {len(weights.named)} classes and functions of Python; none of them was loaded or run")
    spec = {
        "class_path": "model_defs.vision.TorchvisionClassifier",
        "init_args": {"num_classes": count, "name": name, "options": options},
    }
    network = build(spec).eval()
    tensor_names.load(network.network, tensor_names.in_fp32(weights.tensors, lines))
    for module in network.modules():
        if isinstance(module, Normalize):  # its buffers travel with the weights
            module.load_state_dict(Normalize(seen.mean, seen.std).state_dict())
    return Found(
        lines=lines,
        network=spec,
        built=network,
        transform=seen.spec(),
        reads=build(seen.spec()),
        labels=names_of_classes,
        handler="handlers.vision.ImageClassifier",
        answer=partial(answered, labels=names_of_classes),
        inputs="pictures",
        variants=seen.variants(),
        flags=(*OF_WEIGHTS, *FLAGS, *(("transform_input",) if name in AUXILIARY else ())),
    )


def answered(output: torch.Tensor, sample: Any, labels: list[str]) -> list[dict]:
    return top(output, labels)


def usual_of(keywords: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a `weights.transforms()` as our flags."""
    return {
        "resize": keywords.get("resize_size", 256),
        "crop": keywords["crop_size"],
        "interpolation": keywords["interpolation"].value if "interpolation" in keywords else "bilinear",
    } | {name: list(keywords[name]) for name in ("mean", "std") if name in keywords}
