"""A folder that timm saved, or a file of weights with `--network timm/...`; timm's own config says how pictures are read."""

import io
import math
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from importers import hugging_face_folder, labels, tensor_names
from importers.found import OF_WEIGHTS, Found, ImportRefused, Question
from importers.hugging_face_folder import Folder, with_labels
from importers.preprocessing import FLAGS, chosen, described
from importers.tensor_names import fits, shapes
from model_defs.build import build, did_you_mean
from model_defs.timm_network import network_of
from model_defs.vision import IMAGENET

PREFIX = "timm/"
MAX_OPTION = 100_000  # the largest number in a network's options
CROPS = ("center", "squash")
USUAL = {"mean": IMAGENET[0], "std": IMAGENET[1]}
UNCHANGED = dict.fromkeys(FLAGS)


def find(question: Question) -> Found | None:
    """The network, or None if the source is no folder of timm's, and `--network` names no network of timm's.

    Raises:
        ImportRefused: an unknown network, other weights, no labels, or preprocessing that is not served.
        SpecError: timm is not installed, or cannot make this network.
    """
    if question.source.is_dir():
        config = hugging_face_folder.read_config(question.source)
        if config is None or not isinstance(config.get("architecture"), str) or question.flags.network:
            return None
        kind, tensors = hugging_face_folder.read_weights(question.source)
        return read(question, Folder(question.source, config, kind, tensors))
    if not question.flags.network.startswith(PREFIX):
        return None
    name = question.flags.network.removeprefix(PREFIX)
    weights = question.weights
    config = {"architecture": name.partition(".")[0], "pretrained_cfg": usual_config(name), "extras": weights.extras}
    return read(question, Folder(question.source, config, weights.kind, weights.tensors))


def usual_config(name: str) -> dict[str, Any]:
    """What timm knows of the preprocessing of a network's own weights.

    Raises:
        ImportRefused: no such network.
    """
    network_of("resnet18", 2, {})  # says how to install timm
    import timm

    if not timm.is_model(name.partition(".")[0]):
        raise ImportRefused(f"--network {PREFIX}{name}: no such network{did_you_mean(name, timm.list_models())}")
    known = timm.models.get_pretrained_cfg(name, allow_unregistered=False)
    return known.to_dict() if known else {}


def read(question: Question, folder: Folder) -> Found:
    config, architecture = folder.config, folder.config["architecture"]
    own = config.get("pretrained_cfg") if isinstance(config.get("pretrained_cfg"), dict) else {}
    given = config.get("model_args") if isinstance(config.get("model_args"), dict) else {}
    options = {name: value for name, value in given.items() if name != "num_classes"}
    check_options(folder, options)
    count = count_of(folder, architecture, options)
    named = config.get("label_names") or own.get("label_names")
    extras = {"classes": named} if named else config.get("extras") or {}
    names, source = labels.find(question, count, extras)
    seen = chosen(question.flags, usual_of(folder, own))
    lines = [
        f"{folder.path}: {folder.kind}; {len(folder.tensors)} tensors: timm's {architecture} with {count} classes",
        labels.line(names, source),
        *described(seen, f"timm's for {architecture}", question.flags),
    ]
    spec = {
        "class_path": "model_defs.timm_network.TimmClassifier",
        "init_args": {"num_classes": count, "architecture": architecture, "mean": list(seen.mean), "std": list(seen.std)}
        | ({"options": options} if options else {}),
    }
    built = build(spec).eval()
    tensor_names.load(built.network, tensor_names.in_fp32(folder.tensors, lines))
    is_changed = seen != chosen(type(question.flags)(**vars(question.flags) | UNCHANGED), usual_of(folder, own))

    def reference(payload: bytes) -> Tensor:
        """As timm's own validation reads it."""
        import timm

        with torch.device("cpu"):
            read_by = timm.data.create_transform(**timm.data.resolve_data_config({}, pretrained_cfg=own))
        return built.network(read_by(Image.open(io.BytesIO(payload)).convert("RGB"))[None])[0]

    return Found(
        lines=lines, network=spec, built=built, transform=seen.spec(), reads=build(seen.spec()), labels=names,
        handler="handlers.vision.ImageClassifier", answer=with_labels(names), inputs="pictures", variants=seen.variants(),
        reference=None if is_changed else reference, library="timm",
        flags=(*(("labels",) if question.source.is_dir() else OF_WEIGHTS), *FLAGS),
    )  # fmt: skip


def check_options(folder: Folder, options: dict[str, Any]) -> None:
    """
    Raises:
        ImportRefused: a number with which the network would be far larger than its weights.
    """
    for key, value in hugging_face_folder.settings(options):
        if value > MAX_OPTION or (hugging_face_folder.DEPTHS.search(key) and value > max(64, len(folder.tensors))):
            raise ImportRefused(f"{folder.path}: {key} is {value:,}, and the weights are {len(folder.tensors)} tensors")


def count_of(folder: Folder, architecture: str, options: dict[str, Any]) -> int:
    """The number of classes.

    Raises:
        ImportRefused: the weights are not exactly the network's, except for that number.
    """
    given = shapes(folder.tensors)
    classes = 1000
    with torch.device("meta"):
        wanted = shapes(network_of(architecture, classes, options).state_dict())
    count = fits(given, wanted, classes)
    if not count:
        raise ImportRefused(f"{folder.path} does not fit timm's {architecture}: {tensor_names.difference(given, wanted)}")
    return count


def usual_of(folder: Folder, own: dict[str, Any]) -> dict[str, Any]:
    """How timm's own validation reads pictures, as our flags.

    Raises:
        ImportRefused: pictures that are not square, without three channels, or fitted in another way.
    """
    try:
        channels, height, width = own.get("input_size") or (3, 224, 224)
        share, mode = float(own.get("crop_pct") or 0.875), own.get("crop_mode") or CROPS[0]
        mean, std = ([float(value) for value in own.get(name) or usual] for name, usual in USUAL.items())
        scaled = math.floor(height / share)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError) as error:
        raise ImportRefused(f"{folder.path}: its pretrained_cfg is damaged ({error}); copy it again") from None
    if channels != 3 or height != width or mode not in CROPS:
        raise ImportRefused(
            f"{folder.path}: pictures of {own.get('input_size')}, {mode!r}; served are square ones in RGB, {' or '.join(CROPS)}"
        )
    return {
        "resize": [scaled, scaled] if mode == "squash" else scaled,
        "crop": height,
        "interpolation": own.get("interpolation") or "bicubic",
        "mean": mean,
        "std": std,
    }
