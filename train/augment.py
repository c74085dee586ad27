"""What only training does to a sample, between decoding and the network, where no library does it.

For pictures, name `torchvision.transforms.v2` in the config: its modules take the same uint8 tensors, and change boxes and masks
along with them. Each module here takes one decoded sample and gives another of the same kind. Knows nothing of labels.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.transforms import v2


class Grain(v2.Transform):
    """(channels, H, W) uint8 -> the same picture under noise whose deviation is up to `most` of 255; boxes and masks stay."""

    def __init__(self, most: float = 20.0):
        super().__init__()
        self.most = most

    def _transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, tv_tensors.BoundingBoxes | tv_tensors.Mask):
            return inpt
        noise = float(torch.rand(())) * self.most * torch.randn(inpt.shape)
        return (inpt.as_subclass(Tensor) + noise).clamp(0, 255).byte()


class Shift(nn.Module):
    """(samples,) -> the same sound, up to `most` of its length earlier or later, silence moved in."""

    def __init__(self, most: float = 0.1):
        super().__init__()
        self.most = most

    def forward(self, waveform: Tensor) -> Tensor:
        limit = int(self.most * len(waveform))
        places = int(torch.randint(-limit, limit + 1, ()))
        shifted = waveform.roll(places)
        if places > 0:
            shifted[:places] = 0
        elif places < 0:
            shifted[places:] = 0
        return shifted


class Noise(nn.Module):
    """(samples,) -> the same sound under white noise, `least` to `most` dB below it."""

    def __init__(self, least: float = 10.0, most: float = 40.0):
        super().__init__()
        self.least, self.most = least, most

    def forward(self, waveform: Tensor) -> Tensor:
        decibels = self.least + (self.most - self.least) * float(torch.rand(()))
        return waveform + waveform.std() * 10 ** (-decibels / 20) * torch.randn_like(waveform)


class Dropped(nn.Module):
    """(n,) n-gram numbers -> the same without a random `share` of them, though never none."""

    def __init__(self, share: float = 0.1):
        super().__init__()
        self.share = share

    def forward(self, numbers: Tensor) -> Tensor:
        kept = numbers[torch.rand(len(numbers)) >= self.share]
        return kept if len(kept) else numbers
