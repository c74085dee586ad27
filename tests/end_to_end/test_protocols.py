"""The protocols of platforms over HTTP, by the requests in their documents, and several inputs in one request."""

import base64
import json
import struct

import pytest
import requests

from handlers.open_inference import HEADER
from serving.evaluate import evaluate
from tests.bundle import differ

pytestmark = pytest.mark.server
TEXTS = ["wake me at seven", "how is the weather tomorrow"]


@pytest.fixture
def post(bundle):
    def send(path: str, **options) -> requests.Response:
        headers = bundle.client.token("inference") | options.pop("headers", {})
        return requests.post(f"{bundle.client.server.inference}{path}", headers=headers, timeout=30, **options)

    return send


def native(bundle, text: str) -> list[dict]:
    return [pytest.approx(entry, abs=1e-6) for entry in bundle.post("intents", json={"inputs": text}).json()]


# --- KServe v1 and Vertex AI: https://kserve.github.io/website, "V1 Inference Protocol"; Vertex's "custom container requirements"


def test_v1_answers_instances_with_predictions(bundle, post):
    answer = post("/v1/models/intents:predict", json={"instances": TEXTS})
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == {"predictions": [native(bundle, text) for text in TEXTS]}


def test_vertex_sends_parameters_and_base64(bundle, post):
    _, payload = bundle.samples("digits")[0]
    body = {"instances": [{"b64": base64.b64encode(payload).decode()}], "parameters": {"top_k": 2}}
    answer = post("/v1/models/digits:predict", json=body)
    assert not differ(answer.json(), {"predictions": [bundle.predict("digits", payload).json()[:2]]})


def test_v1_explains(bundle, post):
    answer = post("/v1/models/intents:explain", json={"instances": TEXTS[:1]})
    assert answer.json()["explanations"][0]["words"]


# --- the Open Inference Protocol


def test_v2_answers_tensors_with_tensors(bundle, post):
    tensor = {"name": "inputs", "shape": [2], "datatype": "BYTES", "data": TEXTS}
    answer = post("/v2/models/intents/infer", json={"id": "42", "inputs": [tensor]}).json()
    outputs = {one["name"]: one for one in answer["outputs"]}
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("42", "intents", "1.0")
    expected = [entry for text in TEXTS for entry in bundle.post("intents", json={"inputs": text}).json()]
    assert outputs["labels"]["shape"] == [2, 5] and outputs["labels"]["data"] == [entry["label"] for entry in expected]
    assert outputs["scores"]["data"] == pytest.approx([entry["score"] for entry in expected], abs=1e-6)


def test_v2_takes_and_gives_binary_tensors(bundle, post):
    sample, payload = bundle.samples("digits")[0]
    packed = struct.pack("<I", len(payload)) + payload
    head = {"name": "inputs", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(packed)}}
    text = json.dumps({"inputs": [head], "parameters": {"binary_data_output": True, "top_k": 1}}).encode()
    headers = {HEADER: str(len(text)), "Content-Type": "application/octet-stream"}
    answer = post("/v2/models/digits/infer", data=text + packed, headers=headers)
    length = int(answer.headers[HEADER])
    assert answer.headers["Content-Type"] == "application/octet-stream"
    label = sample["answer"][0]["label"].encode()
    assert answer.content[length : length + 4 + len(label)] == struct.pack("<I", len(label)) + label


# --- SageMaker: "Use your own inference code with hosting services"


def test_invocations_takes_instances_and_json_lines(bundle, post):
    path = "/invocations?model_name=intents"
    assert post(path, json={"instances": TEXTS}).json() == {"predictions": [native(bundle, text) for text in TEXTS]}
    body = "".join(json.dumps(text) + "\n" for text in TEXTS)
    answer = post(path, data=body, headers={"Content-Type": "application/jsonlines"})
    assert answer.headers["Content-Type"] == "application/jsonlines"
    assert [json.loads(line) for line in answer.text.splitlines()] == [native(bundle, text) for text in TEXTS]
    assert post("/models/intents/invoke", json={"instances": TEXTS}).json()["predictions"]


# --- refusals


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/v1/models/intents:predict", b'{"instances": []}', 422, "is empty"),
        ("/v1/models/intents:predict", b'{"instances": [""]}', 422, "the text is empty"),
        ("/v1/models/intents:predict", b"{", 400, "not JSON"),
        ("/v2/models/intents/infer", b'{"inputs": [{"name": "x", "datatype": "FP31"}]}', 422, "FP31"),
        ("/v2/models/intents/infer", b'{"inputs": ""}', 422, "the text is empty"),
        ("/v2/models/digits/infer", b"no picture", 400, "not a picture"),
    ],
)
def test_a_refusal_is_an_error_in_the_protocols_form(post, path, body, status, said):
    kind = "application/json" if body.startswith(b"{") else "application/octet-stream"
    answer = post(path, data=body, headers={"Content-Type": kind})
    assert answer.status_code == status and answer.json().keys() == {"error"} and said in answer.json()["error"]


def test_the_native_address_refuses_what_it_refused(bundle):
    answer = bundle.post("intents", json={"instances": TEXTS})
    assert answer.status_code == 422 and "no key 'instances'" in answer.json()["message"]


# --- several inputs in one request


def test_a_list_of_inputs_gets_a_list_of_answers(bundle):
    answer = bundle.post("intents", json={"inputs": [TEXTS[0], "", TEXTS[1]]})
    alone = bundle.post("intents", json={"inputs": ""})
    assert answer.status_code == 200
    assert answer.json() == [native(bundle, TEXTS[0]), {"error": alone.json()}, native(bundle, TEXTS[1])]


def test_a_form_with_several_files_gets_an_answer_each(bundle):
    files = [payload for _, payload in bundle.samples("digits")[:3]]
    answer = bundle.post("digits", files=[("data", ("x.png", file)) for file in files], data={"top_k": "1"})
    assert [one[0]["label"] for one in answer.json()] == [bundle.predict("digits", file).json()[0]["label"] for file in files]


def test_too_many_inputs_are_refused(bundle):
    answer = bundle.post("intents", json={"inputs": ["a"] * 65})
    assert answer.status_code == 413 and "65 inputs; one request may have 64" in answer.json()["message"]


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["v1", "v2"])
@pytest.mark.parametrize("model", ["digits", "sounds", "intents"])
def test_a_whole_test_set_is_answered_as_in_training(bundle, model, protocol):
    figures = evaluate(bundle.home, model, bundle.artifacts / model / "test.zip", clients=16, protocol=protocol)
    assert figures.disagreements == [] and figures.value == pytest.approx(figures.offline, abs=1e-6)


# --- what a model says of itself


def test_the_management_api_describes_a_model(bundle):
    (described,) = bundle.client.manage("GET", "/models/digits", customized="true")
    found = described["customizedMetadata"]
    assert (found["name"], found["version"], found["labels"]) == ("digits", "1.0", [str(digit) for digit in range(10)])
    body = {"inputs": found["input"]["example"], "parameters": found["defaults"]}
    assert bundle.post("digits", json=body).json()[0]["label"] == found["answer"]["example"][0]["label"]
