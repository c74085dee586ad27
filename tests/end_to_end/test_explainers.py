"""Explanations have workers of their own: who is sent where, and that predictions do not wait."""

import json
import threading
import time
from pathlib import Path

import pytest

from archive.build import build
from serving import server
from serving.registry import Registry
from serving.state import StateDir
from tests.bundle import Bundle, settings_for

pytestmark = [pytest.mark.slow, pytest.mark.server]
LONG = {"parameters": json.dumps({"method": "shapley_values", "samples": 300})}  # some 20,000 passes: seconds


@pytest.fixture(scope="module")
def explained(artifacts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("explainers")
    build(artifacts / "digits", Path("archive/recipes/digits.yaml"), folder / "store")
    home = StateDir(folder / ".torchserve")
    server.start(home, overrides=[*settings_for(folder / "store"), "explanation_workers=true"])
    try:
        Registry(home).host("digits", "1.0")
        yield Bundle(home, artifacts, folder / "store")
    finally:
        server.stop(home)


@pytest.fixture
def payload(explained) -> bytes:
    return explained.samples("digits")[0][1]


def test_a_caller_is_sent_to_the_workers_that_explain(explained, payload):
    sent_on = explained.post("digits", "explanations", data=payload, allow_redirects=False)
    assert sent_on.status_code == 307 and sent_on.headers["Location"] == "/explanations/digits.explain/1.0"
    assert sent_on.json()["code"] == 307 and "-L" in sent_on.json()["message"]
    answer = explained.post("digits", "explanations", data=payload)
    assert answer.status_code == 200 and answer.json()["heatmap"] and answer.history
    assert explained.predict("digits", payload).json()[0]["label"] == answer.json()["label"]


def test_a_prediction_does_not_wait_for_an_explanation(explained, payload):
    took: list[float] = []

    def explain() -> None:
        start = time.monotonic()
        assert explained.post("digits", "explanations", files={"data": payload}, data=LONG).status_code == 200
        took.append(time.monotonic() - start)

    asking = threading.Thread(target=explain)
    asking.start()
    time.sleep(0.3)
    waits = []
    while asking.is_alive():
        start = time.monotonic()
        assert explained.predict("digits", payload).status_code == 200
        waits.append(time.monotonic() - start)
    asking.join()
    assert took and took[0] > 1 and len(waits) > 10
    assert max(waits) < took[0] / 4


def test_the_second_entry_is_hidden_from_who_counts_models_and_ends_with_the_first(explained, payload):
    client, home = explained.client, explained.home
    assert [*client.names()] == ["digits"] and sorted(client.entries()) == ["digits", "digits.explain"]
    assert len(client.describe("digits.explain")[0]["workers"]) == 1
    assert home.explained.read_text() == "digits\n"
    Registry(home).drop("digits", "1.0")
    assert [*client.entries()] == [] and home.explained.read_text() == ""
    Registry(home).host("digits", "1.0")
    assert explained.post("digits", "explanations", data=payload).status_code == 200


def test_a_form_follows_too(explained, payload):
    answer = explained.post("digits", "explanations", files={"data": payload}, data={"show": "true", "target": "7"})
    assert answer.status_code == 200 and answer.json()["target"] == "7" and answer.json()["picture"]
