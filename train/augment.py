"""What only training does to a sample, between decoding and the network, where no library does it.

For pictures, name `torchvision.transforms.v2` in the config: its modules take the same uint8 tensors, and change boxes and masks
along with them. Each module here takes one decoded sample and gives another of the same kind, but for those that work inside
the network. Knows nothing of labels.
"""

from collections.abc import Callable
from typing import Any

import torch
import torchaudio
from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.transforms import v2

from model_defs.build import SpecError


class GaussianNoise(v2.Transform):
    """(channels, H, W) uint8 -> the same picture under noise whose deviation is up to `most` of 255; boxes and masks stay."""

    def __init__(self, most: float = 20.0):
        super().__init__()
        self.most = most

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, tv_tensors.BoundingBoxes | tv_tensors.Mask):
            return inpt
        noise = float(torch.rand(())) * self.most * torch.randn(inpt.shape)
        return (inpt.as_subclass(Tensor) + noise).clamp(0, 255).byte()


class RandomShift(nn.Module):
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


class RandomRoll(nn.Module):
    """(samples,) -> the same sound begun at a random place, what stood before it put behind its end: of a long sound any window
    is learned from, and not only the one in the middle."""

    def forward(self, waveform: Tensor) -> Tensor:
        return waveform.roll(int(torch.randint(len(waveform), ())))


class WhiteNoise(nn.Module):
    """(samples,) -> the same sound under white noise, `least` to `most` dB below it."""

    def __init__(self, least: float = 10.0, most: float = 40.0):
        super().__init__()
        self.least, self.most = least, most

    def forward(self, waveform: Tensor) -> Tensor:
        decibels = self.least + (self.most - self.least) * float(torch.rand(()))
        return waveform + waveform.std() * 10 ** (-decibels / 20) * torch.randn_like(waveform)


class HookAugmentation(nn.Module):
    """The base of what changes, while learning, not a sample but what a module of the network makes of a batch.

    Raises:
        SpecError: the network has no such module.
    """

    module: str  # its name in the network

    def attach(self, network: nn.Module, is_learning: Callable[[], bool]) -> None:
        modules = dict(network.named_modules())
        if self.module not in modules:
            name = type(self).__name__
            raise SpecError(f"augment: {name} changes what {self.module} gives; {type(network).__name__} has none: leave it out")
        modules[self.module].register_forward_hook(lambda module, inputs, output: self(output) if is_learning() else None)


class SpecAugment(HookAugmentation):
    """(B, 1, bands, frames) spectrogram -> the same with some moments and some pitches blotted out by its mean, others in each
    sound (arXiv 1904.08779, without its warping of time).

    Args:
        times: moments that are blotted out.
        frames: of 10 ms, that one of them lasts at most.
        pitches: that are blotted out.
        bands: of the spectrogram's, that one of them takes at most.
    """

    module = "log_mel"

    def __init__(self, times: int = 2, frames: int = 15, pitches: int = 2, bands: int = 8):
        super().__init__()
        self.masks = torchaudio.transforms.SpecAugment(times, frames, pitches, bands, iid_masks=True, zero_masking=True)

    def forward(self, spectrogram: Tensor) -> Tensor:
        return self.masks(spectrogram)


class TokenDropout(nn.Module):
    """(n,) numbers of words or pieces -> the same without a random `share` of them, though never none.

    Args:
        first: so many at the beginning are never left out: 1 where a transformer's answer stands at the first.
    """

    def __init__(self, share: float = 0.1, first: int = 0):
        super().__init__()
        self.share, self.first = share, first

    def forward(self, numbers: Tensor) -> Tensor:
        chance = torch.rand(len(numbers))
        chance[: self.first] = 1
        kept = numbers[chance >= self.share]
        return kept if len(kept) else numbers
