"""What a method of explanation is: what it needs, which parameters it takes, what it costs, and what it finds."""

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from handlers.explain.views import Dense, Parts

BOUND = 0.05  # of the score's change: how far the attributions of a method that promises completeness may miss it
SMALL = 0.05  # of the larger score: a change of the score below this counts as this much
SEED = 0  # of all sampling, so that the same request gets the same answer


class Options(NamedTuple):
    """A request's choices for a method. None is the method's own."""

    steps: int | None = None
    samples: int | None = None
    noise: float | None = None
    over: str | None = None
    layer: str | None = None


class Method:
    """The base of all methods. A subclass says what it is, as data, and calls Captum.

    Args:
        takes: the parameters that have a meaning for it, in addition to target, baseline and show.
        needs: what it works on: "gradients", "layer", "background" or "forwards".
        is_complete: whether its attributions promise to add up to the score's change from the baseline.
        is_additive: whether the sum of its attributions means anything.
        suits: for people, in a few words.
    """

    takes: tuple[str, ...] = ()
    needs = "gradients"
    is_complete = False
    is_additive = True
    suits = ""

    def passes(self, options: Options, parts: int) -> float:
        """The cost in forward passes of the network. A backward pass counts as two.

        Args:
            parts: how many parts the sample has.
        """
        raise NotImplementedError

    def attribute(self, view: Dense | Parts, options: Options) -> Tensor:
        """Attributions of the view's shape; of the layer's output, if the method needs a layer.

        Raises:
            Unsuitable: the network, or the sample, does not suit the method.
        """
        raise NotImplementedError


class Unsuitable(Exception):
    """This network, or this sample, does not suit the method. The message says why."""


class Found(NamedTuple):
    """What a method found.

    Args:
        name: of the method.
        method: itself.
        values: the attributions.
        score, baseline: the target's score by the eager network, and the score of the input that says nothing.
        error: by what share of the score's change the attributions miss it; None if their sum means nothing.
    """

    name: str
    method: Method
    values: Tensor
    score: float
    baseline: float
    error: float | None

    def is_exact(self) -> bool:
        return not self.method.is_complete or (self.error is not None and self.error <= BOUND)


def find(name: str, method: Method, view: Dense | Parts, options: Options) -> Found:
    """Run a method. For the error see `Method.attribute`."""
    with seeded(), with_gradients(view), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Captum tells of each hook that it sets
        values = method.attribute(view, options).detach().float().cpu()
    with torch.no_grad():
        score, baseline = (float(scores.mean()) for scores in ends(view, method))
    error = completeness_error(float(values.double().sum()), score, baseline) if method.is_additive else None
    return Found(name, method, values, score, baseline, error)


@contextmanager
def seeded() -> Iterator[None]:
    """Captum samples by torch and by numpy. Both go on afterwards as if nothing had been sampled."""
    state = np.random.get_state()
    with torch.random.fork_rng(range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []):
        torch.manual_seed(SEED)
        np.random.seed(SEED)
        try:
            yield
        finally:
            np.random.set_state(state)


def with_gradients(view: Dense | Parts) -> AbstractContextManager:
    """cuDNN's recurrent layers have no gradients in evaluation mode; torch's own have."""
    is_recurrent = isinstance(view, Dense) and any(isinstance(layer, nn.RNNBase) for layer in view.network.modules())
    return torch.backends.cudnn.flags(enabled=False) if is_recurrent else nullcontext()


def ends(view: Dense | Parts, method: Method) -> tuple[Tensor, Tensor]:
    """The scores of the whole input, and of the one that says nothing."""
    if isinstance(view, Parts):
        whole = view.whole()
        both = view.score(torch.cat([whole, torch.zeros_like(whole)]))
        return both[:1], both[1:]
    baseline = view.backgrounds if method.needs == "background" else view.baseline
    return view.network(view.inputs), view.network(baseline)


def completeness_error(total: float, score: float, baseline: float) -> float:
    """By what share of the score's change the attributions miss it.

    Source: the axiom of completeness in "Axiomatic Attribution for Deep Networks" (arXiv 1703.01365).
    """
    change = max(abs(score - baseline), SMALL * max(abs(score), abs(baseline)), 1e-12)
    return abs(total - (score - baseline)) / change


def rounded(value: Any) -> float:
    """A number for an answer, of six digits."""
    return float(f"{float(value):.6g}")
