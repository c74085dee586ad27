"""Audio: the transform from a sound file's bytes to a waveform, and classifiers of waveforms.

The spectrogram is part of the network. So it runs once per batch, on the network's device, and an export contains it.
"""

from collections.abc import Callable

import numpy as np
import soxr
import torch
import torchaudio
from torch import Tensor, nn

from model_defs.build import SpecError
from model_defs.sound_file import decode, middle, mono_of
from model_defs.transform import Transform

WINDOWS_PER_RUN = 32  # of the network


class AudioTransform(Transform):
    """Sound file of any rate, channel count and length -> (samples,) float32 in -1..1, mono at `sample_rate`.

    With one window, the network hears the middle of a longer sound. If the file can be sought, only that part is decoded, so
    ten minutes cost no more than one second. With several windows, the network hears the whole sound, in windows that overlap.
    A sound that is longer than they reach is refused. A sound that is shorter than a window is padded with silence on both
    sides.

    Args:
        sample_rate: Hz.
        seconds: length of a window, which is what the network hears at once.
        windows: the maximum per sound.
        hop: seconds from the start of one window to the start of the next; half a window if None. The last window ends with
            the sound.
    """

    def __init__(self, sample_rate: int = 16_000, seconds: float = 1.0, windows: int = 1, hop: float | None = None):
        if windows < 1 or (hop is not None and not 0 < hop <= seconds):
            raise SpecError(f"{windows} windows, {hop} s apart: give 1 or more, each {seconds:g} s or less behind the one before")
        self.sample_rate, self.seconds, self.windows, self.hop = sample_rate, seconds, windows, hop
        self.length = round(sample_rate * seconds)
        self.stride = max(1, round(sample_rate * (seconds / 2 if hop is None else hop)))
        self.longest = self.length + (windows - 1) * self.stride  # samples

    def __call__(self, payload: bytes) -> Tensor:
        """
        Raises:
            Unreadable: not a sound, a corrupt one, or one without samples.
            TooLarge: with one window, more than `MAX_DECODED` samples must be decoded to find the middle; with several, the
                sound is longer than they reach.
            WrongKind: a MIDI sample dump.
            WrongValue: the sample rate is outside `SAMPLE_RATES`, or a sample is NaN or infinite.
        """
        mono, rate = mono_of(payload, self.heard)
        peak = np.abs(mono).max()
        if peak > 1:  # a float file may have another scale
            mono /= peak
        mono = mono.astype(np.float32)
        if rate != self.sample_rate:
            mono = soxr.resample(mono, rate, self.sample_rate)
        if self.windows > 1 and len(mono) > self.length:
            return torch.from_numpy(np.ascontiguousarray(mono[: self.longest], dtype=np.float32))
        return torch.from_numpy(centred(mono, self.length))

    def heard(self, payload: bytes) -> tuple[np.ndarray, int]:
        """What the network hears of a file: (frames, channels) float32, and its sample rate in Hz. Raises as they do."""
        if self.windows == 1:
            return middle(payload, self.seconds)
        return decode(payload, self.longest / self.sample_rate)

    def collate(self, samples: list[Tensor]) -> tuple[Tensor]:
        """-> (B, samples of a window): the middle window of each sound. A transform with one window has no other."""
        starts = [(len(sample) - self.length) // 2 for sample in samples]
        return (torch.stack([sample[start : start + self.length] for sample, start in zip(samples, starts, strict=True)]),)

    def outputs(self, network: Callable[[tuple[Tensor, ...]], Tensor], samples: list[Tensor]) -> list[Tensor]:
        """One output per sample: (num_classes,) with one window, (windows of this sample, num_classes) with several."""
        if self.windows == 1:
            return super().outputs(network, samples)
        heard = [torch.stack([sample[start : start + self.length] for start in self.starts(sample)]) for sample in samples]
        found = torch.cat([network((windows,)) for windows in torch.cat(heard).split(WINDOWS_PER_RUN)])
        return list(found.split([len(windows) for windows in heard]))

    def starts(self, sample: Tensor) -> list[int]:
        """The first sample of each window: one per stride, and the last window ends with the sound."""
        last = len(sample) - self.length
        return [*range(0, last, self.stride), last]

    def spans(self, sample: Tensor) -> list[tuple[float, float]]:
        """The start and end of each window in seconds."""
        return [
            (round(start / self.sample_rate, 4), round(start / self.sample_rate + self.seconds, 4))
            for start in self.starts(sample)
        ]

    def facts(self) -> dict:
        return {"sample_rate": self.sample_rate}

    def draw(self, sample: Tensor) -> np.ndarray:
        """The log-mel spectrogram, with low pitch at the bottom."""
        return LogMel(self.sample_rate)(sample[None])[0, 0].flip(0).numpy()


def centred(samples: np.ndarray, length: int) -> np.ndarray:
    """(n,) -> (length,) float32: the middle of a longer array; a shorter one with zeros on both sides."""
    start = (len(samples) - length) // 2
    if start >= 0:
        return np.ascontiguousarray(samples[start : start + length], dtype=np.float32)
    padded = np.zeros(length, dtype=np.float32)
    padded[-start : -start + len(samples)] = samples
    return padded


class LogMel(nn.Module):
    """(B, samples) -> (B, 1, n_mels, frames): log-mel spectrogram of 25 ms windows every 10 ms.

    Each spectrogram has mean 0 and standard deviation 1, so loudness does not matter.
    """

    def __init__(self, sample_rate: int, n_mels: int = 64):
        super().__init__()
        window = sample_rate // 40
        self.mel = torchaudio.transforms.MelSpectrogram(
            sample_rate,
            n_fft=1 << (2 * window - 1).bit_length(),  # twice the window: the narrow mel bands at low pitch need fine bins
            win_length=window,
            hop_length=sample_rate // 100,
            n_mels=n_mels,
        )

    def forward(self, waveform: Tensor) -> Tensor:
        spectrogram = (self.mel.mel_scale(self.power(waveform)) + 1e-6).log()  # (B, n_mels, frames)
        std, mean = torch.std_mean(spectrogram, dim=(1, 2), keepdim=True)
        return ((spectrogram - mean) / (std + 1e-5)).unsqueeze(1)

    def power(self, waveform: Tensor) -> Tensor:
        """(B, samples) -> (B, n_fft / 2 + 1, frames): torchaudio's power spectrogram, without complex numbers, for ONNX."""
        fourier = self.mel.spectrogram
        spectrum = torch.stft(
            waveform, fourier.n_fft, fourier.hop_length, fourier.win_length, fourier.window, return_complex=True
        )  # fmt: skip
        return torch.view_as_real(spectrum).square().sum(-1)


class MFCC(nn.Module):
    """(B, 1, n_mels, frames) log-mel spectrogram -> (B, 1, n_mfcc, frames) mel-frequency cepstral coefficients.

    They are the discrete cosine transform over the mel bands. Batch norm scales each coefficient, because the first ones are
    many times larger than the last.
    """

    def __init__(self, n_mels: int, n_mfcc: int):
        super().__init__()
        self.register_buffer("cosines", torchaudio.functional.create_dct(n_mfcc, n_mels, "ortho").T.contiguous())
        self.norm = nn.BatchNorm1d(n_mfcc)

    def forward(self, spectrogram: Tensor) -> Tensor:
        return self.norm(torch.matmul(self.cosines, spectrogram[:, 0])).unsqueeze(1)


class MelCNN(nn.Module):
    """A convolutional network over the log-mel spectrogram or over its cepstral coefficients (MFCC).

    (B, samples) float32 -> (B, num_classes) logits.

    Args:
        n_mels: bands of the spectrogram.
        n_mfcc: how many coefficients the network sees, such as 20; the spectrogram itself if None.
        width: channels of the first layer.
    """

    KEEP_EXACT = ("log_mel", "cepstrum")  # an int8 export leaves these modules in fp32: power spectra span ten decimal orders

    def __init__(
        self,
        num_classes: int,
        sample_rate: int | None = None,
        n_mels: int = 64,
        width: int = 16,
        dropout: float = 0.2,
        n_mfcc: int | None = None,
    ):
        super().__init__()
        if n_mfcc is not None and not 1 <= n_mfcc <= n_mels:
            raise SpecError(f"n_mfcc: {n_mfcc} coefficients of {n_mels} mel bands; give 1 to {n_mels}")
        # Only time is pooled for MFCC: a maximum of two neighbouring coefficients means nothing.
        halves = 2 if n_mfcc is None else (1, 2)

        def block(inputs: int, outputs: int) -> list[nn.Module]:
            convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
            return [convolution, nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(halves)]

        self.log_mel = LogMel(sample_rate or 16_000, n_mels)
        self.cepstrum = nn.Identity() if n_mfcc is None else MFCC(n_mels, n_mfcc)
        self.features = nn.Sequential(
            *block(1, width),  # (B, width, n_mels / 2, frames / 2)
            *block(width, 2 * width),
            *block(2 * width, 4 * width),
            *block(4 * width, 8 * width),  # (B, 8 width, n_mels / 16, frames / 16)
        )
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(16 * width, num_classes))

    def forward(self, waveform: Tensor) -> Tensor:
        return self.from_embedded(self.embed(waveform))

    def embed(self, waveform: Tensor) -> Tensor:
        """(B, samples) -> (B, 1, n_mels, frames). Explanations begin after it."""
        return self.log_mel(waveform)

    def from_embedded(self, spectrogram: Tensor) -> Tensor:
        """The rest of `forward`."""
        features = self.features(self.cepstrum(spectrogram)).mean(dim=2)  # (B, 8 width, frames / 16): mean over pitch
        pooled = torch.cat([features.mean(dim=2), features.amax(dim=2)], dim=1)  # (B, 16 width): mean and maximum over time
        return self.head(pooled)
