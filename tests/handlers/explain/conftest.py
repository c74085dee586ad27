"""Small games and networks whose attributions are known."""

import pytest
import torch
from torch import nn

from handlers.explain.method import Options, find
from handlers.explain.methods import METHODS
from handlers.explain.views import Dense, Parts, Rest, Scored


class LeftOrRight(nn.Module):
    """Two logits: how bright the left half of a picture is, and the right."""

    def forward(self, pixels):
        halves = pixels.float().div(255).unflatten(3, (2, -1))  # (B, C, H, 2, W / 2)
        return 8 * halves.mean(dim=(1, 2, 4))


def dense(network: nn.Module, inputs: torch.Tensor, score, backgrounds: int = 4) -> Dense:
    torch.manual_seed(1)
    others = torch.rand(backgrounds, *inputs.shape[1:])
    return Dense(Scored(Rest(network.eval()), score), inputs, torch.zeros_like(inputs[:1]), others)


@pytest.fixture
def run():
    """Run a method by its name."""

    def run(name: str, view: Dense | Parts, **options):
        return find(name, METHODS[name], view, Options(**options))

    return run


@pytest.fixture
def game():
    """Four parts, of which two only count together."""

    def score(masks):
        a, b, c, d = masks.flatten(1).unbind(1)
        return 1 + 2 * a + 3 * b * c - d

    return Parts(score, (4,))
