"""Pictures for networks from Hugging Face: the folder's own image processor, and its classifiers. They need the extra
`transformers`.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor, nn

from model_defs.exact_image import ConvertedImageTransform
from model_defs.transform import by_shape
from model_defs.transformer import network_of, processor_of
from model_defs.vision import Normalize

TORCHVISION, PILLOW = "torchvision", "pil"  # what resizes: the default of transformers 5, and that of transformers 4


class ProcessedImageTransform(ConvertedImageTransform):
    """Picture file -> (channels, height, width): what an image processor of `transformers` makes of it, in 0..255.

    The network divides by 255 and normalises, so that a picture stays in 8 bits until it is there.

    Args:
        upright: whether a picture is turned as its EXIF says, as `pipeline` does.
        backend: "torchvision" or "pil". Their pixels differ by 1 of 255 at most.
        max_pixels: more than this in the file's header is refused before a pixel is decoded.
    """

    FILE = "preprocessor_config.json"  # in Hugging Face's format

    def __init__(self, upright: bool = True, backend: str = TORCHVISION, max_pixels: int = 50_000_000):
        super().__init__(0, "RGB", upright, max_pixels)
        self.backend = backend
        self.processor: Any = None

    def __call__(self, payload: bytes) -> Tensor:
        """For the errors see `ConvertedImageTransform.converted`."""
        return self.processed(self.converted(payload))

    def processed(self, picture: Image.Image) -> Tensor:
        return self.processor(picture, do_rescale=False, do_normalize=False, return_tensors="pt")["pixel_values"][0]

    def outputs(self, network: Callable[[tuple[Tensor, ...]], Tensor], samples: list[Tensor]) -> list[Tensor]:
        return by_shape(network, samples, self.collate)

    def region(self, width: int, height: int) -> None:
        return None  # each processor of `transformers` crops in its own way

    def draw(self, sample: Tensor) -> np.ndarray:
        return sample.permute(1, 2, 0).numpy()

    def save(self, folder: Path) -> None:
        (folder / self.FILE).write_text(self.processor.to_json_string(), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """
        Raises:
            SpecError: the package is not installed, or has no such image processor.
        """
        self.load_processor(folder)

    def load_processor(self, folder: Path) -> None:
        self.processor = processor_of(folder, "AutoImageProcessor", "image processor", backend=self.backend)

    def normalization(self) -> tuple[list[float], list[float]]:
        """The processor's mean and standard deviation per channel, for pixels in 0..1, whatever it divides by."""
        processor = json.loads(self.processor.to_json_string())
        scale = 255 * (processor.get("rescale_factor") or 1 / 255) if processor.get("do_rescale", True) else 255.0
        mean, std = [0.0] * 3, [1.0] * 3
        if processor.get("do_normalize", True):
            mean, std = (as_channels(processor.get(name), usual) for name, usual in (("image_mean", 0.0), ("image_std", 1.0)))
        return [value / scale for value in mean], [value / scale for value in std]


def as_channels(given: Any, usual: float) -> list[float]:
    """One number, or one per channel -> three numbers."""
    values = given if isinstance(given, list) else [given] * 3
    return [usual if value is None else float(value) for value in values]


class TransformersImageClassifier(nn.Module):
    """Any network of `transformers` for image classification, with random weights.

    (B, 3, H, W) pixels in 0..255 -> (B, num_classes) logits.

    Args:
        config: the contents of a Hugging Face `config.json`; it needs `model_type`.
        mean, std: per channel, for pixels in 0..1.

    Raises:
        SpecError: the package is not installed, or has no such network.
    """

    def __init__(self, num_classes: int, config: dict[str, Any], mean: list[float], std: list[float]):
        super().__init__()
        self.normalize = Normalize(mean, std)
        self.network = network_of(config, num_classes, "AutoModelForImageClassification")

    def forward(self, pixels: Tensor) -> Tensor:
        return self.network(pixel_values=self.normalize(pixels), return_dict=False)[0]
