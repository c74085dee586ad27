"""The base of all transforms: from the bytes of one input to a sample, and from samples to the network's inputs.

Training and serving use the same transform.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor


class Transform:
    """One input's bytes -> sample; samples -> the tensors that the network's `forward` takes.

    What a transform learns from the training data, such as a vocabulary, is kept in plain files next to the weights: see `save`
    and `load`.

    `parameters` names those of a request's parameters that the transform itself takes, as keyword arguments. Each has a default,
    with which training and the samples are computed.
    """

    parameters: tuple[str, ...] = ()

    def __call__(self, payload: bytes) -> Any:
        """Decode one input.

        Raises:
            InputError: the payload cannot be used. The caller gets the message.
        """
        raise NotImplementedError

    def collate(self, samples: list) -> tuple[Tensor, ...]:
        """Samples -> the positional arguments of the network's `forward`. The first axis is the batch."""
        return (torch.stack(samples),)

    def outputs(self, network: Callable[[tuple[Tensor, ...]], Tensor], samples: list) -> list[Tensor]:
        """Run the network on the samples, in training and in serving: one output per sample.

        This one runs it once, on all samples together.

        Args:
            network: takes what `collate` returns.
        """
        return list(network(self.collate(samples)).unbind())

    def facts(self) -> dict[str, Any]:
        """Arguments of the network that only the data can say, by parameter name: `channels`, `vocab_size`."""
        return {}

    def schema(self) -> dict[str, Any]:
        """The JSON schema of one input, for transforms of JSON; {} takes everything."""
        return {}

    def draw(self, sample: Any) -> np.ndarray | None:
        """A sample as a picture for people, (height, width) or (height, width, 3); None if there is nothing to see."""
        return None

    def save(self, folder: Path) -> None:
        """Write what the transform learned into `folder`, as plain files."""

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""


def by_shape(network: Callable, samples: list[Tensor], collate: Callable[[list], tuple[Tensor, ...]]) -> list[Tensor]:
    """One output per sample. The network runs once per shape, so nothing is padded and no answer depends on its neighbours."""
    groups: dict[torch.Size, list[int]] = {}
    for index, sample in enumerate(samples):
        groups.setdefault(sample.shape, []).append(index)
    given: dict[int, Tensor] = {}
    for indices in groups.values():
        given |= zip(indices, network(collate([samples[index] for index in indices])).unbind(), strict=True)
    return [given[index] for index in range(len(samples))]
