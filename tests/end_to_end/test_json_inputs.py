"""Inputs that are JSON, sent to a real server: rows, series, pictures with texts. Each model is trained for a few seconds."""

import base64
import json

import pytest

from serving.evaluate import evaluate
from tests.bundle import serving, trained

pytestmark = [pytest.mark.server, pytest.mark.slow]
JSON = {"Content-Type": "application/json"}
OVERRIDES = {  # of the config; the first metric; whether its value is better than guessing
    "trips": (["--trainer.max_epochs=4", "--data.count=800"], "accuracy", lambda value: value > 0.5),
    "demand": (
        [
            "--trainer.max_epochs=6",
            "--data.count=8",
            "--model.network.width=16",
            "--model.learning_rate=0.01",
        ],
        "relative_error",
        lambda value: value < 1,
    ),
    "questions": (
        [
            *("--trainer.max_epochs=4", "--data.count=400", "--model.network.name=shufflenet_v2_x0_5"),
            *("--model.transform.init_args.size=32", "--model.network.init_args.width=32"),
        ],
        "accuracy",
        lambda value: value > 1 / 11,
    ),
}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server of its own, so that the tests of classifiers do not wait for these trainings."""
    folder = tmp_path_factory.mktemp("json")
    overrides = {name: given for name, (given, *_) in OVERRIDES.items()}
    with serving(trained(overrides, folder), folder, {}, OVERRIDES) as bundle:
        yield bundle


def inputs(served, model: str):
    _, payload = served.samples(model)[0]
    return json.loads(payload)["inputs"]


@pytest.mark.parametrize("protocol", ["native", "v1", "v2"])
@pytest.mark.parametrize("model", OVERRIDES)
def test_what_is_served_is_what_was_trained(served, model, protocol):
    _, metric, is_learned = OVERRIDES[model]
    figures = evaluate(served.home, model, served.artifacts / model / "test.zip", clients=8, protocol=protocol)
    assert figures.disagreements == [] and figures.metric == metric
    assert figures.value == pytest.approx(figures.offline, abs=1e-6) and is_learned(figures.value)


@pytest.mark.parametrize("model", OVERRIDES)
@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "text/plain", "application/octet-stream"]
)
def test_a_body_is_json_whatever_its_header_says(served, model, kind):
    sample, payload = served.samples(model)[0]
    answer = served.post(model, data=payload, headers={"Content-Type": kind})
    assert answer.status_code == 200, answer.text
    assert type(answer.json()) is type(sample["answer"])


def test_a_form_holds_the_inputs_as_json_and_the_parameters(served):
    row, series = inputs(served, "trips"), inputs(served, "demand")
    answer = served.post("trips", files={"data": json.dumps(row).encode()}, data={"top_k": "2"})
    assert answer.json() == served.post("trips", json={"inputs": row, "parameters": {"top_k": 2}}).json()
    answer = served.post("demand", files={"inputs": json.dumps(series).encode()}, data={"horizon": "3"})
    assert answer.json() == served.post("demand", json={"inputs": series, "parameters": {"horizon": 3}}).json()
    assert len(answer.json()["forecast"]) == 3


def test_a_form_holds_a_picture_and_a_text_as_two_fields(served):
    given = inputs(served, "questions")
    fields = {"files": {"image": ("drawn.png", base64.b64decode(given["image"]), "image/png")}, "data": {"text": given["text"]}}
    assert served.post("questions", **fields).json() == served.post("questions", json={"inputs": given}).json()


@pytest.mark.parametrize(
    ("model", "body", "status", "said"),
    [
        ("trips", b'{"inputs": {"age": 31}}', 422, "the row lacks"),
        ("trips", b'{"inputs": [31]}', 422, "the row is a list"),
        ("trips", b'{"age": 31}', 422, "no key 'age'"),
        ("trips", b"age=31", 400, "not JSON"),
        ("demand", b'{"inputs": [1, 2, 3]}', 422, "3 values"),
        ("demand", b'{"inputs": ["a"]}', 422, "1 values"),
        ("demand", json.dumps({"inputs": [50.0] * 30 + ["a"]}).encode(), 422, "value 30 of the series is text"),
        ("demand", json.dumps({"inputs": [50.0] * 30 + [float("nan")]}).encode(), 422, "value 30 of the series is not a number"),
        ("demand", json.dumps({"inputs": [50.0] * 30 + [1e300]}).encode(), 422, "value 30 of the series is 1e+300"),
        ("demand", json.dumps({"inputs": [50.0] * 100_001}).encode(), 413, "100,001 values"),
        ("demand", json.dumps({"inputs": [50.0] * 30, "parameters": {"horizon": 25}}).encode(), 422, "at most"),
        ("questions", b'{"inputs": {"text": "how many?"}}', 422, "lacks 'image'"),
        ("questions", b'{"inputs": {"image": "!", "text": "how many?"}}', 400, "'image' is not base64"),
        ("questions", b'{"inputs": "how many?"}', 422, "the input is text"),
    ],
)
def test_what_cannot_be_answered_gets_a_4xx_that_says_why(served, model, body, status, said):
    answer = served.post(model, data=body, headers=JSON)
    assert answer.status_code == status, answer.text
    assert answer.json()["code"] == status and said in answer.json()["message"]


@pytest.mark.parametrize(("model", "evidence"), [("trips", "columns"), ("questions", "parts")])
def test_an_explanation_weighs_what_was_sent(served, model, evidence):
    _, payload = served.samples(model)[0]
    assert served.post(model, "explanations", data=payload, headers=JSON).json()[evidence]
