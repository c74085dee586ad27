"""From an example's truth to the target that a loss takes, together with the augmentation, which may change both.

There is one class per kind of truth. A truth is JSON data, as `model_defs/metrics.py` takes it; a target is tensors.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors

from model_defs.answer_diff import pixels
from model_defs.build import SpecError
from model_defs.postprocess import CORNERS
from model_defs.vision import ImageSample

VOID = 255  # in a label map: losses and metrics ignore this pixel


class Targets:
    """Turns (decoded sample, truth) into (sample, target).

    Args:
        labels: in the order of their class ids.
        augment: changes a sample at random, or a sample and its target; None for no augmentation.
    """

    def __init__(self, labels: list[str], augment: Callable | None = None):
        self.class_ids = {label: class_id for class_id, label in enumerate(labels)}
        self.augment = augment

    def __call__(self, sample: Any, truth: Any) -> tuple[Any, Any]:
        raise NotImplementedError

    def collate(self, targets: list) -> Any:
        """A batch's targets, as the task's loss takes them."""
        return targets


class ClassTargets(Targets):
    """A label -> its class id; a batch is (B,) int64."""

    def __call__(self, sample: Any, truth: str) -> tuple[Any, int]:
        return self.augment(sample) if self.augment else sample, self.class_ids[truth]

    def collate(self, targets: list[int]) -> Tensor:
        return torch.tensor(targets)


class BoxTargets(Targets):
    """`[{"label", "box"}, ...]` in pixels of the picture -> what torchvision's detectors take, in pixels of the sample: `boxes`
    (n, 4) and `labels` (n,) int64 from 1 on."""

    has_masks = False

    def __call__(self, sample: ImageSample, truth: list[dict]) -> tuple[ImageSample, dict[str, Tensor]]:
        size = height, width = sample.pixels.shape[1:]
        corners = torch.tensor([[found["box"][name] for name in CORNERS] for found in truth]).reshape(-1, 4)
        scale = torch.tensor([width / sample.width, height / sample.height] * 2)
        target = {
            "boxes": tv_tensors.BoundingBoxes(corners * scale, format="XYXY", canvas_size=size),
            "labels": torch.tensor([1 + self.class_ids[found["label"]] for found in truth], dtype=torch.int64),
        }
        if self.has_masks:
            if any("mask" not in found for found in truth):
                raise SpecError("this task learns masks, and the data has none; give --data.masks=true")
            masks = [resized(pixels(found["mask"]) > 127, size) for found in truth]
            target["masks"] = tv_tensors.Mask(torch.from_numpy(np.array(masks, dtype=np.uint8).reshape(-1, *size)))
        sample, target = augmented(self.augment, sample, target)
        is_visible = (target["boxes"][:, 2:] - target["boxes"][:, :2] >= 1).all(dim=1)  # at least a pixel wide and high
        return sample, {name: value.as_subclass(Tensor)[is_visible] for name, value in target.items()}


class InstanceTargets(BoxTargets):
    """`[{"label", "box", "mask"}, ...]` -> as `BoxTargets`, and `masks` (n, h, w) uint8.

    Raises:
        SpecError: an object has no mask.
    """

    has_masks = True


class MaskTargets(Targets):
    """`[{"label", "mask"}, ...]` of the picture -> a label map of the sample, (h, w) uint8: 0 for the background, class ids from
    1 on, VOID for the mask without a label. So there can be 254 labels."""

    def __call__(self, sample: ImageSample, truth: list[dict]) -> tuple[ImageSample, Tensor]:
        label_map = np.zeros((sample.height, sample.width), dtype=np.uint8)
        for found in truth:
            label_map[pixels(found["mask"]) > 127] = VOID if found["label"] is None else 1 + self.class_ids[found["label"]]
        target = tv_tensors.Mask(torch.from_numpy(resized(label_map, sample.pixels.shape[1:])))
        sample, target = augmented(self.augment, sample, target)
        return sample, target.as_subclass(Tensor)


def augmented(augment: Callable | None, sample: ImageSample, target: Any) -> tuple[ImageSample, Any]:
    """Apply the same random change to picture and target, as torchvision.transforms.v2 does: rotate, crop or flip both."""
    if augment is None:
        return sample, target
    image, target = augment(tv_tensors.Image(sample.pixels), target)
    return sample._replace(pixels=image.as_subclass(Tensor)), target


def resized(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool or uint8 -> (h, w), by nearest neighbour."""
    height, width = size
    return np.array(Image.fromarray(values).resize((width, height), Image.Resampling.NEAREST))


def pad_maps(maps: list[Tensor], size: tuple[int, int], fill: int) -> Tensor:
    """Maps (..., h, w) of different sizes -> (B, ..., H, W), each in the upper left corner, as its picture is."""
    height, width = size
    return torch.stack(
        [torch.nn.functional.pad(one, (0, width - one.shape[-1], 0, height - one.shape[-2]), value=fill) for one in maps]
    )
