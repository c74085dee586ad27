"""One bad request of a batch gets its own 4xx, and its neighbours do not notice. Real server, real files, one batch."""

from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from threading import Barrier

import pytest

pytestmark = pytest.mark.server
BATCH = 8

# For each model: how a good body becomes the bad one, the status, and words of the reason.
BAD = {
    "digits": (lambda good: good[: len(good) // 2], 400, "not a picture: the PNG ends after"),
    "sounds": (lambda good: good[:30], 400, "not a sound"),
    "intents": (lambda good: b"  \n ", 422, "the text is empty"),
}


@pytest.mark.parametrize("model", BAD)
def test_seven_good_and_one_bad_at_once_in_one_batch(bundle, model):
    spoil, status, reason = BAD[model]
    samples = bundle.samples(model)
    good = [samples[index % len(samples)] for index in range(BATCH - 1)]
    bodies = [payload for _, payload in good[:3]] + [spoil(good[0][1])] + [payload for _, payload in good[3:]]
    start = Barrier(BATCH)
    batches_before = bundle.full_batches(model, BATCH)

    def send(body: bytes):
        start.wait()
        return bundle.predict(model, body)

    for _ in range(10):  # until the eight are in one batch; the delay of these archives makes that likely
        with ThreadPoolExecutor(BATCH) as clients:
            answers = list(clients.map(send, bodies))
        bad = answers.pop(3)
        assert bad.status_code == status and reason in bad.json()["message"], bad.text
        assert bad.json()["code"] == status
        for (sample, _), answer in zip(good, answers, strict=True):
            assert answer.status_code == 200, answer.text
            assert answer.json()[0]["label"] == sample["answer"][0]["label"]
            assert answer.json()[0]["score"] == pytest.approx(sample["answer"][0]["score"], abs=1e-3)
        if bundle.full_batches(model, BATCH) > batches_before:
            return
    pytest.fail(f"the eight requests were never in one batch of {BATCH}")


def test_predictions_and_explanations_share_a_batch_and_do_not_mix(bundle):
    (sample, payload), *_ = bundle.samples("digits")
    start = Barrier(BATCH)

    def send(index: int):
        start.wait()
        return (bundle.explain if index % 2 else bundle.predict)("digits", payload)

    with ThreadPoolExecutor(BATCH) as clients:
        answers = list(clients.map(send, range(BATCH)))
    assert all(answer.status_code == 200 for answer in answers)
    assert all(answer.json()[0]["label"] == sample["answer"][0]["label"] for answer in answers[::2])
    assert all(answer.json()["label"] == sample["answer"][0]["label"] and answer.json()["heatmap"] for answer in answers[1::2])


def test_a_describe_header_changes_nothing(bundle):
    """With TorchServe's own base handler this header fails the whole batch."""
    (sample, payload), *_ = bundle.samples("digits")
    answer = bundle.predict("digits", payload, {"describe": "True"})
    assert answer.status_code == 200 and answer.json()[0]["label"] == sample["answer"][0]["label"]


FORGED = "x\r\n[METRICS]Forged.Count:1|#Level:Host|#hostname:here,1\r\n[PID]1\r\nSet-Cookie: forged=1\r\n\r\n☃"


@pytest.mark.parametrize(
    ("status", "sent"),
    [
        (200, {"json": {"inputs": FORGED}}),
        (422, {"json": {FORGED: "x"}}),
        (422, {"json": {"inputs": "x", "parameters": {FORGED: 1}}}),
        (422, {"json": {"inputs": "x", "parameters": {"top_k": FORGED}}}),
        (415, {"data": FORGED.encode(), "headers": {"Content-Type": "application/x-www-form-urlencoded"}}),
        (422, {"files": {"data": b"  "}, "data": {FORGED: FORGED}}),
    ],
    ids=["a text", "a key", "a parameter's name", "a parameter's value", "a form without fields", "a form"],
)
def test_a_callers_text_stays_out_of_status_headers_metrics_and_pid(bundle, status, sent):
    """TorchServe obeys some lines of a worker's output, and a line break in a reason phrase or a header ends the worker."""
    worker = bundle.client.describe("intents")[0]["workers"][0]["pid"]
    read_from = bundle.home.workers_log.stat().st_size
    answer = bundle.post("intents", **sent)
    assert answer.status_code == status and answer.reason == HTTPStatus(status).phrase
    assert "forged" not in str(answer.headers).lower() and "Forged" not in bundle.client.metrics()
    assert bundle.client.describe("intents")[0]["workers"][0]["pid"] == worker
    said = [line.partition(" - ")[2] for line in bundle.home.workers_log.read_bytes()[read_from:].decode().splitlines()]
    assert not [line for line in said if line.startswith(("[METRICS]", "[PID]"))]
