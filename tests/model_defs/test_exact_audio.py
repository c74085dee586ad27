"""Sounds as other people's scripts read them: whole, mono, at their own length and scale."""

import numpy as np
import pytest
import soxr
import torch

from model_defs.errors import TooLarge, Unreadable, WrongValue
from model_defs.exact_audio import SHORTEST, WaveformTransform
from tests.sounds import sound_file

RATE = 8_000
random = np.random.default_rng(0)


def noise(frames: int, channels: int = 1) -> np.ndarray:
    samples = random.uniform(-0.5, 0.5, (frames, channels)).astype(np.float32)
    return samples[:, 0] if channels == 1 else samples


def test_a_float_file_is_heard_whole_and_keeps_its_scale():
    samples = 3 * noise(5_000)  # beyond 1, as some float files are
    heard = WaveformTransform(RATE)(sound_file(samples, RATE, subtype="FLOAT"))
    assert heard.dtype == torch.float32 and np.array_equal(heard.numpy(), samples)


def test_channels_become_their_mean():
    samples = noise(4_000, channels=2)
    heard = WaveformTransform(RATE)(sound_file(samples, RATE, subtype="FLOAT"))
    assert np.allclose(heard.numpy(), samples.mean(axis=1), atol=1e-7)


def test_another_rate_is_resampled_as_soxr_does():
    samples = noise(6_000)
    heard = WaveformTransform(RATE)(sound_file(samples, 2 * RATE, subtype="FLOAT"))
    assert np.allclose(heard.numpy(), soxr.resample(samples, 2 * RATE, RATE), atol=1e-7) and len(heard) == 3_000


def test_a_length_in_seconds_cuts_the_end_or_fills_it_with_silence():
    samples = noise(5_000)
    reads = WaveformTransform(RATE, seconds=0.5)
    assert np.array_equal(reads(sound_file(samples, RATE, subtype="FLOAT")).numpy(), samples[:4_000])
    short = reads(sound_file(samples[:1_000], RATE, subtype="FLOAT"))
    assert len(short) == 4_000 and np.array_equal(short[:1_000].numpy(), samples[:1_000]) and not short[1_000:].any()


def test_a_very_short_sound_is_filled_so_that_convolutions_fit():
    assert len(WaveformTransform(RATE)(sound_file(noise(10), RATE))) == SHORTEST


def test_what_is_no_sound_or_too_long_is_refused():
    reads = WaveformTransform(RATE, max_seconds=1)
    with pytest.raises(TooLarge, match="more than 1 s of sound"):
        reads(sound_file(noise(9_000), RATE))
    with pytest.raises(Unreadable):
        reads(b"no sound")
    with pytest.raises(WrongValue):
        reads(sound_file(np.full(1_000, np.nan, dtype=np.float32), RATE, subtype="FLOAT"))


def test_the_network_runs_once_per_length_and_nothing_is_padded():
    reads, shapes = WaveformTransform(RATE), []

    def network(inputs):
        shapes.append(tuple(inputs[0].shape))
        return inputs[0].mean(1, keepdim=True)

    samples = [torch.full((length,), float(number)) for number, length in enumerate((500, 700, 500))]
    assert [float(output) for output in reads.outputs(network, samples)] == [0, 1, 2]
    assert sorted(shapes) == [(1, 700), (2, 500)]


def test_a_sound_can_be_drawn_and_says_its_rate():
    reads = WaveformTransform(RATE)
    assert reads.facts() == {"sample_rate": RATE} and reads.draw(torch.rand(8_000)).ndim == 2
