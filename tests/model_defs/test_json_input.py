import json

import pytest

from model_defs.errors import InputError, Unreadable, WrongValue
from model_defs.json_input import JsonTransform, body, finite_number, from_base64


class Doubled(JsonTransform):
    def to_sample(self, value):
        return 2 * finite_number(value, "the input")


def test_a_body_from_disk_and_its_value_from_the_wire_are_the_same_input():
    assert Doubled()(body(3)) == Doubled()(3) == 6
    assert Doubled()(b'\xef\xbb\xbf{"inputs": 3, "parameters": {"top_k": 1}}') == 6


@pytest.mark.parametrize("options", [None, {}, {"wait_for_model": True}, {"use_cache": False, "wait_for_model": False}])
def test_options_of_older_hugging_face_clients_ask_for_what_always_holds(options):
    assert Doubled()(json.dumps({"inputs": 3, "options": options}).encode()) == 6


def test_a_body_on_disk_is_readable_json():
    assert json.loads(body({"job": "mécanicien"})) == {"inputs": {"job": "mécanicien"}}
    assert "mécanicien".encode() in body({"job": "mécanicien"})
    with pytest.raises(ValueError):
        body([float("nan")])


@pytest.mark.parametrize(
    ("payload", "error", "message"),
    [
        (b"", Unreadable, "the body is not JSON"),
        (b"\xff", Unreadable, "the body is not JSON"),
        (b"[" * 200_000, Unreadable, "the body is not JSON"),
        (b"3", WrongValue, 'a JSON body is {"inputs": ..., "parameters": {...}}; this one is a number'),
        (b'{"input": 3}', WrongValue, "no key 'input'; did you mean 'inputs'?"),
        (b'{"inputs": 3, "inputs": 4}', WrongValue, "the JSON has the key 'inputs' twice in one object"),
        (b'{"inputs": {"a": [{"b": 1, "c": 2, "b": 1}]}}', WrongValue, "the JSON has the key 'b' twice in one object"),
        (b'{"inputs": 3, "options": {"use_gpu": true}}', WrongValue, "no option 'use_gpu'; "),
        (b'{"inputs": 3, "options": {"wait_for_modle": true}}', WrongValue, "did you mean 'wait_for_model'?"),
        (b'{"inputs": 3, "options": {"use_cache": "no"}}', WrongValue, "'use_cache' is text; send true or false"),
        (b'{"inputs": 3, "options": []}', WrongValue, "'options' is a list; leave it out"),
    ],
)
def test_a_wrong_body_is_refused_with_the_right_form(payload, error, message):
    with pytest.raises(InputError) as caught:
        Doubled()(payload)
    assert type(caught.value) is error and message in str(caught.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("3", "the input is text; send a number"),
        (True, "the input is a boolean; send a number"),
        (None, "the input is null; send a number"),
        ([3], "the input is a list; send a number"),
        (float("nan"), "the input is not a number; send a finite number"),
        (float("-inf"), "the input is infinite; send a finite number"),
        (10**400, "the input is infinite; send a finite number"),
    ],
)
def test_a_value_that_is_not_a_finite_number_is_refused(value, message):
    with pytest.raises(WrongValue) as caught:
        Doubled()(value)
    assert str(caught.value) == message


def test_base64_is_named_for_what_it_should_hold():
    assert from_base64("data:image/png;base64,YWI=\n") == b"ab"
    with pytest.raises(Unreadable, match="'image' is not base64"):
        from_base64("!!", "'image'")
