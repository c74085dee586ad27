"""Versions and numbers of workers change under load, and no caller notices."""

from collections import Counter

import pytest

from archive.build import build
from serving.registry import Registry
from tests.faults.steady import Steady

pytestmark = [pytest.mark.server, pytest.mark.alone]
MODEL = "intents"


@pytest.fixture(scope="module")
def hosting(production, tmp_path_factory):
    recipe = tmp_path_factory.mktemp("recipe") / f"{MODEL}.yaml"
    recipe.write_bytes((production.store.parent / f"{MODEL}.yaml").read_bytes())
    build(production.artifacts / MODEL, recipe, production.store, "2.0")
    hosting = Registry(production.home)
    yield hosting
    hosting.promote(MODEL, "1.0")


def test_versions_change_under_load_and_every_caller_is_answered_rightly(production, hosting, trials, tell):
    swaps = 2 * trials
    with Steady(production, MODEL) as load:
        for swap in range(swaps):
            hosting.promote(MODEL, "1.0" if swap % 2 else "2.0")
    tell("promote under load", swaps, load, note=load.latencies())
    assert load.lost_bare() == load.lost_through_client() == Counter()
    assert len(production.client.describe(MODEL)) == 1  # the other one has ended


def test_workers_come_and_go_under_load(production, hosting, trials, tell):
    """TorchServe kills the worker that it takes away, with the batch that it holds: the client asks again."""
    with Steady(production, MODEL) as load:
        for _ in range(trials):
            production.client.scale(MODEL, 2)
            production.client.scale(MODEL, 1)
    tell("scale to 2 workers and back to 1", trials, load, note=load.latencies())
    assert load.lost_through_client() == Counter()
    assert sum(load.lost_bare().values()) <= 4 * trials
