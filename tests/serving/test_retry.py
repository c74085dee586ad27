import json
import time

import pytest
import requests

from serving import retry


def answer(code: int, kind: str, message: str) -> requests.Response:
    """As TorchServe, or a handler of the bundle, words it."""
    response = requests.Response()
    response.status_code, response._content = code, json.dumps({"code": code, "type": kind, "message": message}).encode()
    return response


@pytest.mark.parametrize(
    ("code", "kind", "message", "is_passing"),
    [
        (503, "ServiceUnavailableException", 'Model "echo" Version 1.0 has no worker to serve inference request.', True),
        (503, "ServiceUnavailable", "the worker lost its GPU and is being started anew; send the request again", True),
        (503, "InternalServerException", "Prediction failed", False),
        (500, "InternalServerException", "Worker died.", True),
        (507, "InternalServerException", "Worker died.", True),
        (507, "InsufficientStorage", "this input needs more memory than the worker has; send a smaller one", False),
        (500, "InternalServerError", "the model failed on this request; the server's log says why under request 1", False),
        (504, "GatewayTimeout", "the 24 s for a batch are over before this request was answered", False),
        (400, "InvalidKeyException", "Token Authorization failed.", True),
        (400, "BadRequest", "not a picture", False),
        (422, "UnprocessableEntity", "Worker parameters", False),
        (404, "ModelNotFoundException", "Model not found: x", False),
    ],
)
def test_only_what_speaks_of_the_server_is_asked_again(code, kind, message, is_passing):
    assert retry.is_passing(answer(code, kind, message)) is is_passing


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'"text"', b"{}"])
def test_an_answer_of_another_shape_is_final(body):
    response = requests.Response()
    response.status_code, response._content = 503, body
    assert retry.is_passing(response) is False


def test_the_pauses_end_when_the_time_is_over():
    started = time.monotonic()
    tries = sum(1 for _ in retry.pauses(0.4))
    assert tries > 2 and 0.4 <= time.monotonic() - started < 2


def test_without_time_there_is_one_try():
    assert sum(1 for _ in retry.pauses(0)) == 1
