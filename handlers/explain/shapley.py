"""Shapley values of the parts: exact, by random orders, or by a weighted regression. Their sum is the score's change."""

import math

import torch
from torch import Tensor

from handlers.explain.method import Method, Options
from handlers.explain.views import PER_RUN, Parts, in_runs

EXACT = 10  # parts at most
ORDERS = 16  # random orders of the parts


class ShapleyValues(Method):
    """Exact for ten parts and fewer; beyond that the mean over random orders (Strumbelj and Kononenko, JMLR 11, 2010)."""

    takes = ("samples",)
    needs = "forwards"
    is_complete = True
    suits = "tables and short texts: additive and fair"

    def passes(self, options: Options, parts: int) -> float:
        return 2**parts if parts <= EXACT and not options.samples else (options.samples or ORDERS) * parts

    def attribute(self, view: Parts, options: Options) -> Tensor:
        from captum.attr import ShapleyValueSampling as Captum

        with torch.no_grad():
            if math.prod(view.shape) <= EXACT and not options.samples:
                return exact(view)
            return Captum(view.score).attribute(
                view.whole(), n_samples=options.samples or ORDERS, perturbations_per_eval=PER_RUN
            )[0]


def exact(view: Parts) -> Tensor:
    """The Shapley values from the scores of all subsets of the parts: 2 ** parts of them.

    Captum's `ShapleyValues` goes through all orders, which are many times more: 3,628,800 instead of 1,024 for ten parts.
    """
    count = math.prod(view.shape)
    masks = torch.arange(2**count)
    kept = (masks[:, None] >> torch.arange(count)) & 1  # (2 ** count, count)
    scores = in_runs(view.score, 4 * PER_RUN)(kept.float().view(-1, *view.shape)).double()
    size = kept.sum(1)
    weights = torch.tensor([1 / (count * math.comb(count - 1, each)) for each in range(count)], dtype=torch.float64)
    values = []
    for part in range(count):
        without = masks[kept[:, part] == 0]
        values.append((weights[size[without]] * (scores[without | (1 << part)] - scores[without])).sum())
    return torch.stack(values).view(view.shape)


class KernelShap(Method):
    """Shapley values by a regression on random subsets of the parts (arXiv 1705.07874)."""

    takes = ("samples",)
    needs = "forwards"
    is_complete = True
    suits = "many parts at a fixed cost"

    def passes(self, options: Options, parts: int) -> float:
        return options.samples or default_samples(parts)

    def attribute(self, view: Parts, options: Options) -> Tensor:
        from captum.attr import KernelShap as Captum

        count = math.prod(view.shape)
        if count == 1:
            return exact(view)
        kernel = Captum(view.score)
        kernel.interpretable_model = LinearFit()  # Captum's own needs scikit-learn, which serving does not have
        with torch.no_grad():
            samples = options.samples or default_samples(count)
            return kernel.attribute(view.whole(), n_samples=samples, perturbations_per_eval=PER_RUN)[0]


def default_samples(parts: int) -> int:
    """As many subsets as a stable fit needs, and the two ends."""
    return 2 + max(32, 8 * parts)


class LinearFit:
    """A weighted least squares fit in the form that Captum expects of a model."""

    def fit(self, data) -> None:
        (subsets, scores, weights) = (torch.cat(column).double() for column in zip(*data, strict=True))
        scale = weights.flatten().sqrt()[:, None]
        design = torch.cat([subsets.flatten(1), torch.ones(len(subsets), 1, dtype=torch.float64)], dim=1)
        found = torch.linalg.lstsq(scale * design, scale * scores.view(-1, 1), driver="gelsd").solution
        self.weights = found[:-1, 0].float()

    def representation(self) -> Tensor:
        return self.weights
