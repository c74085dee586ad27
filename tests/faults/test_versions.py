"""Versions and numbers of workers change under load, and no caller notices."""

from collections import Counter

import pytest

from archive.build import build
from serving.registry import Registry
from tests.faults.steady_load import CALLERS, SteadyLoad

pytestmark = [pytest.mark.server, pytest.mark.slow]
MODEL = "intents"


@pytest.fixture(scope="module")
def registry(production, tmp_path_factory):
    """Of the production server, whose store also has version 2.0 of the model."""
    recipe = tmp_path_factory.mktemp("recipe") / f"{MODEL}.yaml"
    recipe.write_bytes((production.store.parent / f"{MODEL}.yaml").read_bytes())
    build(production.artifacts / MODEL, recipe, production.store, "2.0")
    registry = Registry(production.home)
    yield registry
    registry.promote(MODEL, "1.0")


def test_callers_do_not_notice_a_promotion(production, registry, trials, report):
    promotions = 2 * trials
    with SteadyLoad(production, MODEL) as load:
        for index in range(promotions):
            registry.promote(MODEL, "1.0" if index % 2 else "2.0")
    report.add("promote under load", promotions, load, note=load.latency_text())
    assert load.lost_bare() == load.lost_through_client() == Counter()
    assert len(production.client.describe(MODEL)) == 1  # the other version has ended


def test_callers_with_the_client_do_not_notice_that_workers_come_and_go(production, registry, trials, report):
    """TorchServe kills the worker that it removes, with the batch that it holds. The client asks again."""
    with SteadyLoad(production, MODEL) as load:
        for _ in range(trials):
            production.client.scale(MODEL, 2)
            production.client.scale(MODEL, 1)
    report.add("scale to 2 workers and back to 1", trials, load, note=load.latency_text())
    assert load.lost_through_client() == Counter()
    assert sum(load.lost_bare().values()) <= CALLERS * trials
