"""handlers/protocols.py: bodies of KServe v1, Vertex AI, SageMaker and the Open Inference Protocol, and their answers."""

import base64
import json
import struct

import pytest

from handlers.base import load
from handlers.open_inference import HEADER
from handlers.protocols import PROTOCOLS
from handlers.request import Answer, RawRequest
from tests.handlers.conftest import CLASSES

JSON, BYTES = "application/json", "application/octet-stream"
TEXTS = ["a round thing", "five corners"]


@pytest.fixture
def texts(text_artifact):
    return load(text_artifact, {"class_path": CLASSES["text"], "threads": 1, "max_inputs": 4})


def send(handler, protocol: str, body, content_type: str = JSON, **options) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return handler.answer([RawRequest({"body": content}, content_type, protocol=protocol, **options)]).answers[0]


def said(answer: Answer):
    return answer.code, json.loads(answer.body)


def native(handler, value) -> list[dict]:
    code, answer = said(send(handler, "", {"inputs": value}))
    assert code == 200
    return answer


def bytes_tensor(*values: str, name: str = "inputs", **parameters) -> dict:
    found = {"name": name, "datatype": "BYTES", "shape": [len(values)], "data": [*values]}
    return found | ({"parameters": parameters} if parameters else {})


def tensors(answer: Answer) -> dict[str, dict]:
    return {one["name"]: one for one in json.loads(answer.body)["outputs"]}


# --- v1 and Vertex


@pytest.mark.parametrize("protocol", ["v1", "vertex", "kserve", "sagemaker"])
def test_instances_become_predictions(texts, protocol):
    code, answer = said(send(texts, protocol, {"instances": TEXTS}))
    assert code == 200 and answer.keys() == {"predictions"}
    for given, text in zip(answer["predictions"], TEXTS, strict=True):
        assert given == [pytest.approx(entry, abs=1e-6) for entry in native(texts, text)]


@pytest.mark.parametrize("instance", ["a round thing", {"text": "a round thing"}, {"data": "a round thing"}])
def test_an_instance_is_the_value_or_an_object_with_it(texts, instance):
    _, answer = said(send(texts, "v1", {"instances": [instance], "parameters": {"top_k": 1}}))
    assert answer["predictions"] == [native(texts, "a round thing")[:1]]


@pytest.mark.parametrize("wrap", [lambda text: text, lambda text: {"b64": text}, lambda text: {"data": text}])
def test_an_instance_holds_a_file_in_base64(pictures, wrap):
    encoded = base64.b64encode(pictures.artifact.samples()[0][1]).decode()
    code, answer = said(send(pictures, "v1", {"instances": [wrap(encoded)]}))
    assert code == 200 and answer["predictions"] == [native(pictures, encoded)]


def test_a_refused_instance_has_its_error_at_its_place(texts):
    code, answer = said(send(texts, "v1", {"instances": ["a", ""]}))
    assert code == 200 and answer["predictions"][0][0]["label"]
    assert answer["predictions"][1]["error"]["code"] == 422 and "empty" in answer["predictions"][1]["error"]["message"]


@pytest.mark.parametrize(
    ("protocol", "location"),
    [("", "/explanations/texts.explain/1.0"), *((name, "/v1/models/texts.explain:explain") for name in ("v1", "v2", "kserve"))],
)
def test_who_wants_an_explanation_is_sent_on_and_the_neighbour_is_answered(texts, protocol, location):
    rows = [RawRequest({"body": TEXTS[0].encode()}, "text/plain", explain=is_one, protocol=protocol) for is_one in (True, False)]
    rows[1].protocol = ""
    sent_on, predicted = texts.answer(rows, "texts.explain/1.0").answers
    assert sent_on.code == 307 and sent_on.headers == {"Location": location}
    assert location in json.loads(sent_on.body)["error" if protocol else "message"]
    assert said(predicted) == (200, [pytest.approx(entry, abs=1e-6) for entry in native(texts, TEXTS[0])])


def test_explanations_are_named_so(texts):
    code, answer = said(send(texts, "v1", {"instances": ["a round thing"]}, explain=True))
    assert code == 200 and answer.keys() == {"explanations"} and answer["explanations"][0]["words"]


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ({"instances": [""]}, 422, "the text is empty"),
        ({"instances": []}, 422, "the list of instances is empty"),
        ({"instances": ["a"] * 5}, 413, "5 instances; one request may have 4"),
        ({"instances": "a"}, 422, "with a list; this one is text"),
        ({"inputs": "a"}, 422, "this one is an object with the keys 'inputs'"),
        ({"instances": ["a"], "signature_name": "x"}, 422, "no key 'signature_name'"),
        ({"instances": ["a"], "parameters": {"topk": 1}}, 422, "did you mean 'top_k'"),
        ({"instances": ["a"], "parameters": [1]}, 422, "'parameters' is a list"),
        (b"{", 400, "not JSON"),
        (b"", 422, "no body"),
        (b"[1]", 422, "this one is a list"),
    ],
)
def test_a_malformed_request_is_refused_in_the_form_of_v1(texts, body, code, message):
    given, answer = said(send(texts, "v1", body))
    assert given == code and answer.keys() == {"error"} and message in answer["error"]


# --- v2


@pytest.mark.parametrize("protocol", ["v2", "kserve"])
def test_texts_in_a_tensor_get_labels_and_scores_in_tensors(texts, protocol):
    answer = send(texts, protocol, {"id": "7", "inputs": [bytes_tensor(*TEXTS)], "parameters": {"top_k": 2}})
    head, found = json.loads(answer.body), tensors(answer)
    assert answer.code == 200 and (head["id"], head["model_name"]) == ("7", "texts")
    assert found["labels"]["shape"] == found["scores"]["shape"] == [2, 2]
    expected = [entry for text in TEXTS for entry in native(texts, text)[:2]]
    assert found["labels"]["data"] == [entry["label"] for entry in expected]
    assert found["scores"]["data"] == pytest.approx([entry["score"] for entry in expected], abs=1e-6)


def test_a_file_comes_in_base64_or_as_its_bytes(pictures):
    payload = pictures.artifact.samples()[0][1]
    encoded = base64.b64encode(payload).decode()
    in_json = send(pictures, "v2", {"inputs": [bytes_tensor(encoded, content_type="base64")]})
    packed = struct.pack("<I", len(payload)) + payload
    head = {"name": "inputs", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(packed)}}
    text = json.dumps({"inputs": [head]}).encode()
    binary = send(pictures, "v2", text + packed, BYTES, json_bytes=len(text))
    assert in_json.code == binary.code == 200 and tensors(in_json) == tensors(binary)
    assert tensors(binary)["labels"]["data"] == [entry["label"] for entry in native(pictures, encoded)]


def test_binary_outputs_follow_the_json_and_a_header_says_where(texts):
    body = {"inputs": [bytes_tensor("a")], "outputs": [{"name": "scores", "parameters": {"binary_data": True}}]}
    answer = send(texts, "v2", body)
    length = int(answer.headers[HEADER])
    (head,) = json.loads(answer.body[:length])["outputs"]
    assert answer.content_type == BYTES and head["parameters"] == {"binary_data_size": 12}
    assert struct.unpack("<3f", answer.body[length:]) == pytest.approx([entry["score"] for entry in native(texts, "a")])


def test_all_outputs_are_binary_if_the_request_says_so(texts):
    answer = send(texts, "v2", {"inputs": [bytes_tensor("a")], "parameters": {"binary_data_output": True}})
    heads = json.loads(answer.body[: int(answer.headers[HEADER])])["outputs"]
    assert [(head["name"], "data" in head) for head in heads] == [("labels", False), ("scores", False)]


def test_a_refused_input_is_named_in_a_tensor_of_errors(texts):
    answer = send(texts, "v2", {"inputs": [bytes_tensor("a", "", "round")]})
    found = tensors(answer)
    assert answer.code == 200 and found["labels"]["data"][3:6] == ["", "", ""] and found["scores"]["data"][3:6] == [0, 0, 0]
    errors = found["errors"]["data"]
    assert errors[0] == errors[2] == "" and json.loads(errors[1])["code"] == 422


def test_explanations_are_json_in_a_tensor(texts):
    found = tensors(send(texts, "v2", {"inputs": [bytes_tensor("a round thing")]}, explain=True))
    assert found.keys() == {"explanations"} and json.loads(found["explanations"]["data"][0])["words"]


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ({"inputs": [bytes_tensor("")]}, 422, "the text is empty"),
        ({"inputs": [bytes_tensor(*"abcde")]}, 413, "5 inputs; one request may have 4"),
        ({"inputs": [bytes_tensor("a")], "id": 7}, 422, "'id' is a number"),
        ({"inputs": [bytes_tensor("a")], "output": []}, 422, "no key 'output'"),
        ({"inputs": [bytes_tensor("a")], "outputs": [{"name": "boxes"}]}, 422, "this model gives no tensor 'boxes'"),
        ({"inputs": [bytes_tensor("a")], "outputs": "scores"}, 422, "'outputs' is text"),
        (
            {"inputs": [bytes_tensor("a")], "outputs": [{"name": "scores", "parameters": {"classification": 3}}]},
            422,
            "the parameter 'classification'",
        ),
        ({"inputs": [bytes_tensor("a")], "parameters": {"priority": 1}}, 422, "no parameter 'priority'"),
        ({"inputs": [bytes_tensor("a")], "parameters": {"binary_data_output": 1}}, 422, "send true or false"),
        ({"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}, 415, "'x' is FP32"),
        ({"inputs": "a"}, 422, "'inputs' is text; send a list of tensors"),
        (b"[]", 422, "the body is a list"),
        (b"{", 400, "not JSON"),
        (b"", 400, "not JSON"),
    ],
)
def test_a_malformed_request_is_refused_in_the_form_of_v2(texts, body, code, message):
    given, answer = said(send(texts, "v2", body))
    assert given == code and answer.keys() == {"error"} and message in answer["error"]


@pytest.mark.parametrize("length", [-1, 10_000])
def test_a_header_beyond_the_body_is_refused(texts, length):
    code, answer = said(send(texts, "v2", {"inputs": [bytes_tensor("a")]}, json_bytes=length))
    assert code == 400 and HEADER in answer["error"]


# --- an address for both, and what was there before


@pytest.mark.parametrize("protocol", ["kserve", "sagemaker"])
def test_a_native_body_is_answered_natively_at_every_address(texts, pictures, protocol):
    assert send(texts, protocol, {"inputs": "a"}).body == send(texts, "", {"inputs": "a"}).body
    payload = pictures.artifact.samples()[0][1]
    assert send(pictures, protocol, payload, BYTES).body == send(pictures, "", payload, BYTES).body


def test_the_native_address_takes_no_other_protocol(texts):
    code, answer = said(send(texts, "", {"instances": ["a"]}))
    assert code == 422 and "no key 'instances'" in answer["message"]


def test_a_refusal_has_the_form_of_its_address(texts):
    assert said(send(texts, "kserve", {"inputs": ""}))[1].keys() == {"error"}
    assert said(send(texts, "sagemaker", {"inputs": ""}))[1].keys() == {"code", "type", "message"}


# --- SageMaker


def test_json_lines_get_a_line_each(texts):
    body = b'"a"\n{"inputs": "round", "parameters": {"top_k": 1}}\n\n""\n'
    answer = send(texts, "sagemaker", body, "application/jsonlines")
    lines = [json.loads(line) for line in answer.body.splitlines()]
    assert answer.code == 200 and answer.content_type == "application/jsonlines"
    assert lines[0][0]["label"] == native(texts, "a")[0]["label"] and len(lines[1]) == 1 and lines[2]["error"]["code"] == 422


@pytest.mark.parametrize(("body", "code"), [(b"", 422), (b"a\n", 400), (b'"a"\n' * 5, 413), (b'""\n', 422)])
def test_malformed_lines_are_refused(texts, body, code):
    given, answer = said(send(texts, "sagemaker", body, "application/jsonlines"))
    assert given == answer["code"] == code


# --- all of them


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_bad_request_hurts_no_neighbour_of_any_protocol(texts, protocol):
    good = {"": {"inputs": "a"}, "v2": {"inputs": [bytes_tensor("a")]}}.get(protocol, {"instances": ["a"]})
    rows = [
        RawRequest({"body": content}, JSON, protocol=protocol)
        for content in [json.dumps(good).encode(), b"{", b'{"inputs": [[[', b"null", b"\xff", json.dumps(good).encode()]
    ]
    answers = texts.answer(rows).answers
    assert [answer.code for answer in answers[::5]] == [200, 200] and answers[0].body == answers[5].body
    assert all(400 <= answer.code < 500 for answer in answers[1:5])
