"""train/data/sampler.py: which process gets which example when."""

import pytest
import torch
from torch.utils.data import DataLoader

from train.data.sampler import ResumableBatchSampler, ResumableLoader


def test_one_process_gets_the_examples_in_a_data_loader_s_order():
    usual = DataLoader(range(50), 8, shuffle=True, drop_last=True, generator=torch.Generator().manual_seed(3))
    ours = ResumableBatchSampler(50, 8, seed=3)
    for epoch in range(3):
        ours.set_epoch(epoch)
        theirs = iter(usual)
        assert [next(theirs).tolist() for _ in range(len(usual))] == list(ours)


@pytest.mark.parametrize(("count", "size", "world"), [(48, 4, 3), (50, 4, 3), (7, 16, 2), (64, 8, 1)])
def test_in_an_epoch_of_several_processes_no_example_comes_twice(count, size, world):
    shares = [list(ResumableBatchSampler(count, size, 0, rank, world)) for rank in range(world)]
    indices = [index for share in shares for batch in share for index in batch]
    assert len(indices) == len(set(indices)) > count - size * world
    assert len({(len(share), *map(len, share)) for share in shares}) == 1
    assert all(len(ResumableBatchSampler(count, size, 0, rank, world)) == len(share) for rank, share in enumerate(shares))


def test_several_processes_make_the_larger_batches_of_one():
    shares = [list(ResumableBatchSampler(48, 4, 0, rank, 2)) for rank in range(2)]
    assert [one + other for one, other in zip(*shares, strict=True)] == list(ResumableBatchSampler(48, 8, 0))


@pytest.mark.parametrize("count", [7, 8, 9, 31, 32, 33])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_in_validation_each_example_comes_once_in_equally_many_batches(count, world):
    shares = [list(ResumableBatchSampler(count, 4, None, rank, world)) for rank in range(world)]
    assert sorted(index for share in shares for batch in share for index in batch) == list(range(count))
    assert {len(share) for share in shares} == {len(ResumableBatchSampler(count, 4, None, 0, world))}
    assert all(0 < len(batch) <= 4 for share in shares for batch in share)


def test_fewer_examples_than_processes_are_refused():
    with pytest.raises(ValueError, match="1 examples for 2 processes"):
        ResumableBatchSampler(1, 4, None, 0, 2)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_loader_resumes_after_the_batches_that_were_done(num_workers):
    def loader():
        return ResumableLoader(range(40), batch_sampler=ResumableBatchSampler(40, 4, seed=1), num_workers=num_workers)

    first = loader()
    first.batch_sampler.set_epoch(2)
    batches = iter(first)
    before = [next(batches).tolist() for _ in range(3)]
    second = loader()
    second.load_state_dict(first.state_dict())
    second.batch_sampler.set_epoch(2)
    after = [batch.tolist() for batch in second]
    whole = ResumableBatchSampler(40, 4, seed=1)
    whole.set_epoch(2)
    assert before + after == list(whole) and len(second) == 10
    second.batch_sampler.set_epoch(3)
    assert len(list(second)) == 10
