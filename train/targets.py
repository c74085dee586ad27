"""From what is true of an example to what a loss is computed with, and the augmentation, which may change both.

One class a kind of truth. A truth is what JSON holds, as `model_defs/metrics.py` takes it; a target is tensors. Knows neither
where examples come from nor what is computed with the targets.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors

from model_defs.answer_diff import pixels
from model_defs.postprocess import CORNERS
from model_defs.vision import ImageSample

VOID = 255  # in a label map: a pixel of which nothing is known


class Targets:
    """Turns (decoded sample, truth) into (sample, target).

    Args:
        labels: in the order of their numbers.
        augment: changes a sample at random, or a sample and its target; None where nothing is to be changed.
    """

    def __init__(self, labels: list[str], augment: Callable | None = None):
        self.number = {label: number for number, label in enumerate(labels)}
        self.augment = augment

    def __call__(self, sample: Any, truth: Any) -> tuple[Any, Any]:
        raise NotImplementedError

    def collate(self, targets: list) -> Any:
        """A batch's targets as the task's loss takes them."""
        return targets


class ClassTargets(Targets):
    """A label -> its number; a batch of them is (B,) int64."""

    def __call__(self, sample: Any, truth: str) -> tuple[Any, int]:
        return self.augment(sample) if self.augment else sample, self.number[truth]

    def collate(self, targets: list[int]) -> Tensor:
        return torch.tensor(targets)


class BoxTargets(Targets):
    """`[{"label", "box", and perhaps "mask"}, ...]` in pixels of the picture -> what torchvision's detectors learn from, in
    pixels of the sample: `boxes` (n, 4), `labels` (n,) from 1 on, and perhaps `masks` (n, h, w)."""

    def __call__(self, sample: ImageSample, truth: list[dict]) -> tuple[ImageSample, dict[str, Tensor]]:
        size = height, width = sample.pixels.shape[1:]
        corners = torch.tensor([[entry["box"][name] for name in CORNERS] for entry in truth]).reshape(-1, 4)
        scale = torch.tensor([width / sample.width, height / sample.height] * 2)
        target = {
            "boxes": tv_tensors.BoundingBoxes(corners * scale, format="XYXY", canvas_size=size),
            "labels": torch.tensor([1 + self.number[entry["label"]] for entry in truth], dtype=torch.int64),
        }
        if truth and "mask" in truth[0]:
            masks = np.stack([resized(pixels(entry["mask"]) > 127, size) for entry in truth])
            target["masks"] = tv_tensors.Mask(torch.from_numpy(masks).byte())
        sample, target = augmented(self.augment, sample, target)
        is_real = (target["boxes"][:, 2:] - target["boxes"][:, :2] >= 1).all(dim=1)  # a pixel or more is left of it
        return sample, {name: value.as_subclass(Tensor)[is_real] for name, value in target.items()}


class MaskTargets(Targets):
    """`[{"label", "mask"}, ...]` of the picture -> (h, w) uint8 of the sample: 0 for the background, a label's number from 1 on,
    VOID for the mask without a label. So there are 254 labels at most."""

    def __call__(self, sample: ImageSample, truth: list[dict]) -> tuple[ImageSample, Tensor]:
        numbers = np.zeros((sample.height, sample.width), dtype=np.uint8)
        for entry in truth:
            numbers[pixels(entry["mask"]) > 127] = VOID if entry["label"] is None else 1 + self.number[entry["label"]]
        numbers = tv_tensors.Mask(torch.from_numpy(resized(numbers, sample.pixels.shape[1:])))
        sample, numbers = augmented(self.augment, sample, numbers)
        return sample, numbers.as_subclass(Tensor)


def augmented(augment: Callable | None, sample: ImageSample, target: Any) -> tuple[ImageSample, Any]:
    """torchvision.transforms.v2 changes the picture and what is true of it alike: turned, cropped, mirrored together."""
    if augment is None:
        return sample, target
    image, target = augment(tv_tensors.Image(sample.pixels), target)
    return sample._replace(pixels=image.as_subclass(Tensor)), target


def resized(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool or uint8 -> (h, w) of the same values, each that of the nearest pixel."""
    height, width = size
    return np.array(Image.fromarray(values).resize((width, height), Image.Resampling.NEAREST))


def framed(maps: list[Tensor], size: tuple[int, int], fill: int) -> Tensor:
    """Maps (..., h, w) of different sizes -> (B, ..., H, W): each in the upper left corner, as its picture is."""
    height, width = size
    return torch.stack(
        [torch.nn.functional.pad(one, (0, width - one.shape[-1], 0, height - one.shape[-2]), value=fill) for one in maps]
    )
