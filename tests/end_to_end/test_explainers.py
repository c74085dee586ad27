"""Explanations have workers of their own: who is sent where, and that predictions do not wait."""

import base64
import json
import threading
import time
from pathlib import Path

import pytest
import requests

from archive.build import build
from serving import server
from serving.registry import Registry
from serving.state import StateDir
from tests.bundle import Bundle, settings_for
from tests.other_clients import ask

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


def kserve(explained, path: str, body: dict, **options) -> requests.Response:
    url = f"{explained.client.server.inference}{path}"
    return requests.post(url, json=body, headers=explained.client.token("inference"), timeout=30, **options)


def instances(payload: bytes, **parameters) -> dict:
    return {"instances": [{"b64": base64.b64encode(payload).decode()}], "parameters": parameters}


def tensor(payload: bytes) -> dict:
    data = [base64.b64encode(payload).decode()]
    return {"inputs": [{"name": "inputs", "datatype": "BYTES", "shape": [1], "data": data}]}


@pytest.mark.parametrize("path", ["/v1/models/digits:explain", "/v2/models/digits/explain"])
def test_kserves_addresses_send_on_every_body_that_they_take(explained, payload, path):
    for body in (instances(payload), tensor(payload), {"inputs": base64.b64encode(payload).decode()}):
        sent_on = kserve(explained, path, body, allow_redirects=False)
        assert sent_on.status_code == 307 and sent_on.headers["Location"] == "/v1/models/digits.explain:explain"
        assert "explanations are at /v1/models/digits.explain:explain" in sent_on.json()["error"]
        answer = kserve(explained, path, body)
        assert answer.status_code == 200 and answer.history and "heatmap" in answer.text
    refused = kserve(explained, path, instances(payload, top_k=1))
    assert refused.status_code == 422 and refused.history and "top_k" in refused.json()["error"]


def test_kserves_own_client_does_not_follow_so_it_asks_for_the_workers_that_explain(explained):
    samples = explained.artifacts / "digits" / "samples"
    picture = samples / explained.samples("digits")[0][0]["file"]
    found = ask("ask_kserve_explain.py", explained.client.server.inference, explained.key, picture)
    status, message = found["model"]
    assert status == 307 and "explanations are at /v1/models/digits.explain:explain" in message
    assert found["explainer"]["explanations"][0]["heatmap"] and found["httpx"] == found["explainer"]


def in_a_form(explained, payload: bytes) -> requests.Response:
    return explained.post("digits", "explanations", files={"data": payload}, data=LONG)


def as_an_instance(explained, payload: bytes) -> requests.Response:
    return kserve(explained, "/v1/models/digits:explain", instances(payload, **json.loads(LONG["parameters"])))


@pytest.mark.parametrize("asked", [in_a_form, as_an_instance])
def test_a_prediction_does_not_wait_for_an_explanation(explained, payload, asked):
    took: list[float] = []

    def explain() -> None:
        start = time.monotonic()
        assert asked(explained, payload).status_code == 200
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
