"""Which examples meet when: batches of places in a split, for one process or for one of several that learn together.

No example is given twice in an epoch, also not to two processes. Knows nothing of what lies at a place.
"""

from collections.abc import Iterator
from math import ceil
from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler


class ResumableBatchSampler(Sampler[list[int]]):
    """The batches of one process, as lists of places.

    To learn from (`seed`), in another order each epoch, every process as many whole batches as the others; what does not fill
    one on each of them waits for another epoch. To measure with (no `seed`), in order, none left out.

    Args:
        count: of the places.
        size: of a batch on one process.
        seed: of the orders.
        rank: the number of this process.
        world: how many there are.
    """

    def __init__(self, count: int, size: int, seed: int | None = None, rank: int = 0, world: int = 1):
        if count < world:
            raise ValueError(f"{count} examples for {world} processes")
        self.count, self.seed, self.rank, self.world = count, seed, rank, world
        self.size = min(size, count // world) if seed is not None else size
        self.epoch = 0
        self.done = (0, 0)  # an epoch, and how many of its batches need not come again

    @property
    def sampler(self) -> "ResumableBatchSampler":
        """Where Lightning looks for `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        if self.seed is not None:
            return self.count // (self.size * self.world)
        return ceil(ceil(self.count / self.world) / self.size)

    @property
    def start(self) -> int:
        """The number of the first batch that is still to come in this epoch."""
        epoch, batches = self.done
        return batches if epoch == self.epoch else 0

    def __iter__(self) -> Iterator[list[int]]:
        yield from (self.to_learn_from() if self.seed is not None else self.to_measure_with())[self.start :]

    def to_learn_from(self) -> list[list[int]]:
        order, step = self.order(), self.size * self.world
        starts = range(self.rank * self.size, len(self) * step, step)
        return [order[start : start + self.size] for start in starts]

    def to_measure_with(self) -> list[list[int]]:
        # As many batches on each process, none of them empty: the processes wait for each other at every batch.
        mine = torch.arange(self.rank, self.count, self.world)
        return [part.tolist() for part in mine.tensor_split(len(self))]

    def order(self) -> list[int]:
        generator = torch.Generator().manual_seed(self.seed)
        for _ in range(self.epoch + 1):
            torch.empty((), dtype=torch.int64).random_(generator=generator)  # DataLoader's own draw: its orders, then
            order = torch.randperm(self.count, generator=generator)
        return order.tolist()


class ResumableLoader(DataLoader):
    """A DataLoader over `ResumableBatchSampler` that goes on within an epoch: `state_dict` and `load_state_dict`, which Lightning calls."""

    done = 0  # batches of this epoch that were handed out

    def __iter__(self) -> Iterator[Any]:
        # Nothing before the first `next`: only then does Lightning say which epoch it is.
        self.done = self.batch_sampler.start
        for batch in super().__iter__():
            self.done += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.batch_sampler.epoch, "batches": self.done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.batch_sampler.done = state["epoch"], state["batches"]
