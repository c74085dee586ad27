"""Every body form and answer shape of the wire, sent to a real server."""

import base64
import contextlib

import pytest
import requests

from tests.bundle import differ

pytestmark = pytest.mark.server
BINARY = ("digits", "sounds")
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("model", [*BINARY, "intents"])
def test_raw_bytes_are_answered_best_first(bundle, model):
    sample, payload = bundle.samples(model)[0]
    answer = bundle.predict(model, payload)
    scores = [entry["score"] for entry in answer.json()]
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()[0]["label"] == sample["answer"][0]["label"]
    assert len(scores) == 5 and scores == sorted(scores, reverse=True) and sum(scores) <= 1.0001


def test_a_phones_apostrophe_gives_the_same_answer_as_a_keyboards(bundle):
    typed, from_a_phone = (bundle.predict("intents", text.encode()).json() for text in ("don't forget milk", "don’t forget milk"))
    assert not differ(typed, from_a_phone)


@pytest.mark.parametrize("model", BINARY)
def test_base64_in_json_is_answered_like_the_bytes(bundle, model):
    _, payload = bundle.samples(model)[1]
    body = {"inputs": base64.b64encode(payload).decode(), "parameters": {"top_k": 3}}
    assert not differ(bundle.post(model, json=body).json(), bundle.predict(model, payload).json()[:3])


@pytest.mark.parametrize("field", ["data", "body", "inputs"])
@pytest.mark.parametrize("model", [*BINARY, "intents"])
def test_a_form_is_answered_like_the_bytes(bundle, model, field):
    """The payload arrives byte for byte, and the form's other fields are parameters."""
    _, payload = bundle.samples(model)[0]
    answer = bundle.post(model, files={field: ("file", payload)}, data={"top_k": "2"})
    assert not differ(answer.json(), bundle.predict(model, payload).json()[:2]), answer.text


def test_text_may_be_plain_json_or_any_unicode(bundle):
    text = "wake me at seven tomorrow"
    plain = bundle.post("intents", data=text.encode(), headers={"Content-Type": "text/plain; charset=utf-8"})
    assert not differ(plain.json(), bundle.post("intents", json={"inputs": text}).json())
    odd = bundle.post("intents", json={"inputs": "🕖 réveille-moi à sept heures, 早上 \u202e wake me"})
    assert odd.status_code == 200 and len(odd.json()) == 5


def test_top_k_beyond_the_labels_gives_them_all(bundle):
    assert len(bundle.post("intents", json={"inputs": "hello", "parameters": {"top_k": 1000}}).json()) == 10


@pytest.mark.parametrize(
    ("model", "body", "headers", "status", "said"),
    [
        ("digits", b"", {}, 400, "empty"),
        ("digits", b"no picture", {}, 400, "not a picture"),
        ("digits", b"some text", {"Content-Type": "text/plain"}, 415, "takes a picture"),
        ("digits", b'{"inputs": "!!"}', JSON, 400, "base64"),
        ("digits", b'{"inputs": 3}', JSON, 422, "'inputs' is a number"),
        ("digits", b"[1, 2]", JSON, 422, "a list"),
        ("digits", b'{"input": "x"}', JSON, 422, "inputs"),
        ("digits", b"{", JSON, 400, "not JSON"),
        ("digits", b"[" * 100_000, JSON, 400, "not JSON"),
        ("sounds", b"RIFF0000WAVE", {}, 400, "not a sound"),
        ("intents", b"\xff\xfe", {"Content-Type": "application/octet-stream"}, 400, "byte 0 is 0xff"),
        ("intents", b"wake me", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "form-encoded"),
        ("intents", b'{"inputs": "\\ud800"}', JSON, 422, "surrogate"),
        ("intents", b'{"inputs": "x", "parameters": {"top_k": 0}}', JSON, 422, "top_k"),
        ("intents", b'{"inputs": "x", "parameters": {"top_k": "x"}}', JSON, 422, "top_k"),
        ("intents", b'{"inputs": "x", "parameters": {"topk": 2}}', JSON, 422, "did you mean 'top_k'"),
        ("intents", b'{"inputs": "x", "parameters": {"top_k": NaN}}', JSON, 422, "top_k"),
    ],
)
def test_what_cannot_be_answered_gets_a_4xx_that_says_why(bundle, model, body, headers, status, said):
    answer = bundle.post(model, data=body, headers={"Content-Type": "application/octet-stream"} | headers)
    assert answer.status_code == status, answer.text
    assert answer.json()["code"] == status and said in answer.json()["message"]
    assert "Traceback" not in answer.text


def test_a_body_beyond_the_limit_is_refused_and_the_next_one_answered(bundle):
    limit = bundle.setting("max_request_size")
    with contextlib.suppress(requests.ConnectionError):  # the server may close while the client still sends
        assert bundle.predict("digits", bytes(limit + 1)).status_code == 413
    assert bundle.predict("digits", bundle.samples("digits")[0][1]).status_code == 200


@pytest.mark.parametrize("model", ["digits", "sounds", "intents"])
def test_an_explanation_names_the_answer_and_its_evidence(bundle, model):
    sample, payload = bundle.samples(model)[0]
    answer = bundle.explain(model, payload).json()
    assert answer["label"] == sample["answer"][0]["label"]
    evidence = {"digits": "heatmap", "sounds": "moments", "intents": "words"}[model]
    assert len(answer[evidence]) > 0
