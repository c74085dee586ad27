"""Ask a handler for an explanation, and look at the answer."""

import base64
import io
import json

import numpy as np
from PIL import Image

from handlers.request import RawRequest

COMMON = {"target_score", "baseline_score", "method", "error"}


def explained(handler, payload, **parameters) -> tuple[int, dict]:
    """The status and the body of the answer. A payload that is not bytes is the value of `inputs`."""
    if isinstance(payload, bytes):
        row = RawRequest({"data": payload, "parameters": json.dumps(parameters)}, "multipart/form-data; boundary=x", explain=True)
    else:
        row = RawRequest({"body": {"inputs": payload, "parameters": parameters}}, "application/json", explain=True)
    (answer,) = handler.answer([row]).answers
    return answer.code, json.loads(answer.body)


def good(handler, payload, **parameters) -> dict:
    code, body = explained(handler, payload, **parameters)
    assert code == 200, body
    assert body.keys() >= COMMON
    return body


def refused(handler, payload, **parameters) -> str:
    """The message of a 422."""
    code, body = explained(handler, payload, **parameters)
    assert code == 422, body
    return body["message"]


def opened(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


def signed(answer: dict) -> np.ndarray:
    """The heat map as numbers; zero is nothing."""
    return (np.asarray(opened(answer["heatmap"])).astype(float) - 128) / 127 * answer["scale"]


def is_additive(answer: dict, weights: list[float], within: float = 1e-3) -> bool:
    return abs(sum(weights) - (answer["target_score"] - answer["baseline_score"])) <= within
