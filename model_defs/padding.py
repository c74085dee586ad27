"""Sequences of different lengths as one tensor: padded to the longest, beside none but those of about their own length.

What a network does grows with the padded length, so that one long text would make each of its neighbours as dear as itself.
Knows nothing of what the numbers mean.
"""

from collections.abc import Callable

from torch import Tensor, nn

from model_defs.transform import Transform

FACTOR = 2  # how much longer than the shortest the longest of a bucket may be; see docs/decisions.md
SHORT = 32  # up to here all are alike: another run of the network would cost more than the padding


class PaddedTransform(Transform):
    """The base of transforms whose samples are (n,) numbers, and whose networks take them padded."""

    def outputs(self, network: Callable[[tuple[Tensor, ...]], Tensor], samples: list[Tensor]) -> list[Tensor]:
        """One output a sample; the network is run once for each bucket of lengths."""
        given: dict[int, Tensor] = {}
        for places in buckets([len(sample) for sample in samples]):
            found = network(self.collate([samples[place] for place in places])).unbind()
            given |= zip(places, found, strict=True)
        return [given[place] for place in range(len(samples))]


def buckets(lengths: list[int]) -> list[list[int]]:
    """The places of sequences that share a run of the network, the short ones first."""
    groups: list[list[int]] = []
    least = 0
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        length = max(lengths[place], SHORT)
        if not groups or length > FACTOR * least:
            groups.append([])
            least = length
        groups[-1].append(place)
    return groups


def padded(samples: list[Tensor], number: int = 0) -> Tensor:
    """(n,) int64 of different lengths -> (B, longest), `number` behind the shorter ones."""
    return nn.utils.rnn.pad_sequence(samples, batch_first=True, padding_value=number)
