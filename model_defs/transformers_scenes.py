"""Object detectors and segmenters from Hugging Face: whole pictures, by the folder's own image processor. They need the extra
`transformers`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model_defs.transformer import network_of
from model_defs.transformers_image import ProcessedImageTransform
from model_defs.vision import ImageSample, Normalize

MAX_DETECTIONS = 100  # detections of a picture, as transformers gives them


class ProcessedWholeTransform(ProcessedImageTransform):
    """Picture file -> ImageSample: what the folder's image processor makes of the whole picture, and the picture's own size."""

    def __call__(self, payload: bytes) -> ImageSample:
        """For the errors see `ConvertedImageTransform.converted`."""
        picture = self.converted(payload)
        return ImageSample(self.processed(picture), picture.width, picture.height)

    def collate(self, samples: list[ImageSample]) -> tuple[Tensor]:
        """-> (B, 3, H, W); the samples have one size."""
        return (torch.stack([sample.pixels for sample in samples]),)

    def outputs(self, network: Callable[[tuple[Tensor, ...]], Tensor], samples: list[ImageSample]) -> list[Tensor]:
        """One output per sample. The network runs once per picture, since each has its own size."""
        return [network(self.collate([sample]))[0] for sample in samples]

    def draw(self, sample: ImageSample) -> np.ndarray:
        return super().draw(sample.pixels)


class TransformersDetector(nn.Module):
    """Any network of `transformers` for object detection, with random weights.

    (B, 3, H, W) pixels in 0..255 -> (B, detections, 6): left, upper, right and lower edge in pixels, score and class_id, best
    first.

    Args:
        config: the contents of a Hugging Face `config.json`; it needs `model_type`.
        mean, std: per channel, for pixels in 0..1.
        has_none: whether the last class means that there is nothing, as in DETR. Else each class has a score of its own, as in
            RT-DETR, and a box may have several.

    Raises:
        SpecError: the package is not installed, or has no such network.
    """

    def __init__(self, num_classes: int, config: dict[str, Any], mean: list[float], std: list[float], has_none: bool = True):
        super().__init__()
        self.normalize, self.has_none = Normalize(mean, std), has_none
        self.network = network_of(config, num_classes, "AutoModelForObjectDetection")

    def forward(self, pixels: Tensor) -> Tensor:
        found = self.network(pixel_values=self.normalize(pixels), return_dict=True)
        height, width = pixels.shape[2:]
        centre, size = found.pred_boxes.split(2, dim=-1)  # (B, queries, 2) each, in 0..1
        boxes = torch.cat([centre - size / 2, centre + size / 2], dim=-1) * boxes_scale(width, height, pixels.device)
        if self.has_none:
            scores, class_ids = found.logits.softmax(-1)[..., :-1].max(-1)
            scores, order = scores.sort(dim=1, descending=True, stable=True)
            class_ids = class_ids.gather(1, order)
        else:
            classes = found.logits.shape[-1]
            flat = found.logits.sigmoid().flatten(1)
            scores, order = flat.topk(min(MAX_DETECTIONS, flat.shape[1]), dim=1)
            order, class_ids = order // classes, order % classes
        boxes = boxes.gather(1, order[..., None].expand(-1, -1, 4))
        return torch.cat([boxes, scores[..., None], class_ids[..., None].to(scores.dtype)], dim=-1)


def boxes_scale(width: int, height: int, device: torch.device) -> Tensor:
    return torch.tensor([width, height, width, height], device=device)


class TransformersSegmenter(nn.Module):
    """Any network of `transformers` for semantic segmentation, with random weights.

    (B, 3, H, W) pixels in 0..255 -> (B, num_classes, height, width) logits, mostly at a quarter of the size.

    Args:
        config: the contents of a Hugging Face `config.json`; it needs `model_type`.
        mean, std: per channel, for pixels in 0..1.

    Raises:
        SpecError: the package is not installed, or has no such network.
    """

    def __init__(self, num_classes: int, config: dict[str, Any], mean: list[float], std: list[float]):
        super().__init__()
        self.normalize = Normalize(mean, std)
        self.network = network_of(config, num_classes, "AutoModelForSemanticSegmentation")

    def forward(self, pixels: Tensor) -> Tensor:
        return self.network(pixel_values=self.normalize(pixels), return_dict=True).logits
