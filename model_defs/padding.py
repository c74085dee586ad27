"""Sequences of different lengths in one tensor, padded to the longest, in batches of similar lengths.

The cost of a padded batch grows with its longest sequence. Without the batches of similar lengths, one long text would make
every text in its batch as expensive as itself.
"""

from collections.abc import Callable

from torch import Tensor, nn

from model_defs.transform import Transform

FACTOR = 2  # in a bucket, the longest sequence is at most so many times as long as the shortest; see docs/decisions.md
SHORT = 32  # sequences up to this length share a bucket: padding them costs less than another run of the network


class PaddedTransform(Transform):
    """The base of transforms whose samples are (n,) token ids, and whose networks take them padded."""

    def outputs(self, network: Callable[[tuple[Tensor, ...]], Tensor], samples: list[Tensor]) -> list[Tensor]:
        """One output per sample. The network runs once per bucket of similar lengths."""
        given: dict[int, Tensor] = {}
        for indices in buckets([len(sample) for sample in samples]):
            found = network(self.collate([samples[index] for index in indices])).unbind()
            given |= zip(indices, found, strict=True)
        return [given[index] for index in range(len(samples))]


def buckets(lengths: list[int]) -> list[list[int]]:
    """The indices of the sequences that share a run of the network, short sequences first."""
    groups: list[list[int]] = []
    shortest = 0
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        length = max(lengths[index], SHORT)
        if not groups or length > FACTOR * shortest:
            groups.append([])
            shortest = length
        groups[-1].append(index)
    return groups


def padded(samples: list[Tensor], value: int = 0) -> Tensor:
    """(n,) int64 of different lengths -> (B, longest), with `value` after the end of the shorter ones."""
    return nn.utils.rnn.pad_sequence(samples, batch_first=True, padding_value=value)
