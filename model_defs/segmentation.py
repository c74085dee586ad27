"""Semantic segmentation: networks that classify each pixel.

(B, 3, H, W) uint8 -> (B, 1 + num_classes, H, W) logits. The first class is the background. `postprocess.masks` turns the logits
into answers.
"""

import torch
import torchvision
from torch import Tensor, nn

from model_defs.vision import IMAGENET, Normalize


class TorchvisionSegmenter(nn.Module):
    """Any network of `torchvision.models.segmentation` by name, untrained.

    Args:
        num_classes: labels, without the background.
        name: as `torchvision.models.get_model` takes it: "fcn_resnet50", "deeplabv3_mobilenet_v3_large",
            "lraspp_mobilenet_v3_large" ...
        options: other arguments of torchvision's function.
    """

    def __init__(self, num_classes: int, name: str = "lraspp_mobilenet_v3_large", options: dict | None = None):
        super().__init__()
        self.normalize = Normalize(*IMAGENET)
        builder = torchvision.models.get_model
        self.network = builder(name, weights=None, weights_backbone=None, num_classes=num_classes + 1, **(options or {}))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.network(self.normalize(pixels))["out"]


class UNet(nn.Module):
    """A U-Net (arXiv 1505.04597) with batch norm: down to coarse features and up again, with skip connections.

    Args:
        num_classes: labels, without the background.
        width: channels of the first level. Each deeper level has twice as many.
        depth: how often the sides are halved. They must be multiples of 2 ** depth.
    """

    def __init__(self, num_classes: int, width: int = 16, depth: int = 3):
        super().__init__()

        def block(inputs: int, outputs: int) -> nn.Module:
            layers = []
            for channels in (inputs, outputs):
                layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
            return nn.Sequential(*layers)

        widths = [width << level for level in range(depth + 1)]
        self.normalize = Normalize(*IMAGENET)
        self.down = nn.ModuleList(block(*pair) for pair in zip([3, *widths[:-1]], widths, strict=True))
        self.upsample = nn.ModuleList(nn.ConvTranspose2d(2 * channels, channels, 2, stride=2) for channels in widths[-2::-1])
        self.up = nn.ModuleList(block(2 * channels, channels) for channels in widths[-2::-1])
        self.head = nn.Conv2d(width, num_classes + 1, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        features, skips = self.normalize(pixels), []
        for level, block in enumerate(self.down):
            features = block(nn.functional.max_pool2d(features, 2) if level else features)  # (B, width << level, H >> level, ...)
            skips.append(features)
        skips.pop()
        for upsample, block in zip(self.upsample, self.up, strict=True):
            features = block(torch.cat([skips.pop(), upsample(features)], dim=1))  # one level up
        return self.head(features)
