"""Whether explanations say what the network does: deletion and insertion, infidelity, sensitivity, and random weights.

Everything is measured in the units of a `Subject`: pixels, words, columns, stretches, or times and pitches.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from handlers.base import Handler
from handlers.explain.views import Parts

STEPS = 16  # of a curve
PERTURBED = 12  # random perturbations per sample, for infidelity and for sensitivity
RADIUS = 0.02  # of the input's range, for sensitivity
SEED = 0


class Curves(NamedTuple):
    """The score while units disappear, the strongest first, and while they appear. Each has STEPS + 1 points.

    The mean over a curve is the deletion score (lower is better) or the insertion score (higher is better), as in RISE
    (arXiv 1806.07421).
    """

    deletion: np.ndarray
    insertion: np.ndarray


def curves(units: Parts, weights: Tensor) -> Curves:
    """
    Args:
        weights: of `units.shape`. What raises the score most goes, or comes, first.
    """
    order = weights.flatten().argsort(descending=True)
    masks = torch.ones(2 * (STEPS + 1), weights.numel())
    for step in range(STEPS + 1):
        first = order[: round(step * weights.numel() / STEPS)]
        masks[step, first] = 0
        masks[STEPS + 1 + step] = 0
        masks[STEPS + 1 + step, first] = 1
    with torch.no_grad():
        scores = units.score(masks.view(-1, *units.shape)).numpy()
    return Curves(scores[: STEPS + 1], scores[STEPS + 1 :])


def random_weights(shape: tuple[int, ...], index: int) -> Tensor:
    """A map that says nothing: the one that every method must beat."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(SEED + index))


def infidelity(units: Parts, weights: Tensor) -> float:
    """How badly the weights predict the score without a random half of the units (arXiv 1901.09392), by Captum.

    The weights are scaled by the best factor. 1 is as good as knowing nothing, 0 is exact.
    """
    from captum.metrics import infidelity as captum

    torch.manual_seed(SEED)
    changes: list[Tensor] = []

    def perturb(inputs: Tensor, baselines: object = None) -> tuple[Tensor, Tensor]:
        removed = coarse(len(inputs), units.shape)
        changes.append(removed)
        return removed, inputs - removed

    whole = units.whole()
    with torch.no_grad():
        missed = captum(
            units.score,
            perturb,
            whole,
            weights[None],
            n_perturb_samples=PERTURBED,
            max_examples_per_batch=PERTURBED,
            normalize=True,
        )
        removed = torch.cat(changes)[:PERTURBED]
        fall = units.score(whole) - units.score(whole - removed)
    return float(missed) / max(float(fall.square().mean()), 1e-12)


def coarse(count: int, shape: tuple[int, ...]) -> Tensor:
    """(count, *shape) of ones and zeros; in a grid, neighbours go together."""
    if len(shape) == 1:
        return (torch.rand(count, *shape) < 0.5).float()
    cells = [min(8, side) for side in shape]
    grid = (torch.rand(count, 1, *cells) < 0.5).float()
    return torch.nn.functional.interpolate(grid, shape, mode="nearest")[:, 0]


def sensitivity(sample: Tensor, explained: Callable[[Tensor], Tensor]) -> float:
    """How much the map changes if the input changes a little, as a share of the map (arXiv 1901.09392), by Captum."""
    from captum.metrics import sensitivity_max

    torch.manual_seed(SEED)
    spread = float(sample.max() - sample.min())

    def maps(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (torch.stack([explained(one) for one in inputs[0]]),)

    found = sensitivity_max(
        maps, (sample[None].float(),), perturb_radius=RADIUS * spread, n_perturb_samples=3, max_examples_per_batch=3
    )
    return float(found)


@contextmanager
def randomised(handler: Handler) -> Iterator[None]:
    """The handler's eager network with other random weights (arXiv 1810.03292)."""
    trained = handler.eager
    torch.manual_seed(SEED)
    other = copy.deepcopy(trained)
    for parameter in other.parameters():
        shuffled = parameter.data.flatten()[torch.randperm(parameter.numel())].view_as(parameter)
        parameter.data = shuffled
    handler.__dict__["eager"] = other
    try:
        yield
    finally:
        handler.__dict__["eager"] = trained


def rank_correlation(one: Tensor, other: Tensor) -> float:
    """Spearman's correlation of the strengths of two maps."""
    ranks = [values.flatten().abs().argsort().argsort().double() for values in (one, other)]
    found = float(torch.corrcoef(torch.stack(ranks))[0, 1])
    return 0.0 if np.isnan(found) else found
