"""Explanations of sounds: a map of time and pitch over all windows."""

import itertools
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from handlers.explain import render
from handlers.explain.method import Found, rounded
from handlers.explain.subject import Subject, stacked
from handlers.explain.views import Dense, Parts, Rest, Scored, in_runs
from model_defs.errors import WrongValue

MOMENTS, BANDS = 20, 8  # parts of a sound: along time, along pitch
PER_RUN = 8  # sounds per run of the network
FOURIER = 512  # samples of a window of the transform that leaves out parts
BASELINES = ("silence",)


class SoundSubject(Subject):
    """A label of a sound. The map has low pitch at the bottom and spans what the network hears."""

    usual: ClassVar[tuple[str, ...]] = ("deep_lift", "integrated_gradients", "occlusion")

    def windows(self, sample: Tensor) -> Tensor:
        """(windows, ...) of a sample: the network's input for each window."""
        if getattr(self.transform, "windows", 1) == 1:
            return self.transform.collate([sample])[0].to(self.handler.device)
        length = self.transform.length
        return torch.stack([sample[start : start + length] for start in self.transform.starts(sample)]).to(self.handler.device)

    def embedded(self, inputs: Tensor) -> Tensor:
        """A network with a spectrogram inside is explained from there on."""
        if not hasattr(self.eager, "embed"):
            return inputs
        with torch.no_grad():
            return self.eager.embed(inputs)

    def dense(self) -> Dense:
        inputs = self.windows(self.sample)
        silence = torch.zeros_like(self.sample[: self.transform.length] if hasattr(self.transform, "length") else self.sample)
        baseline = self.embedded(self.transform.collate([silence])[0].to(inputs.device))
        samples = self.background_samples()
        found = [self.embedded(self.transform.collate([sample])[0].to(inputs.device))[0] for sample in samples]
        return Dense(Scored(Rest(self.eager), self.score), self.embedded(inputs), baseline, stacked(found, baseline[0]))

    def parts(self) -> Parts:
        window = torch.hann_window(FOURIER)
        spectrum = torch.stft(self.sample, FOURIER, FOURIER // 4, window=window, return_complex=True)  # (frequencies, frames)
        edges = self.edges(spectrum.shape[0])
        moments = min(MOMENTS, spectrum.shape[1])

        def score(masks: Tensor) -> Tensor:
            times = interpolate(masks.flip(1), (spectrum.shape[1],), mode="nearest")  # low pitch first, (N, bands, frames)
            kept = torch.zeros(len(masks), *spectrum.shape)
            for band, (low, high) in enumerate(itertools.pairwise(edges)):
                kept[:, low:high] = times[:, band : band + 1]
            sounds = torch.istft(spectrum * kept, FOURIER, FOURIER // 4, window=window, length=len(self.sample))
            return torch.stack([self.score(output).mean() for output in self.outputs(list(sounds))]).float().cpu()

        return Parts(in_runs(score, PER_RUN), (len(edges) - 1, moments))

    def edges(self, frequencies: int) -> list[int]:
        """The bands' edges as indices of the frequencies, equally wide in mel."""
        hertz = self.hertz(np.linspace(0, 1, BANDS + 1))
        return sorted({round(2 * edge / self.transform.sample_rate * (frequencies - 1)) for edge in hertz[:-1]} | {frequencies})

    def hertz(self, shares: np.ndarray) -> np.ndarray:
        """Shares of the mel scale up to half the sample rate -> Hz."""
        top = 2595 * np.log10(1 + self.transform.sample_rate / 2 / 700)
        return 700 * (10 ** (shares * top / 2595) - 1)

    def unit_weights(self, found: Found) -> Tensor:
        values, shape = torch.from_numpy(self.time_map(found).copy()), self.parts().shape
        return adaptive_avg_pool2d(values[None], shape)[0] * (values.numel() / (shape[0] * shape[1]))

    def time_map(self, found: Found) -> np.ndarray:
        """(pitch or 1, time) of the whole sound that is heard, with low pitch in the last row."""
        values = found.values
        if found.method.needs == "forwards":
            return values.numpy()
        if found.method.needs == "layer":
            if values.dim() != 4:
                raise WrongValue(f"layer: its output, {tuple(values.shape)}, has no pitch and time; name a convolution")
            return self.joined(values.sum(1).flip(1))
        if values.dim() == 2:  # (windows, samples)
            return self.joined(pooled(values))
        if values.dim() == 3:  # (1, time, features)
            return values[0].T.flip(0).numpy()
        return self.joined(values.sum(1).flip(1))

    def joined(self, windows: Tensor) -> np.ndarray:
        """(windows, pitch, time) -> (pitch, time): each window added at its place."""
        if len(windows) == 1:
            return windows[0].numpy()
        per_sample = windows.shape[2] / self.transform.length
        starts = [round(start * per_sample) for start in self.transform.starts(self.sample)]
        whole = torch.zeros(windows.shape[1], starts[-1] + windows.shape[2])
        for start, values in zip(starts, windows, strict=True):
            whole[:, start : start + windows.shape[2]] += values
        return whole.numpy()

    def fields(self, found: Found) -> dict:
        """`moments` and `bands`: the weights of times in seconds and of pitches in Hz; `heatmap` and `scale` of both together."""
        values = self.time_map(found)
        seconds = len(self.sample) / self.transform.sample_rate
        times, moments = sums(values.sum(0), MOMENTS)
        answer = {
            "moments": [
                {"start": round(start * seconds, 4), "end": round(end * seconds, 4), "weight": rounded(weight)}
                for start, end, weight in zip(times[:-1], times[1:], moments, strict=True)
            ]
        }
        if len(values) > 1:
            pitches, bands = sums(values[::-1].sum(1), BANDS)
            edges = self.hertz(np.array(pitches))
            answer["bands"] = [
                {"low": round(low), "high": round(high), "weight": rounded(weight)}
                for low, high, weight in zip(edges[:-1], edges[1:], bands, strict=True)
            ]
        return answer | render.heatmap(values)

    def picture(self, found: Found) -> dict:
        """`picture`: a PNG of the spectrogram with the map over it."""
        drawn = self.transform.draw(self.sample)
        low, high = drawn.min(), drawn.max()
        grey = Image.fromarray((255 * (drawn - low) / (high - low + 1e-9)).astype(np.uint8))
        grey = grey.resize((max(480, min(960, grey.width)), 256), Image.Resampling.BILINEAR)
        return {"picture": render.as_png(render.overlay(grey, self.time_map(found), (0, 0, *grey.size)))}


def pooled(values: Tensor) -> Tensor:
    """(windows, samples) -> (windows, 1, frames): the sums over 10 frames per moment."""
    frames = 10 * MOMENTS
    places = torch.arange(values.shape[1]) * frames // values.shape[1]
    return torch.zeros(len(values), frames).index_add_(1, places, values)[:, None]


def sums(values: np.ndarray, most: int) -> tuple[list[float], list[float]]:
    """The edges of at most so many equal runs of the values, as shares of them all, and the sum over each run."""
    count = min(most, len(values))
    edges = [round(index * len(values) / count) for index in range(count + 1)]
    totals = [float(values[start:end].sum()) for start, end in itertools.pairwise(edges)]
    return [edge / len(values) for edge in edges], totals
