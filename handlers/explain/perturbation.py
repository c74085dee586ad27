"""Methods that leave out parts, one or a few neighbours at a time. They need forward passes only."""

import math

import torch
from torch import Tensor

from handlers.explain.method import Method, Options
from handlers.explain.views import PER_RUN, Parts


class FeatureAblation(Method):
    """How much the score falls without a part."""

    needs = "forwards"
    suits = "every model; parts that stand for each other get too little"

    def passes(self, options: Options, parts: int) -> float:
        return parts + 1

    def attribute(self, view: Parts, options: Options) -> Tensor:
        from captum.attr import FeatureAblation as Captum

        with torch.no_grad():
            return Captum(view.score).attribute(view.whole(), perturbations_per_eval=PER_RUN)[0]


class Occlusion(Method):
    """How much the score falls without a window of neighbouring parts (arXiv 1311.2901)."""

    needs = "forwards"
    suits = "pictures and spectrograms, whose neighbours belong together"
    window = 2  # parts, along each axis

    def passes(self, options: Options, parts: int) -> float:
        return parts + 1

    def attribute(self, view: Parts, options: Options) -> Tensor:
        from captum.attr import Occlusion as Captum

        window = tuple(min(self.window, size) for size in view.shape)
        with torch.no_grad():
            values = Captum(view.score).attribute(view.whole(), sliding_window_shapes=window, perturbations_per_eval=PER_RUN)
        return values[0] / math.prod(window)
