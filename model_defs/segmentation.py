"""Networks that say for each pixel of a picture what it belongs to.

(B, 3, H, W) uint8 -> (B, 1 + num_classes, H, W) logits, the background first. Knows nothing of labels' names, or of the picture
that was sent: `answers.masks` does.
"""

import torch
import torchvision
from torch import Tensor, nn

from model_defs.vision import IMAGENET, Normalize


class TorchvisionSegmenter(nn.Module):
    """Any network of `torchvision.models.segmentation` by its name, untrained.

    Args:
        num_classes: labels; the background is added.
        name: as `torchvision.models.get_model` takes it: "fcn_resnet50", "deeplabv3_mobilenet_v3_large",
            "lraspp_mobilenet_v3_large" ...
        options: what else torchvision's function takes.
    """

    def __init__(self, num_classes: int, name: str = "lraspp_mobilenet_v3_large", options: dict | None = None):
        super().__init__()
        self.standardise = Normalize(*IMAGENET)
        builder = torchvision.models.get_model
        self.network = builder(name, weights=None, weights_backbone=None, num_classes=num_classes + 1, **(options or {}))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.network(self.standardise(pixels))["out"]


class UNet(nn.Module):
    """A U-Net (arXiv 1505.04597) with batch norm: down to a coarse view and up again, the finer views joined on the way.

    Args:
        num_classes: labels; the background is added.
        width: channels of the first level; each further one has twice as many.
        depth: how often the sides are halved; they must be a multiple of 2 ** depth.
    """

    def __init__(self, num_classes: int, width: int = 16, depth: int = 3):
        super().__init__()

        def block(inputs: int, outputs: int) -> nn.Module:
            layers = []
            for channels in (inputs, outputs):
                layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
            return nn.Sequential(*layers)

        widths = [width << level for level in range(depth + 1)]
        self.standardise = Normalize(*IMAGENET)
        self.down = nn.ModuleList(block(*pair) for pair in zip([3, *widths[:-1]], widths, strict=True))
        self.grow = nn.ModuleList(nn.ConvTranspose2d(2 * channels, channels, 2, stride=2) for channels in widths[-2::-1])
        self.up = nn.ModuleList(block(2 * channels, channels) for channels in widths[-2::-1])
        self.head = nn.Conv2d(width, num_classes + 1, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        features, views = self.standardise(pixels), []
        for level, block in enumerate(self.down):
            features = block(nn.functional.max_pool2d(features, 2) if level else features)  # (B, width << level, H >> level, ...)
            views.append(features)
        views.pop()
        for grow, block in zip(self.grow, self.up, strict=True):
            features = block(torch.cat([views.pop(), grow(features)], dim=1))
        return self.head(features)
