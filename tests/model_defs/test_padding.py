import pytest
import torch
from torch import nn

from model_defs.padding import PaddedTransform, buckets, padded
from model_defs.text import NgramTransform


class Longest(PaddedTransform):
    """Its network returns the padded length of each row, and records the shape of each run."""

    def __init__(self):
        self.runs = []

    def collate(self, samples):
        return (padded(samples),)

    def network(self, inputs):
        self.runs.append(tuple(inputs[0].shape))
        return torch.full((len(inputs[0]), 1), inputs[0].shape[1])


@pytest.mark.parametrize(
    ("lengths", "groups"),
    [
        ([], []),
        ([9], [[0]]),
        ([1, 64, 20, 32], [[0, 2, 3, 1]]),
        ([1, 65, 20], [[0, 2], [1]]),
        ([500, 16, 16, 16, 16, 16, 16, 16], [[1, 2, 3, 4, 5, 6, 7], [0]]),
        ([300, 100, 150, 250, 210], [[1, 2], [4, 3, 0]]),
    ],
)
def test_lengths_within_a_factor_of_two_share_a_run(lengths, groups):
    assert buckets(lengths) == groups


def test_short_texts_are_not_padded_to_the_length_of_a_long_one():
    transform = Longest()
    samples = [torch.ones(length, dtype=torch.int64) for length in (9, 12, 500, 7, 30, 9, 9, 9)]
    outputs = transform.outputs(transform.network, samples)
    assert transform.runs == [(7, 30), (1, 500)]
    assert [int(output) for output in outputs] == [30, 30, 500, 30, 30, 30, 30, 30]  # in the samples' order


def test_other_transforms_run_the_network_once():
    runs = []

    def network(inputs):
        runs.append(inputs)
        return nn.functional.one_hot(torch.arange(len(inputs[1])))

    samples = [torch.tensor([1] * length) for length in (1, 500)]
    assert [output.tolist() for output in NgramTransform().outputs(network, samples)] == [[1, 0], [0, 1]] and len(runs) == 1
