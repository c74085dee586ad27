"""Build the network that a config names, and try it on real samples before the first epoch."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from model_defs.build import SpecError, build, did_you_mean
from model_defs.errors import BundleError, where
from model_defs.transform import Transform

FAMILIES = {  # our class -> torchvision's module with the networks that it takes by name
    "model_defs.vision.TorchvisionClassifier": torchvision.models,
    "model_defs.image_text.LateFusion": torchvision.models,
    "model_defs.detection.TorchvisionDetector": torchvision.models.detection,
    "model_defs.segmentation.TorchvisionSegmenter": torchvision.models.segmentation,
}


def build_network(spec: Mapping[str, Any]) -> nn.Module:
    """The network. Its convolutions are in channels-last format, which is a quarter faster on a CPU, and more on a GPU.

    Raises:
        SpecError: torchvision has no such network of this kind, or the class does not take these arguments.
    """
    check_name(spec)
    try:
        network = build(spec)
    except BundleError:
        raise
    except Exception as error:
        raise SpecError(f"{spec['class_path']} cannot be built: {where(error)}") from error
    try:
        return network.to(memory_format=torch.channels_last)
    except RuntimeError:  # weights of five dimensions, as of a 3D convolution, have no such format
        return network


def check_name(spec: Mapping[str, Any]) -> None:
    """
    Raises:
        SpecError: the name is not one of torchvision's networks of this kind: a detector given to a classifier, say.
    """
    family, name = FAMILIES.get(spec["class_path"]), spec["init_args"].get("name")
    if family is None or name is None:
        return
    known = torchvision.models.list_models(module=family)
    if name in known:
        return
    if name in torchvision.models.list_models():
        other = torchvision.models.get_model_builder(name).__module__
        raise SpecError(f"{name!r} is a network of {other}; {spec['class_path']} takes those of {family.__name__}")
    raise SpecError(f"{family.__name__} has no network {name!r}{did_you_mean(name, known)}")


def try_network(network: nn.Module, transform: Transform, samples: list, columns: int | None) -> None:
    """Run the network on a batch of a few samples, as training does.

    Args:
        columns: the size of each output's first dimension, such as the number of classes; None if it may be any.

    Raises:
        SpecError: the network fails, or its outputs are not what the task takes.
    """
    kind = type(network).__name__
    mode = network.training
    try:
        with torch.no_grad():
            outputs = network.eval()(*transform.collate(samples))
    except BundleError:
        raise
    except Exception as error:
        raise SpecError(f"{kind} cannot take a sample of {type(transform).__name__}: {where(error)}") from error
    finally:
        network.train(mode)
    for output in outputs:
        if not isinstance(output, Tensor) or not output.ndim:
            raise SpecError(f"{kind} gives {type(output).__name__}, expected a tensor per sample; take another network or task")
        if columns is not None and len(output) != columns:
            raise SpecError(f"{kind} gives {len(output)} values per sample, expected {columns}; take another network or task")


def try_augmentation(targets: Callable, samples: list, truths: list) -> None:
    """Augment a few samples; the training's random numbers stay the same.

    Raises:
        SpecError: an augmentation fails.
    """
    try:
        with torch.random.fork_rng(devices=[]):
            for sample, truth in zip(samples, truths, strict=True):
                targets(sample, truth)
    except BundleError:
        raise
    except Exception as error:
        raise SpecError(f"augment: {where(error)}") from error
