"""Sounds: the transform from a sound file's bytes to a waveform, and the networks that listen.

The spectrogram is part of the network, so it runs once a batch, on the network's device, and travels with an export.
Knows nothing of labels, augmentation or HTTP.
"""

import contextlib
import io
import math

import numpy as np
import soundfile
import soxr
import torch
import torchaudio
from torch import Tensor, nn

from model_defs.errors import TooLarge, Unreadable, WrongKind, WrongValue
from model_defs.transform import Transform

SAMPLE_RATES = (1_000, 1_000_000)  # Hz; outside them a header lies, and resampling would cost more than the sound is worth
MOST_DECODED = 20_000_000  # samples, of all channels together: 40 minutes of a telephone's GSM, which take 2 to 4 s
BLOCK = 1 << 16  # frames decoded at once
SDS = b"\xf0\x7e"  # the first two bytes


class Sound(Transform):
    """Sound file of any rate, channel count and length -> (samples,) float32 in -1..1, mono at `sample_rate`.

    The window of `seconds` is cut from the middle of a longer sound; a shorter one is centred in silence. Where the file
    can be sought, only the window is decoded, so ten minutes cost no more than one second.

    Args:
        sample_rate: Hz.
        seconds: length of the window.
    """

    def __init__(self, sample_rate: int = 16_000, seconds: float = 1.0):
        self.sample_rate, self.seconds = sample_rate, seconds
        self.length = round(sample_rate * seconds)

    def __call__(self, payload: bytes) -> Tensor:
        """
        Raises:
            Unreadable: not a sound, corrupt, or without a single sample.
            TooLarge: more than `MOST_DECODED` samples that would have to be decoded to find the middle.
            WrongKind: a MIDI sample dump.
            WrongValue: a sample rate that no sound has, or samples that are NaN or infinite.
        """
        if not payload:
            raise Unreadable("the body is empty; send the bytes of a sound file")
        if payload.startswith(SDS):  # libsndfile prints a line for each block of one, into the log that TorchServe reads
            raise WrongKind("a MIDI sample dump is not taken; send a WAV, FLAC, OGG or MP3 file")
        try:
            frames, rate = middle(payload, self.seconds)
        except soundfile.SoundFileError as error:
            why = getattr(error, "error_string", str(error)).rstrip(".")
            raise Unreadable(
                f"not a sound: {len(payload):,} bytes that libsndfile cannot read ({why}); send a WAV, FLAC, OGG or MP3 file"
            ) from error
        if not len(frames):
            raise Unreadable("the sound file holds no samples; send one that does")
        if not np.isfinite(frames).all():
            raise WrongValue("the sound has samples that are NaN or infinite; send finite ones")
        mono = frames.mean(axis=1, dtype=np.float64)  # the sum of two of the largest float32 would be infinite
        peak = np.abs(mono).max()
        if peak > 1:  # a float file in another scale
            mono /= peak
        mono = mono.astype(np.float32)
        if rate != self.sample_rate:
            mono = soxr.resample(mono, rate, self.sample_rate)
        return torch.from_numpy(centred(mono, self.length))

    def facts(self) -> dict:
        return {"sample_rate": self.sample_rate}

    def draw(self, sample: Tensor) -> np.ndarray:
        """The log-mel spectrogram, low pitch at the bottom."""
        return LogMel(self.sample_rate)(sample[None])[0, 0].flip(0).numpy()


def middle(payload: bytes, seconds: float) -> tuple[np.ndarray, int]:
    """The middle of a sound file, or all of a shorter one: (frames, channels) float32, and its sample rate in Hz."""
    with soundfile.SoundFile(io.BytesIO(payload)) as file:
        rate = file.samplerate
        if not SAMPLE_RATES[0] <= rate <= SAMPLE_RATES[1]:
            raise WrongValue(f"a sample rate of {rate:,} Hz; this model takes {SAMPLE_RATES[0]:,} to {SAMPLE_RATES[1]:,}")
        wanted = math.ceil(seconds * rate)
        if file.frames <= wanted:
            return file.read(wanted, dtype="float32", always_2d=True), rate
        with contextlib.suppress(soundfile.SoundFileError):
            last, start = file.frames - 1, (file.frames - wanted) // 2
            # A file that was cut has no end; in a damaged MP3 libsndfile lands elsewhere than it was sent.
            if file.seek(last) == last and len(file.read(1)) and file.seek(start) == start:
                frames = file.read(wanted, dtype="float32", always_2d=True)
                if len(frames) == wanted:
                    return frames, rate
    # The coding cannot be sought, or the header says more than the file holds, as it does where a recorder wrote to a pipe.
    frames = decode(payload)
    start = max(0, (len(frames) - wanted) // 2)
    return frames[start : start + wanted], rate


def decode(payload: bytes) -> np.ndarray:
    """All of a sound file, from its start: (frames, channels) float32."""
    blocks: list[np.ndarray] = []
    with Stream(io.BytesIO(payload)) as file:
        while not blocks or len(blocks[-1]):
            if len(blocks) * BLOCK * file.channels > MOST_DECODED:
                raise TooLarge(
                    f"more than {MOST_DECODED:,} samples of sound, in a file that says no length or cannot be sought; "
                    "send the part that matters"
                )
            blocks.append(file.read(BLOCK, dtype="float32", always_2d=True))
    return np.concatenate(blocks)


class Stream(soundfile.SoundFile):
    """A sound file that is only read onwards: soundfile seeks after each read, which fails at the end of some FLAC files."""

    def seekable(self) -> bool:
        return False


def centred(samples: np.ndarray, length: int) -> np.ndarray:
    """(any,) -> (length,): the middle of a longer one, silence on both sides of a shorter one."""
    start = (len(samples) - length) // 2
    if start >= 0:
        return np.ascontiguousarray(samples[start : start + length], dtype=np.float32)
    padded = np.zeros(length, dtype=np.float32)
    padded[-start : -start + len(samples)] = samples
    return padded


class LogMel(nn.Module):
    """(B, samples) -> (B, 1, n_mels, frames): log-mel spectrogram of 25 ms windows every 10 ms, each sound at zero mean and
    unit deviation, so that loudness and the recording's gain do not matter."""

    def __init__(self, sample_rate: int, n_mels: int = 64):
        super().__init__()
        window = sample_rate // 40
        self.mel = torchaudio.transforms.MelSpectrogram(
            sample_rate,
            n_fft=1 << (2 * window - 1).bit_length(),  # twice the window: narrow mel bands at low pitch need the finer bins
            win_length=window,
            hop_length=sample_rate // 100,
            n_mels=n_mels,
        )

    def forward(self, waveform: Tensor) -> Tensor:
        spectrogram = (self.mel.mel_scale(self.power(waveform)) + 1e-6).log()  # (B, n_mels, frames)
        std, mean = torch.std_mean(spectrogram, dim=(1, 2), keepdim=True)
        return ((spectrogram - mean) / (std + 1e-5)).unsqueeze(1)

    def power(self, waveform: Tensor) -> Tensor:
        """(B, samples) -> (B, n_fft / 2 + 1, frames): torchaudio's own, in real numbers, since ONNX has no complex ones."""
        fourier = self.mel.spectrogram
        spectrum = torch.stft(
            waveform, fourier.n_fft, fourier.hop_length, fourier.win_length, fourier.window, return_complex=True
        )  # fmt: skip
        return torch.view_as_real(spectrum).square().sum(-1)


class MelCNN(nn.Module):
    """A convolutional network over the log-mel spectrogram.

    (B, samples) float32 -> (B, num_classes) logits.
    """

    KEEP_EXACT = ("log_mel",)  # the modules that an int8 export leaves in fp32: power spectra span ten decimal powers

    def __init__(self, num_classes: int, sample_rate: int | None = None, n_mels: int = 64, width: int = 16, dropout: float = 0.2):
        super().__init__()

        def block(inputs: int, outputs: int) -> list[nn.Module]:
            convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
            return [convolution, nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]

        self.log_mel = LogMel(sample_rate or 16_000, n_mels)
        self.features = nn.Sequential(
            *block(1, width),  # (B, width, n_mels / 2, frames / 2)
            *block(width, 2 * width),
            *block(2 * width, 4 * width),
            *block(4 * width, 8 * width),  # (B, 8 width, n_mels / 16, frames / 16)
        )
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(16 * width, num_classes))

    def forward(self, waveform: Tensor) -> Tensor:
        features = self.features(self.log_mel(waveform)).mean(dim=2)  # (B, 8 width, frames / 16): over pitch
        pooled = torch.cat([features.mean(dim=2), features.amax(dim=2)], dim=1)  # over time: how much, and the loudest moment
        return self.head(pooled)
