import pytest

from bench.candidates import Candidate, layouts, networks, refinements
from handlers.runtimes import RUNTIMES

ONE = Candidate("eager", "fp32", False)


@pytest.mark.parametrize("has_gpu", [False, True])
def test_each_network_is_one_that_its_runtime_supports(has_gpu):
    for one in networks(has_gpu):
        assert one.precision in RUNTIMES[one.runtime].precisions
        assert RUNTIMES[one.runtime].lays_out_channels_last or not one.channels_last


def test_two_cores_give_three_layouts():
    assert [(one.workers, one.threads) for one in layouts(ONE, cores=2)] == [(1, 2), (2, 1), (2, 2)]


def test_the_number_of_workers_doubles_up_to_one_per_core():
    assert {(one.workers, one.threads) for one in layouts(ONE, cores=8)} >= {(1, 8), (2, 4), (4, 2), (8, 1)}


def test_a_refinement_changes_one_setting():
    for one in refinements(ONE, cores=2):
        changed = [name for name in one.__struct_fields__ if getattr(one, name) != getattr(ONE, name)]
        assert len(changed) == 1
