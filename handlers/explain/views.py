"""What a method of explanation works on: the sample as numbers with gradients, or as parts that can be left out."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

PER_RUN = 16  # inputs per run of the network


class Scored(nn.Module):
    """A network and the number that is explained: (N, ...) inputs -> (N,) scores."""

    def __init__(self, network: nn.Module, score: Callable[[Tensor], Tensor]):
        super().__init__()
        self.network, self.score = network, score

    def forward(self, inputs: Tensor) -> Tensor:
        return self.score(self.network(inputs))


class Rest(nn.Module):
    """What a network does after its first step, the look-up of embeddings or the spectrogram, which has no useful gradients.

    Such a network has two methods more: `embed(*inputs)` and `from_embedded(embedded, *the other inputs)`. Together they are its
    `forward`. Of any other network this is all of it.

    Args:
        rest: the network's inputs after the first, of one sample. They are repeated for each row.
    """

    def __init__(self, network: nn.Module, rest: Sequence[Tensor] = ()):
        super().__init__()
        self.network, self.rest = network, rest

    def forward(self, embedded: Tensor) -> Tensor:
        call = getattr(self.network, "from_embedded", self.network)
        return call(embedded, *(one.expand(embedded.shape[0], *one.shape[1:]) for one in self.rest))


class Dense(NamedTuple):
    """A sample as numbers.

    Args:
        network: (N, ...) float inputs -> (N,) scores, with gradients.
        inputs: (windows, ...). The sample's score is the mean over its windows.
        baseline: (1, ...): an input that says nothing.
        backgrounds: (M, ...) training inputs; empty if the archive has none.
    """

    network: Scored
    inputs: Tensor
    baseline: Tensor
    backgrounds: Tensor


class Parts(NamedTuple):
    """A sample as parts that can be left out.

    Args:
        score: (N, *shape) of ones and zeros, which parts stay -> (N,) scores.
        shape: (parts,), or (rows, columns) of a grid.
    """

    score: Callable[[Tensor], Tensor]
    shape: tuple[int, ...]

    def whole(self) -> Tensor:
        return torch.ones(1, *self.shape)


def in_runs(score: Callable[[Tensor], Tensor], per_run: int = PER_RUN) -> Callable[[Tensor], Tensor]:
    """The same function, which sees at most `per_run` rows at a time."""

    def scores(rows: Tensor) -> Tensor:
        return torch.cat([score(some) for some in rows.split(per_run)])

    return scores


def part_scores(
    outputs: Callable[[list], Sequence[Tensor]], score: Callable[[Tensor], Tensor], kept: Callable[[list[bool]], object]
) -> Callable[[Tensor], Tensor]:
    """The function `Parts.score` of a sample whose parts are in a list.

    Args:
        outputs: samples -> the network's output for each.
        score: (windows, ...) outputs -> (windows,) scores.
        kept: which parts stay -> the sample without the others.
    """

    def scores(masks: Tensor) -> Tensor:
        samples = [kept(mask) for mask in masks.flatten(1).bool().tolist()]
        return torch.stack([score(output).mean() for output in outputs(samples)]).float().cpu()

    return in_runs(scores)
