import pytest

from bench.candidates import Candidate, layouts, networks, refinements
from handlers import runtimes

ONE = Candidate("eager", "fp32", False)


@pytest.mark.parametrize("has_gpu", [False, True])
def test_each_network_is_one_that_its_runtime_has(has_gpu):
    for one in networks(has_gpu):
        runtime = runtimes.find(one.runtime)
        assert one.precision in runtime.precisions and ("cuda" if has_gpu else "cpu") in runtime.devices
        assert runtime.lays_out_channels_last or not one.channels_last


def test_every_runtime_is_tried_where_it_may_be_the_fastest():
    on_cpu, on_gpu = ({(one.runtime, one.precision) for one in networks(has_gpu)} for has_gpu in (False, True))
    assert {name for name, _ in on_cpu} == {*runtimes.names()} - {"compile"}  # it takes minutes to start
    assert ("openvino", "int8") in on_cpu and not any(precision == "fp16" for _, precision in on_cpu)
    assert ("compile", "fp16") in on_gpu and {name for name, precision in on_gpu if precision == "fp32"} == {"eager"}


def test_two_cores_are_one_worker_of_both_or_two_of_one_or_of_both():
    assert [(one.workers, one.threads) for one in layouts(ONE, cores=2)] == [(1, 2), (2, 1), (2, 2)]


def test_many_cores_are_halved_down_to_a_worker_each():
    assert {(one.workers, one.threads) for one in layouts(ONE, cores=8)} >= {(1, 8), (2, 4), (4, 2), (8, 1)}


def test_a_refinement_changes_one_thing():
    for one in refinements(ONE, cores=2):
        changed = [name for name in one.__struct_fields__ if getattr(one, name) != getattr(ONE, name)]
        assert len(changed) == 1
