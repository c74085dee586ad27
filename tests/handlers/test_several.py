"""handlers/several.py: several inputs in one request, next to requests with one."""

import base64
import json
from collections import Counter

import pytest

from handlers.base import load
from handlers.request import RawRequest
from tests.handlers.conftest import CLASSES

JSON, FORM = "application/json", "multipart/form-data; boundary=x"
TEXTS = ["a round thing", "five corners", "a thing with corners"]


@pytest.fixture
def texts(text_artifact):
    return load(text_artifact, {"class_path": CLASSES["text"], "threads": 1, "max_inputs": 5})


def asked(handler, *rows: RawRequest) -> list[tuple[int, object]]:
    return [(answer.code, json.loads(answer.body)) for answer in handler.answer(list(rows)).answers]


def one(body, **options) -> RawRequest:
    return RawRequest({"body": json.dumps(body).encode()}, JSON, **options)


def test_each_input_gets_the_answer_that_it_gets_alone_in_order(texts):
    alone = [asked(texts, one({"inputs": text}))[0][1] for text in TEXTS]
    ((code, answers),) = asked(texts, one({"inputs": TEXTS}))
    assert code == 200 and [answer[0]["label"] for answer in answers] == [answer[0]["label"] for answer in alone]
    assert [answer[0]["score"] for answer in answers] == pytest.approx([answer[0]["score"] for answer in alone], abs=1e-6)


def test_a_refused_input_has_its_error_at_its_place_and_the_others_stand(texts):
    ((_, alone),) = asked(texts, one({"inputs": ""}))
    ((code, answers),) = asked(texts, one({"inputs": [TEXTS[0], "", 3, TEXTS[1]]}))
    assert code == 200 and answers[1] == {"error": alone}
    assert answers[2]["error"]["code"] == 422 and "'inputs' is a number" in answers[2]["error"]["message"]
    assert answers[0][0]["score"] and answers[3][0]["score"]


def test_if_no_input_is_answered_the_request_is_refused(texts):
    ((_, alone),) = asked(texts, one({"inputs": ""}))
    assert asked(texts, one({"inputs": ["", ""]})) == [(422, alone)]


def test_the_parameters_are_those_of_each_input(texts):
    ((code, answers),) = asked(texts, one({"inputs": TEXTS, "parameters": {"top_k": 1}}))
    assert code == 200 and [len(answer) for answer in answers] == [1, 1, 1]
    ((code, refused),) = asked(texts, one({"inputs": TEXTS, "parameters": {"topk": 1}}))
    assert code == 422 and "did you mean 'top_k'" in refused["message"]


def test_one_request_has_at_most_so_many_inputs(texts):
    assert asked(texts, one({"inputs": ["a"] * 5}))[0][0] == 200
    ((code, refused),) = asked(texts, one({"inputs": ["a"] * 6}))
    assert code == 413 and "6 inputs; one request may have 5" in refused["message"]


@pytest.mark.parametrize("inputs", [[], [3], [["a"]], [None]])
def test_a_list_without_any_input_is_a_wrong_input_as_ever(texts, inputs):
    ((code, refused),) = asked(texts, one({"inputs": inputs}))
    assert code == 422 and refused["message"] == "'inputs' is a list; this model takes a text, as text, one a request"


def test_requests_of_one_batch_keep_their_answers(texts):
    rows = [one({"inputs": TEXTS[0]}), one({"inputs": TEXTS}), one({"inputs": ""}), one({"inputs": TEXTS[::-1]})]
    found = asked(texts, *rows)
    assert [code for code, _ in found] == [200, 200, 422, 200]
    assert found[0][1][0]["label"] == found[1][1][0][0]["label"] == found[3][1][2][0]["label"]
    assert [answer[0]["label"] for answer in found[1][1]] == [answer[0]["label"] for answer in found[3][1][::-1]]


def test_the_network_sees_no_larger_batch_than_it_was_proven_with(texts, monkeypatch):
    sizes = Counter()
    monkeypatch.setattr(texts, "inference", lambda samples, run=texts.inference: sizes.update([len(samples)]) or run(samples))
    texts.warm_up(2)
    sizes.clear()
    assert asked(texts, one({"inputs": ["a"] * 5}))[0][0] == 200
    assert sizes == {2: 2, 1: 1}


def test_one_input_that_breaks_the_network_hurts_no_other(texts, monkeypatch):
    run = texts.inference

    def breaks(samples):
        if any(len(sample) > 5 for sample in samples):
            raise ValueError("too many tokens")
        return run(samples)

    monkeypatch.setattr(texts, "inference", breaks)
    ((code, answers),) = asked(texts, one({"inputs": ["a", "a round thing with five corners", "round"]}, id="r-7"))
    assert code == 200 and answers[1]["error"]["code"] == 500 and "request r-7" in answers[1]["error"]["message"]
    assert answers[0][0]["label"] and answers[2][0]["label"]


def test_a_form_with_several_files_drops_none(pictures):
    files = [payload for _, payload in pictures.artifact.samples()][:3]
    row = RawRequest({"data": [*files, b"no picture"], "top_k": b"1"}, FORM, repeated=("data",))
    ((code, answers),) = asked(pictures, row)
    alone = [asked(pictures, RawRequest({"data": file, "top_k": b"1"}, FORM))[0][1] for file in files]
    assert code == 200 and [answer[0]["label"] for answer in answers[:3]] == [answer[0]["label"] for answer in alone]
    assert answers[3]["error"]["code"] == 400 and "not a picture" in answers[3]["error"]["message"]


def test_a_parameter_that_comes_twice_is_refused_as_ever(pictures):
    file = pictures.artifact.samples()[0][1]
    ((code, refused),) = asked(pictures, RawRequest({"data": file, "top_k": [b"1", b"2"]}, FORM, repeated=("top_k",)))
    assert code == 422 and "'top_k' more than once" in refused["message"]


def test_several_files_come_as_base64_in_json(pictures):
    files = [payload for _, payload in pictures.artifact.samples()][:2]
    body = {"inputs": [base64.b64encode(file).decode() for file in files] + ["!!"]}
    ((code, answers),) = asked(pictures, one(body))
    assert code == 200 and len(answers[0]) == len(answers[1]) == 3 and "base64" in answers[2]["error"]["message"]


def test_hugging_face_gets_a_list_of_answers_for_a_list_of_texts(texts):
    ((_, plain),) = asked(texts, one({"inputs": TEXTS}))
    assert asked(texts, one({"inputs": TEXTS}, client="unknown/None; hf_hub/0.36.0"))[0][1] == plain
