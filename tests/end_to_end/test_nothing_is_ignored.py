"""Headers, fields and parameters that other servers drop without a word: here they count, or the answer says what to do."""

import base64
import gzip
import json
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
import requests

from tests.bundle import differ

pytestmark = pytest.mark.server
TEXT = "wake me at seven"
UNTYPED = ["text/plain", "text/plain;charset=UTF-8", "application/x-json", "application/vnd.api+json", "application/octet-stream"]


@pytest.mark.parametrize("content_type", UNTYPED)
def test_json_is_answered_the_same_under_any_type(bundle, content_type):
    body = {"inputs": TEXT, "parameters": {"top_k": 1}}
    answer = bundle.post("intents", data=json.dumps(body), headers={"Content-Type": content_type})
    assert not differ(answer.json(), bundle.post("intents", json=body).json()) and len(answer.json()) == 1


def test_json_without_any_type_is_answered_for_a_picture(bundle):
    _, payload = bundle.samples("digits")[0]
    body = json.dumps({"inputs": base64.b64encode(payload).decode(), "parameters": {"top_k": 2}})
    assert not differ(bundle.post("digits", data=body).json(), bundle.predict("digits", payload).json()[:2])


@pytest.mark.parametrize("model", ["digits", "sounds", "intents"])
def test_two_files_of_a_form_are_answered_and_two_values_of_a_parameter_refused(bundle, model):
    (one, first), (other, second), *_ = bundle.samples(model)
    answer = bundle.post(model, files=[("data", ("a", first)), ("data", ("b", second))])
    assert [given[0]["label"] for given in answer.json()] == [each["answer"][0]["label"] for each in (one, other)]
    answer = bundle.post(model, files=[("data", ("a", first)), ("top_k", (None, "1")), ("top_k", (None, "3"))])
    assert answer.status_code == 422 and "'top_k' more than once" in answer.json()["message"]


def test_a_key_twice_in_json_is_refused(bundle):
    answer = bundle.post("intents", data=b'{"inputs": "a", "inputs": "b"}', headers={"Content-Type": "application/json"})
    assert answer.status_code == 422 and "'inputs' twice" in answer.json()["message"]


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
@pytest.mark.parametrize("model", ["digits", "sounds", "intents"])
def test_a_compressed_body_is_answered_like_the_plain_one(bundle, model, encoding, pack):
    _, payload = bundle.samples(model)[0]
    packed = bundle.predict(model, pack(payload), {"Content-Encoding": encoding})
    assert not differ(packed.json(), bundle.predict(model, payload).json())


def test_compressed_json_is_answered_like_plain_json(bundle):
    body = {"inputs": TEXT, "parameters": {"top_k": 2}}
    headers = {"Content-Type": "application/json", "content-encoding": "gzip"}
    answer = bundle.post("intents", data=gzip.compress(json.dumps(body).encode()), headers=headers)
    assert not differ(answer.json(), bundle.post("intents", json=body).json())


def test_bombs_and_other_encodings_are_refused_and_their_neighbours_answered(bundle):
    (sample, payload), *_ = bundle.samples("digits")
    bomb = gzip.compress(bytes(3 * bundle.setting("max_request_size")))
    sent = {
        1: (bomb, "gzip", 413, "unpacks to more than 10,485,760 bytes"),
        3: (payload, "br", 415, "Content-Encoding: br is not taken"),
        5: (payload, "gzip", 400, "Content-Encoding: gzip, and the body cannot be unpacked so"),
        6: (gzip.compress(payload)[:-9], "gzip", 400, "Content-Encoding: gzip"),
    }
    start = Barrier(8)

    def send(index: int):
        body, encoding, *_ = sent.get(index, (payload, ""))
        start.wait()
        return bundle.predict("digits", body, {"Content-Encoding": encoding} if encoding else {})

    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(send, range(8)))
    for index, answer in enumerate(answers):
        if index in sent:
            _, _, status, said = sent[index]
            assert answer.status_code == status and said in answer.json()["message"], answer.text
        else:
            assert answer.json()[0]["label"] == sample["answer"][0]["label"], answer.text


def test_a_text_in_the_charset_of_its_header_is_the_same_text(bundle):
    text = "réveille-moi à sept heures"
    wanted = bundle.post("intents", json={"inputs": text}).json()
    for charset in ("utf-8", "iso-8859-1", "utf-16"):
        answer = bundle.post("intents", data=text.encode(charset), headers={"Content-Type": f"text/plain; charset={charset}"})
        assert not differ(answer.json(), wanted), answer.text
    answer = bundle.post("intents", data=text.encode(), headers={"Content-Type": "text/plain; charset=klingon"})
    assert answer.status_code == 415 and "charset=klingon" in answer.json()["message"]


@pytest.fixture
def invoke(bundle):
    def send(query: str, **options) -> requests.Response:
        url = f"{bundle.client.server.inference}/invocations?{query}"
        return requests.post(url, timeout=30, headers=bundle.client.token("inference") | options.pop("headers", {}), **options)

    return send


def test_sagemakers_path_takes_every_body_and_the_urls_parameters(bundle, invoke):
    _, payload = bundle.samples("digits")[0]
    wanted = bundle.predict("digits", payload).json()
    for name in ("model_name=digits", "model_name=digits&model_version=1.0"):
        assert not differ(invoke(name, data=payload).json(), wanted)
        assert not differ(invoke(name, files={"data": payload}).json(), wanted)
        assert not differ(invoke(f"{name}&top_k=2", data=payload).json(), wanted[:2])
        answer = invoke(f"{name}&nonsense=7", data=payload)
        assert answer.status_code == 422 and "no parameter 'nonsense'" in answer.json()["message"]
    body = {"inputs": base64.b64encode(payload).decode(), "parameters": {"function_to_apply": "none"}}
    assert len(invoke("model_name=digits&top_k=1", json=body).json()) == 1
    answer = invoke("model_name=digits&topk=1", json=body)
    assert answer.status_code == 422 and "did you mean 'top_k'?" in answer.json()["message"]
    answer = invoke("model_name=digits&top_k=1&top_k=2", data=payload)
    assert answer.status_code == 422 and "'top_k' more than once" in answer.json()["message"]


def test_a_form_that_names_another_model_is_refused(bundle):
    answer = bundle.post("digits", files={"data": bundle.samples("digits")[0][1]}, data={"model_name": "intents"})
    assert answer.status_code == 422 and "no parameter 'model_name'" in answer.json()["message"]


def test_an_input_in_the_url_is_refused_with_where_it_belongs(bundle):
    url = bundle.url("intents") + "?data=wake+me"
    answer = requests.get(url, headers=bundle.client.token("inference"), timeout=30)
    assert answer.status_code == 400 and "an input in the URL is not read" in answer.json()["message"]


def test_options_and_null_are_taken_as_the_hub_takes_them(bundle):
    plain = bundle.post("intents", json={"inputs": TEXT}).json()
    older = bundle.post("intents", json={"inputs": TEXT, "options": {"wait_for_model": True, "use_cache": False}})
    assert not differ(older.json(), plain)
    everything = bundle.post("intents", json={"inputs": TEXT, "parameters": {"top_k": None, "function_to_apply": None}}).json()
    assert len(everything) == 10 and not differ(everything[:5], plain)


def test_the_models_description_is_no_refused_request(bundle):
    refused = bundle.metric("RefusedRequests", "digits", Reason="BAD_REQUEST")
    (described,) = bundle.client.manage("GET", "/models/digits", customized="true")
    found = described["customizedMetadata"]
    assert found["accepts"] == "a picture" and found["media_types"] == ["image/"]
    assert "top_k" in found["parameters"]["$defs"]["ClassifierParameters"]["properties"]
    assert bundle.metric("RefusedRequests", "digits", Reason="BAD_REQUEST") == refused


def test_what_callers_send_writes_no_line_into_the_workers_log(bundle):
    log = Path(bundle.home.workers_log)
    before = log.read_text()
    for body, content_type in [(b"\xff", "text/plain"), (b"{", "application/json"), (b"\x1f\x8b", "application/json")]:
        assert bundle.post("intents", data=body, headers={"Content-Type": content_type}).status_code == 400
    assert bundle.post("intents", data=gzip.compress(b"x" * 20_000_000), headers={"Content-Encoding": "gzip"}).status_code == 413
    bundle.predict("digits", b"\x89PNG")
    assert log.read_text() == before
