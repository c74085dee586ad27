"""Augmentations that no library has. They run in training only, between decoding and the network, or inside the network.

For pictures, name `torchvision.transforms.v2` in the config: its modules take the same uint8 tensors, and change boxes and masks
together with the picture.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torchaudio
from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.transforms import v2

from model_defs.build import SpecError


class GaussianNoise(v2.Transform):
    """(channels, H, W) uint8 -> the same with Gaussian noise. Its standard deviation is random, up to `most` of 255. Boxes and
    masks stay."""

    def __init__(self, most: float = 20.0):
        super().__init__()
        self.most = most

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, tv_tensors.BoundingBoxes | tv_tensors.Mask):
            return inpt
        noise = float(torch.rand(())) * self.most * torch.randn(inpt.shape)
        return (inpt.as_subclass(Tensor) + noise).clamp(0, 255).byte()


class RandomShift(nn.Module):
    """(samples,) -> the waveform shifted in time by up to `most` of its length; the gap is silence."""

    def __init__(self, most: float = 0.1):
        super().__init__()
        self.most = most

    def forward(self, waveform: Tensor) -> Tensor:
        limit = int(self.most * len(waveform))
        offset = int(torch.randint(-limit, limit + 1, ()))
        shifted = waveform.roll(offset)
        if offset > 0:
            shifted[:offset] = 0
        elif offset < 0:
            shifted[offset:] = 0
        return shifted


class RandomRoll(nn.Module):
    """(samples,) -> the waveform rolled by a random offset. So every part of a long sound can be in the window that is
    learned from."""

    def forward(self, waveform: Tensor) -> Tensor:
        return waveform.roll(int(torch.randint(len(waveform), ())))


class WhiteNoise(nn.Module):
    """(samples,) -> the waveform with white noise, at a random level `least` to `most` dB below it."""

    def __init__(self, least: float = 10.0, most: float = 40.0):
        super().__init__()
        self.least, self.most = least, most

    def forward(self, waveform: Tensor) -> Tensor:
        decibels = self.least + (self.most - self.least) * float(torch.rand(()))
        return waveform + waveform.std() * 10 ** (-decibels / 20) * torch.randn_like(waveform)


class HookAugmentation(nn.Module):
    """The base of augmentations that change the output of a module inside the network.

    Raises:
        SpecError: the network has no such module.
    """

    module: str  # its name in the network

    def attach(self, network: nn.Module, is_training: Callable[[], bool]) -> None:
        modules = dict(network.named_modules())
        if self.module not in modules:
            name = type(self).__name__
            raise SpecError(f"augment: {name} changes what {self.module} gives; {type(network).__name__} has none: leave it out")
        modules[self.module].register_forward_hook(lambda module, inputs, output: self(output) if is_training() else None)


class SpecAugment(HookAugmentation):
    """(B, 1, bands, frames) spectrogram -> the same with random time spans and frequency bands replaced by its mean, other ones
    in each sound (arXiv 1904.08779, without time warping).

    Args:
        times: number of time masks.
        frames: the longest time mask, in frames of 10 ms.
        pitches: number of frequency masks.
        bands: the widest frequency mask, in mel bands.
    """

    module = "log_mel"

    def __init__(self, times: int = 2, frames: int = 15, pitches: int = 2, bands: int = 8):
        super().__init__()
        self.masks = torchaudio.transforms.SpecAugment(times, frames, pitches, bands, iid_masks=True, zero_masking=True)

    def forward(self, spectrogram: Tensor) -> Tensor:
        return self.masks(spectrogram)


class TokenDropout(nn.Module):
    """(n,) token ids -> the same without a random `share` of them. At least one token stays.

    Args:
        first: this many tokens at the beginning always stay: 1 for a transformer that reads its answer from the first.
    """

    def __init__(self, share: float = 0.1, first: int = 0):
        super().__init__()
        self.share, self.first = share, first

    def forward(self, tokens: Tensor) -> Tensor:
        chance = torch.rand(len(tokens))
        chance[: self.first] = 1
        kept = tokens[chance >= self.share]
        return kept if len(kept) else tokens


@dataclass
class MixUpOrCutMix:
    """MixUp and CutMix for pictures. Each batch uses one of those that are given.

    Args:
        mixup: alpha of the Beta distribution of the share, for example 0.2; two pictures are blended (arXiv 1710.09412).
        cutmix: alpha, for example 1.0; a rectangle of one picture is pasted on the other (arXiv 1905.04899).
    """

    mixup: float | None = None
    cutmix: float | None = None

    def build(self, num_classes: int) -> nn.Module:
        """
        Raises:
            SpecError: neither is given.
        """
        given = [(v2.MixUp, self.mixup), (v2.CutMix, self.cutmix)]
        chosen = [kind(alpha=alpha, num_classes=num_classes) for kind, alpha in given if alpha]
        if not chosen:
            raise SpecError("mix: give mixup, cutmix or both, such as mix: {mixup: 0.2}")
        return v2.RandomChoice(chosen)
