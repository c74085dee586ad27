"""Batches of indices, for one process or for several that train together; an epoch can be resumed in its middle.

No example comes twice in an epoch, not even in two processes.
"""

from collections.abc import Iterator
from math import ceil
from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler


class ResumableBatchSampler(Sampler[list[int]]):
    """The batches of one process, as lists of indices.

    With a `seed`, for training: a new order each epoch. Every process gets the same number of full batches. Examples that do not
    fill a batch in every process are left out of that epoch. Without a `seed`, for validation and test: all examples in order.

    Args:
        count: examples.
        size: examples per batch and process.
        seed: of the orders.
        rank: index of this process.
        world: number of processes.

    Raises:
        ValueError: fewer examples than processes.
    """

    def __init__(self, count: int, size: int, seed: int | None = None, rank: int = 0, world: int = 1):
        if count < world:
            raise ValueError(f"{count} examples for {world} processes")
        self.count, self.seed, self.rank, self.world = count, seed, rank, world
        self.size = min(size, count // world) if seed is not None else size
        self.epoch = 0
        self.resume_at = (0, 0)  # an epoch, and the number of its batches that are already done

    @property
    def sampler(self) -> "ResumableBatchSampler":
        """Lightning looks for `set_epoch` here."""
        return self

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        if self.seed is not None:
            return self.count // (self.size * self.world)
        return ceil(ceil(self.count / self.world) / self.size)

    @property
    def start(self) -> int:
        """Index of the first batch of this epoch that is not yet done."""
        epoch, batches = self.resume_at
        return batches if epoch == self.epoch else 0

    def __iter__(self) -> Iterator[list[int]]:
        yield from (self.shuffled_batches() if self.seed is not None else self.ordered_batches())[self.start :]

    def shuffled_batches(self) -> list[list[int]]:
        order, step = self.order(), self.size * self.world
        starts = range(self.rank * self.size, len(self) * step, step)
        return [order[start : start + self.size] for start in starts]

    def ordered_batches(self) -> list[list[int]]:
        # The processes wait for each other at every batch, so each has the same number of batches, and none is empty.
        mine = torch.arange(self.rank, self.count, self.world)
        return [part.tolist() for part in mine.tensor_split(len(self))]

    def order(self) -> list[int]:
        """This epoch's order: the one that a `DataLoader(shuffle=True)` with a generator of this seed would use.

        The orders are draws from one generator, so those of the earlier epochs are drawn again. For 100,000 examples that takes
        under 1 ms per earlier epoch.
        """
        generator = torch.Generator().manual_seed(self.seed)
        for _ in range(self.epoch + 1):
            torch.empty((), dtype=torch.int64).random_(generator=generator)  # DataLoader draws a seed for its workers first
            order = torch.randperm(self.count, generator=generator)
        return order.tolist()


class ResumableLoader(DataLoader):
    """A DataLoader over `ResumableBatchSampler`. Lightning saves and restores its position in the epoch."""

    batches_done = 0  # of this epoch

    def __iter__(self) -> Iterator[Any]:
        # This must be a generator: Lightning sets the epoch after `iter()` and before the first `next()`.
        self.batches_done = self.batch_sampler.start
        for batch in super().__iter__():
            self.batches_done += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.batch_sampler.epoch, "batches": self.batches_done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.batch_sampler.resume_at = state["epoch"], state["batches"]
