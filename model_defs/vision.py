"""Pictures: transforms from a decoded picture to the square that a network sees, and classifiers.

Pixels stay 8-bit until they are inside the network. That is a quarter of the bytes to copy, and an exported network contains
its own normalization.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
import torchvision
from torch import Tensor, nn

from model_defs.image_file import CHANNELS, ImageFileTransform, resize

IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])  # mean and standard deviation, as torchvision's weights expect
GREY = 127  # a pixel that shows nothing: the padding of a letterbox, or a picture that is left out


class ImageTransform(ImageFileTransform):
    """Picture file -> (channels, size, size) uint8: the square in its centre.

    Args:
        size: height and width in pixels.
        mode: "RGB", or "L" for grey.
        crop_pct: the share of the shorter side that the square covers, as in timm.
        max_pixels: a file whose header says more is refused before a pixel is decoded. The default is below the count at which
            Pillow warns of a decompression bomb; docs/decisions.md says why.
    """

    def __init__(self, size: int = 224, mode: str = "RGB", crop_pct: float = 1.0, max_pixels: int = 50_000_000):
        super().__init__(size, mode, max_pixels)
        if not 0 < crop_pct <= 1:
            raise ValueError(f"crop_pct {crop_pct} is not a share of the shorter side: more than 0, at most 1")
        self.crop_pct = crop_pct

    def __call__(self, payload: bytes) -> Tensor:
        """For the errors see `ImageFileTransform.upright`."""
        # Twice the final size keeps the filter's quality. Pillow's `thumbnail` uses the same factor.
        upright, _ = self.upright(payload, math.ceil(2 * self.size / self.crop_pct))
        return resize(upright, self.region(*upright.size), (self.size, self.size))

    def region(self, width: int, height: int) -> tuple[int, int, int, int]:
        side = max(1, round(min(width, height) * self.crop_pct))
        left, top = (width - side) // 2, (height - side) // 2
        return left, top, left + side, top + side

    def draw(self, sample: Tensor) -> np.ndarray:
        return sample.permute(1, 2, 0).squeeze(2).numpy()


class ImageSample(NamedTuple):
    """A whole picture, resized until its longer side fits the frame, and its size before.

    Args:
        pixels: (channels, height, width) uint8.
        width, height: of the picture that was sent, upright, in pixels.
    """

    pixels: Tensor
    width: int
    height: int


class LetterboxTransform(ImageFileTransform):
    """Picture file -> ImageSample. A batch is (B, channels, size, size) uint8, each picture in the upper left corner on grey.

    Args:
        size: height and width of the frame in pixels.
        mode: "RGB", or "L" for grey.
        max_pixels: a file whose header says more is refused before a pixel is decoded. Masks are answered at the file's size.
    """

    def __init__(self, size: int = 320, mode: str = "RGB", max_pixels: int = 25_000_000):
        super().__init__(size, mode, max_pixels)

    def __call__(self, payload: bytes) -> ImageSample:
        """For the errors see `ImageFileTransform.upright`."""
        upright, (width, height) = self.upright(payload, 2 * self.size)
        scale = self.size / max(width, height)
        fitting = (max(1, round(height * scale)), max(1, round(width * scale)))
        return ImageSample(resize(upright, (0, 0, *upright.size), fitting), width, height)

    def collate(self, samples: list[ImageSample]) -> tuple[Tensor]:
        channels = CHANNELS[self.mode]
        batch = torch.full((len(samples), channels, self.size, self.size), GREY, dtype=torch.uint8)
        for frame, sample in zip(batch, samples, strict=True):
            height, width = sample.pixels.shape[1:]
            frame[:, :height, :width] = sample.pixels
        return (batch,)

    def facts(self) -> dict:
        return super().facts() | {"size": self.size}

    def draw(self, sample: ImageSample) -> np.ndarray:
        return sample.pixels.permute(1, 2, 0).squeeze(2).numpy()


class Normalize(nn.Module):
    """(B, C, H, W) in 0..255, uint8 or float -> (x / 255 - mean) / std, float. One mean and std per channel, or one for all."""

    def __init__(self, mean: list[float], std: list[float]):
        super().__init__()
        self.register_buffer("mean", 255 * torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        return (pixels - self.mean) / self.std


class SmallCNN(nn.Module):
    """Three blocks of convolution and pooling, enough for small pictures of simple things.

    (B, channels, H, W) uint8 -> (B, num_classes) logits. H and W are 8 or more.
    """

    def __init__(self, num_classes: int, channels: int | None = None, width: int = 32, dropout: float = 0.2):
        super().__init__()

        def block(inputs: int, outputs: int) -> list[nn.Module]:
            return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]

        self.normalize = Normalize([0.5], [0.5])
        self.features = nn.Sequential(
            *block(channels or 3, width),  # (B, width, H, W)
            *block(width, width),
            nn.MaxPool2d(2),  # (B, width, H / 2, W / 2)
            *block(width, 2 * width),
            nn.MaxPool2d(2),  # (B, 2 width, H / 4, W / 4)
            *block(2 * width, 4 * width),
            nn.AdaptiveAvgPool2d(1),  # (B, 4 width, 1, 1)
            nn.Flatten(),
        )
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(4 * width, num_classes))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head(self.features(self.normalize(pixels)))


class TorchvisionClassifier(nn.Module):
    """Any classifier of `torchvision.models` by name, untrained, with a head for these classes.

    (B, 3, H, W) uint8 -> (B, num_classes) logits.

    Args:
        num_classes: outputs of the head.
        name: as `torchvision.models.get_model` takes it: "resnet18", "mobilenet_v3_small", "vit_b_16" ...
        small_pictures: make a ResNet's first layer a 3x3 convolution of stride 1 without pooling, so that 32x32 pictures are
            not shrunk to nothing. Source: section 4.2 of "Deep Residual Learning for Image Recognition" (arXiv 1512.03385).
        options: other arguments of torchvision's function: `{"image_size": 64}` for a ViT of smaller pictures.

    Raises:
        ValueError: no such model, or `small_pictures` for a model that is not a ResNet.
    """

    def __init__(self, num_classes: int, name: str = "resnet18", small_pictures: bool = False, options: dict | None = None):
        super().__init__()
        self.normalize = Normalize(*IMAGENET)
        self.network = torchvision.models.get_model(name, weights=None, num_classes=num_classes, **(options or {}))
        if small_pictures:
            if not isinstance(self.network, torchvision.models.ResNet):
                raise ValueError(f"small_pictures is for ResNets; {name!r} is not one: leave it out")
            self.network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
            self.network.maxpool = nn.Identity()

    def forward(self, pixels: Tensor) -> Tensor:
        return self.network(self.normalize(pixels))
