"""Explanations of sounds: time and pitch, over all windows."""

import io
import itertools

import numpy as np
import pytest
import soundfile
import torch

from handlers.base import load
from tests.conftest import wav
from tests.handlers.explain.asking import good, is_additive, opened, refused, signed

SECTION = {"class_path": "handlers.audio.AudioClassifier", "threads": 1}


@pytest.fixture
def sounds(sound_artifact):
    return load(sound_artifact, SECTION)


@pytest.fixture
def long_sounds(long_sound_artifact):
    return load(long_sound_artifact, SECTION)


@pytest.mark.parametrize(
    "method", [None, "integrated_gradients", "deep_lift", "grad_cam", "occlusion", "kernel_shap", "gradient_shap"]
)
def test_a_sound_is_explained_in_time_and_pitch(sounds, method):
    answer = good(sounds, wav(0), show=True, **({"method": method} if method else {}))
    moments, bands = answer["moments"], answer["bands"]
    assert (moments[0]["start"], moments[-1]["end"]) == (0, 1) and bands[0]["low"] == 0 and bands[-1]["high"] == 4000
    assert all(one["end"] == other["start"] for one, other in itertools.pairwise(moments))
    assert signed(answer).ndim == 2 and opened(answer["picture"]).height == 256
    if answer["error"] is not None and answer["error"] < 0.05:
        for entries in (moments, bands):
            assert is_additive(answer, [one["weight"] for one in entries], within=0.05)


@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion", pytest.param("kernel_shap", marks=pytest.mark.slow)])
def test_all_windows_of_a_long_sound_are_explained(long_sounds, method):
    answer = good(long_sounds, wav(0, length=12_000), method=method)
    assert answer["moments"][-1]["end"] == 1.5
    assert sum(one["weight"] != 0 for one in answer["moments"]) > 15


def test_the_map_finds_the_pitch_that_counts(sounds, monkeypatch):
    """A network that hears how loud the band around 1 kHz is, in a sound of two tones."""
    seconds = np.arange(8_000) / 8_000
    sound = 0.3 * np.sin(2 * np.pi * 1_000 * seconds) + 0.3 * np.sin(2 * np.pi * 3_000 * seconds)
    file = io.BytesIO()
    soundfile.write(file, sound, 8_000, format="WAV")
    handler = sounds
    power = handler.eager.log_mel

    def heard(waveform):
        spectrum = power.power(waveform)  # (B, frequencies, frames)
        bins = spectrum.shape[1]
        middle = spectrum[:, int(0.2 * bins) : int(0.3 * bins)].mean((1, 2)).add(1e-3).log()
        return torch.stack([middle, 0 * middle, 0 * middle], dim=1)

    monkeypatch.setattr(handler.eager, "forward", heard)
    answer = good(handler, file.getvalue(), method="kernel_shap", target=0, samples=400)
    best = max(answer["bands"], key=lambda band: band["weight"])
    assert best["low"] <= 1_000 <= best["high"]


def test_a_sound_has_one_baseline(sounds):
    assert "'silence'" in refused(sounds, wav(0), baseline="noise")
    assert "timeline" in refused(sounds, wav(0), timeline=True)
