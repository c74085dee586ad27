"""Synthetic one-second sounds of ten kinds, with random pitch, level, length, position and background noise.

The same seed gives the same bytes.
"""

import io

import numpy as np
import soundfile

SAMPLE_RATE = 16_000  # Hz
SECONDS = 1.0
Generator = np.random.Generator
Samples = np.ndarray  # (n,) float64


def clock(n: int) -> Samples:
    """(n,) seconds since the start."""
    return np.arange(n) / SAMPLE_RATE


def swept(frequency: Samples) -> Samples:
    """A sine wave whose frequency in Hz is given for each sample."""
    return np.sin(2 * np.pi * np.cumsum(frequency) / SAMPLE_RATE)


def tone(n: int, random: Generator) -> Samples:
    return swept(np.full(n, random.uniform(200, 2_000)))


def chirp_up(n: int, random: Generator) -> Samples:
    low = random.uniform(150, 700)
    return swept(np.geomspace(low, low * random.uniform(3, 6), n))


def chirp_down(n: int, random: Generator) -> Samples:
    return chirp_up(n, random)[::-1]


def siren(n: int, random: Generator) -> Samples:
    """Frequency goes up and down."""
    middle, rate = random.uniform(500, 1_200), random.uniform(2.5, 6)
    return swept(middle * 2 ** (0.6 * np.sin(2 * np.pi * rate * clock(n) + random.uniform(0, 6))))


def tremolo(n: int, random: Generator) -> Samples:
    """Level goes up and down."""
    return tone(n, random) * (0.5 + 0.5 * np.sin(2 * np.pi * random.uniform(5, 14) * clock(n)))


def bell(n: int, random: Generator) -> Samples:
    """Inharmonic partials that decay, the high ones first."""
    base, decay = random.uniform(300, 900), random.uniform(4, 9)
    ratios = (1.0, 2.76, 5.40, 8.93)  # of a free bar's modes; Rossing, "Science of Percussion Instruments", 2000
    return sum(np.exp(-decay * ratio**0.5 * clock(n)) * swept(np.full(n, base * ratio)) / ratio**0.5 for ratio in ratios)


def clicks(n: int, random: Generator) -> Samples:
    """Short knocks at equal intervals."""
    sound = np.zeros(n)
    length = SAMPLE_RATE // 100
    knock = random.normal(size=length) * np.exp(-np.arange(length) / (length / 5))
    for start in range(0, n - length, int(SAMPLE_RATE / random.uniform(6, 20))):
        sound[start : start + length] += knock
    return sound


def noise(n: int, random: Generator) -> Samples:
    return random.normal(size=n)


def wind(n: int, random: Generator) -> Samples:
    """Low noise whose level goes up and down."""
    spectrum = np.fft.rfft(random.normal(size=n))
    spectrum /= np.maximum(np.fft.rfftfreq(n, 1 / SAMPLE_RATE), 60)  # -6 dB per octave above 60 Hz
    return np.fft.irfft(spectrum, n) * (1 + 0.8 * np.sin(2 * np.pi * random.uniform(0.8, 2) * clock(n)))


def buzz(n: int, random: Generator) -> Samples:
    """A low square wave, rich in odd harmonics."""
    return np.sign(swept(np.full(n, random.uniform(60, 160))))


KINDS = {
    kind.__name__: kind for kind in (tone, chirp_up, chirp_down, siren, tremolo, bell, clicks, noise, wind, buzz)
}  # fmt: skip


def clip(kind: str, seed: int, seconds: float = SECONDS) -> bytes:
    """A 16-bit WAV file: 0.6 to 1 second of that kind, at a random position in `seconds` of background noise."""
    random = np.random.default_rng([seed, *kind.encode()])
    whole = round(SAMPLE_RATE * seconds)
    n = int(SAMPLE_RATE * SECONDS * random.uniform(0.6, 1.0))
    sound = KINDS[kind](n, random)
    ramp = np.minimum(1, np.minimum(np.arange(n), np.arange(n)[::-1]) / (SAMPLE_RATE // 100))  # 10 ms: no click
    sound = ramp * sound / (np.std(sound) + 1e-9)
    mixed = np.zeros(whole)
    start = random.integers(0, whole - n + 1)
    mixed[start : start + n] = sound
    mixed += 10 ** (-random.uniform(6, 30) / 20) * random.normal(size=whole)  # background noise, 6 to 30 dB below
    level = 10 ** (-random.uniform(3, 30) / 20)
    file = io.BytesIO()
    soundfile.write(file, level * mixed / np.abs(mixed).max(), SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()
