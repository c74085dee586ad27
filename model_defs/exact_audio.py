"""Sounds as other people's code reads them: the whole waveform, mono, at its own length.

`model_defs/audio.py` has the transform for new models, which hears a window of a fixed length.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import soxr
import torch
from torch import Tensor

from model_defs.audio import LogMel
from model_defs.sound_file import decode, mono_of
from model_defs.transform import Transform, by_shape

LONGEST = 60.0  # s
SHORTEST = 400  # samples, added as silence at the end: the receptive field of wav2vec2's convolutions at 16 kHz


class WaveformTransform(Transform):
    """Sound file -> (samples,) float32, mono at `sample_rate`, as long as the file: what most scripts read.

    Unlike `AudioTransform`, no part is chosen, and a float file keeps its scale.

    Args:
        sample_rate: Hz.
        seconds: each sound is cut, or filled with silence at its end, to this length; None leaves its length.
        max_seconds: a longer sound is refused.
    """

    windows = 1  # the network hears a sound at once

    def __init__(self, sample_rate: int = 16_000, seconds: float | None = None, max_seconds: float = LONGEST):
        self.sample_rate, self.seconds, self.max_seconds = sample_rate, seconds, max_seconds

    def __call__(self, payload: bytes) -> Tensor:
        """
        Raises:
            Unreadable: not a sound, a corrupt one, or one without samples.
            TooLarge: longer than `max_seconds`.
            WrongKind: a MIDI sample dump.
            WrongValue: a sample rate that no sound has, or a sample that is NaN or infinite.
        """
        mono, rate = mono_of(payload, partial(decode, seconds=self.max_seconds))
        mono = mono.astype(np.float32)
        if rate != self.sample_rate:
            mono = soxr.resample(mono, rate, self.sample_rate)
        length = SHORTEST if self.seconds is None else round(self.seconds * self.sample_rate)
        if len(mono) < length:
            mono = np.pad(mono, (0, length - len(mono)))
        return torch.from_numpy(np.ascontiguousarray(mono if self.seconds is None else mono[:length], dtype=np.float32))

    def outputs(self, network: Callable[[tuple[Tensor, ...]], Tensor], samples: list[Tensor]) -> list[Tensor]:
        """One output per sample. The network runs once per length, so nothing is padded."""
        return by_shape(network, samples, self.collate)

    def facts(self) -> dict:
        return {"sample_rate": self.sample_rate}

    def draw(self, sample: Tensor) -> np.ndarray:
        """The log-mel spectrogram, with low pitch at the bottom."""
        return LogMel(self.sample_rate)(sample[None])[0, 0].flip(0).numpy()
