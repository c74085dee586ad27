"""One bad request of a batch gets its own 4xx, and its neighbours do not notice. Real server, real files, one batch."""

import io
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from threading import Barrier

import pytest
from PIL import Image

from tests.bundle import differ

pytestmark = pytest.mark.server
BATCH = 8

# For each model: how a good body becomes the bad one, the status, and words of the reason.
BAD = {
    "digits": (lambda good: good[: len(good) // 2], 400, "not a picture: the PNG ends after"),
    "sounds": (lambda good: good[:30], 400, "not a sound"),
    "intents": (lambda good: b"  \n ", 422, "the text is empty"),
}


def in_one_batch(bundle, model: str, asks: list) -> list:
    """Send requests at once until they are in one batch, which the delay of these archives makes likely; their answers."""
    start, before = Barrier(len(asks)), bundle.full_batches(model, BATCH)

    def send(ask):
        start.wait()
        return ask()

    for _ in range(10):
        with ThreadPoolExecutor(len(asks)) as clients:
            answers = list(clients.map(send, asks))
        if bundle.full_batches(model, BATCH) > before:
            return answers
    return pytest.fail(f"the requests were never in one batch of {BATCH}")


@pytest.mark.parametrize("model", BAD)
def test_seven_good_and_one_bad_at_once_in_one_batch(bundle, model):
    spoil, status, reason = BAD[model]
    samples = bundle.samples(model)
    good = [samples[index % len(samples)] for index in range(BATCH - 1)]
    bodies = [payload for _, payload in good[:3]] + [spoil(good[0][1])] + [payload for _, payload in good[3:]]
    answers = in_one_batch(bundle, model, [partial(bundle.predict, model, body) for body in bodies])
    bad = answers.pop(3)
    assert bad.status_code == status and reason in bad.json()["message"], bad.text
    assert bad.json()["code"] == status
    for (sample, _), answer in zip(good, answers, strict=True):
        assert answer.status_code == 200, answer.text
        assert answer.json()[0]["label"] == sample["answer"][0]["label"]
        assert answer.json()[0]["score"] == pytest.approx(sample["answer"][0]["score"], abs=1e-3)


def explanation(bundle, payload: bytes, **parameters):
    return partial(bundle.post, "digits", "explanations", files={"data": payload}, data=parameters)


def test_eight_explanations_of_one_batch_are_those_of_each_alone(bundle):
    samples = bundle.samples("digits")
    payloads = [samples[index % len(samples)][1] for index in range(BATCH)]
    targets = [str(index % 10) for index in range(BATCH)]
    asks = [explanation(bundle, payload, target=target) for payload, target in zip(payloads, targets, strict=True)]
    for ask, answer, target in zip(asks, in_one_batch(bundle, "digits", asks), targets, strict=True):
        assert answer.status_code == 200 and answer.json()["target"] == target, answer.text
        assert not differ(answer.json(), ask().json())


def huge(side: int = 20_000) -> bytes:
    """A PNG of some 50 KB that unpacks to 400 million pixels."""
    file = io.BytesIO()
    Image.new("1", (side, side)).save(file, "PNG")
    return file.getvalue()


def test_explanations_predictions_and_bad_requests_of_one_batch_are_each_answered_alone(bundle):
    (sample, payload), *_ = bundle.samples("digits")
    label = sample["answer"][0]["label"]
    cases = [
        (explanation(bundle, payload), 200, '"heatmap"'),
        (partial(bundle.predict, "digits", payload), 200, f'"{label}"'),
        (explanation(bundle, payload, method="deeplift"), 422, "deep_lift"),
        (explanation(bundle, payload, method="deep_lift", steps="8"), 422, "steps means nothing to deep_lift"),
        (explanation(bundle, huge()), 413, "pixels"),
        (explanation(bundle, payload[: len(payload) // 2]), 400, "not a picture"),
        (partial(bundle.predict, "digits", b"x"), 400, "not a picture"),
        (explanation(bundle, payload, target="7", show="true"), 200, '"picture"'),
    ]
    for (_, status, said), answer in zip(cases, in_one_batch(bundle, "digits", [ask for ask, *_ in cases]), strict=True):
        assert answer.status_code == status and said in answer.text, answer.text


def test_a_text_too_long_to_explain_is_refused_next_to_its_prediction(bundle):
    long, short = b"wake me " * 400, b"wake me at seven"
    bodies, asked = [long] * 4 + [short] * 4, [bundle.predict, bundle.explain] * 4
    answers = in_one_batch(bundle, "intents", [partial(ask, "intents", body) for ask, body in zip(asked, bodies, strict=True)])
    assert [answer.status_code for answer in answers] == [200, 413, 200, 413] + [200] * 4
    assert "800 words; an explanation takes 500 at most" in answers[1].json()["message"]
    assert answers[5].json()["words"] and answers[4].json()[0]["label"] == answers[5].json()["label"]


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
