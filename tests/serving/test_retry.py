"""serving/retry.py: what can be retried, and for how long."""

import json
import time

import pytest
import requests

from serving import retry


def answer(code: int, kind: str, message: str) -> requests.Response:
    """An error answer of TorchServe, or of a handler of the bundle."""
    response = requests.Response()
    response.status_code, response._content = code, json.dumps({"code": code, "type": kind, "message": message}).encode()
    return response


@pytest.mark.parametrize(
    ("code", "kind", "message", "is_transient"),
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
def test_only_an_answer_about_the_server_is_transient(code, kind, message, is_transient):
    assert retry.is_transient(answer(code, kind, message)) is is_transient


@pytest.mark.parametrize("body", [b"[1]", b'"text"', b"{}"])
def test_json_of_another_shape_is_final(body):
    assert retry.is_transient(plain(503, body)) is False


def plain(code: int, body: bytes) -> requests.Response:
    response = requests.Response()
    response.status_code, response._content = code, body
    return response


@pytest.mark.parametrize("body", [b"", b"<html>", b"Internal Server Error"])
@pytest.mark.parametrize(
    ("code", "is_transient"), [(503, True), (500, True), (408, True), (404, False), (413, False), (200, False)]
)
def test_an_answer_without_json_is_a_proxys_and_only_its_5xx_are_transient(code, body, is_transient):
    assert retry.is_transient(plain(code, body)) is is_transient


def test_a_404_is_transient_only_if_an_ingress_has_no_routes_yet():
    said = b"Path '/predictions/digits' not found. Ping http://.../-/routes for available routes."
    assert retry.is_transient(plain(404, said)) and not retry.is_transient(plain(404, b"<h1>Not Found</h1>"))


def test_attempts_are_made_until_the_time_is_over():
    started = time.monotonic()
    attempts = sum(1 for _ in retry.pauses(0.4))
    assert attempts > 1 and time.monotonic() - started >= 0.4


def test_the_limit_of_a_pause_doubles_up_to_a_second(monkeypatch):
    limits = []
    monkeypatch.setattr(retry.random, "uniform", lambda low, high: limits.append(high) or low)
    attempts = retry.pauses(60)
    for _ in range(8):
        next(attempts)
    assert limits == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_without_time_there_is_one_attempt():
    assert sum(1 for _ in retry.pauses(0)) == 1
