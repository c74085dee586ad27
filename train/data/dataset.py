"""Batches for training: decoded samples with their targets, by index."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from model_defs.transform import Transform
from train.data.example import Example
from train.targets import Targets


class SampleDataset(Dataset):
    """index -> (sample, target). The sample is decoded and, in training, augmented."""

    def __init__(self, examples: list[Example], cached: list | None, transform: Transform, targets: Targets):
        self.examples, self.cached, self.transform, self.targets = examples, cached, transform, targets

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> tuple:
        example = self.examples[index]
        sample = self.cached[index] if self.cached else self.transform(example.read())
        return self.targets(sample, example.truth)


def collate(transform: Transform, targets: Targets, pairs: Sequence[tuple]) -> tuple[tuple[Tensor, ...], Any]:
    """(sample, target) pairs -> the network's inputs and the batch's targets.

    This is a function of the module, because data workers that are spawned must be able to import it.
    """
    samples, found = zip(*pairs, strict=True)
    return transform.collate(list(samples)), targets.collate(list(found))
