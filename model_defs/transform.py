"""What every transform is: from the bytes of one input to a sample, and from samples to the network's inputs.

The same object stands before the network in training and in serving. It knows nothing of labels, HTTP or augmentation.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor


class Transform:
    """One input's bytes -> sample; samples -> the tensors that the network's `forward` takes.

    What a transform learned from training data (a vocabulary) is kept as plain files beside the weights: `save`, `load`.
    """

    def __call__(self, payload: bytes) -> Any:
        """Decode one input.

        Raises:
            InputError: the payload cannot be used; the message is for whoever sent it.
        """
        raise NotImplementedError

    def collate(self, samples: list) -> tuple[Tensor, ...]:
        """Samples -> the positional arguments of the network's `forward`, the batch first."""
        return (torch.stack(samples),)

    def outputs(self, network: Callable[[tuple[Tensor, ...]], Tensor], samples: list) -> list[Tensor]:
        """One output a sample, in training as in serving. Here the network is run once, on all of them together.

        Args:
            network: of what `collate` gives.
        """
        return list(network(self.collate(samples)).unbind())

    def facts(self) -> dict[str, Any]:
        """What the network must know of its input, by the name of its parameter: `channels`, `vocab_size`."""
        return {}

    def draw(self, sample: Any) -> np.ndarray | None:
        """A sample as a picture for people, (height, width) or (height, width, 3); None where there is nothing to see."""
        return None

    def save(self, folder: Path) -> None:
        """Write what was learned from training data as plain files into `folder`."""

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""
