"""A network of somebody's own, behind the normalisation that its pictures need."""

from typing import Any

from torch import Tensor, nn

from model_defs.build import build
from model_defs.vision import Normalize


class NormalizedNetwork(nn.Module):
    """(B, C, H, W) pixels in 0..255 -> what the network answers to (pixels / 255 - mean) / std.

    Args:
        network: the network's `{class_path, init_args}`.
        mean, std: per channel, for pixels in 0..1.
    """

    def __init__(self, network: dict[str, Any], mean: list[float], std: list[float]):
        super().__init__()
        self.normalize = Normalize(mean, std)
        self.network = build(network)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.network(self.normalize(pixels))
