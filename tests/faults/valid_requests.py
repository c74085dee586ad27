"""Requests that a server must answer: inputs of the test sets in every body form that the bundle takes."""

import base64
import json
import random
import zipfile
from pathlib import Path

import torch
from urllib3.filepost import encode_multipart_formdata

from model_defs.artifact import Artifact
from model_defs.errors import InputError
from tests.faults.request_case import Expected, RequestCase

BYTES = {"Content-Type": "application/octet-stream"}
JSON = {"Content-Type": "application/json"}
TEXT = {"Content-Type": "text/plain; charset=utf-8"}


class OfflineModel:
    """A model without a server: its network, transform and test set."""

    def __init__(self, folder: Path):
        artifact = Artifact.read(folder)
        self.name, self.labels = artifact.name, artifact.labels
        self.network, self.transform = artifact.build_network(), artifact.build_transform()
        self.is_text = self.name == "intents"
        with zipfile.ZipFile(folder / "test.zip") as file:
            entries = json.loads(file.read("expected.json"))
            self.test_set = [(Expected(**entry["answer"][0]), file.read(entry["file"])) for entry in entries]

    def expected(self, payload: bytes) -> Expected | None:
        """The right answer; None if the transform refuses the payload."""
        try:
            inputs = self.transform.collate([self.transform(payload)])
        except InputError:
            return None
        with torch.inference_mode():
            score, class_id = self.network(*inputs).softmax(-1)[0].max(0)
        return Expected(self.labels[class_id], float(score))


# --- body forms: (payload, is_text, top_k) -> body, headers, how many labels come back at most


def raw(payload: bytes, is_text: bool, top_k: int) -> tuple[bytes, dict, int]:
    return payload, TEXT if is_text else BYTES, 5


def untyped(payload: bytes, is_text: bool, top_k: int) -> tuple[bytes, dict, int]:
    return payload, {}, 5


def json_with_parameters(payload: bytes, is_text: bool, top_k: int) -> tuple[bytes, dict, int]:
    inputs = payload.decode() if is_text else base64.b64encode(payload).decode()
    return json.dumps({"inputs": inputs, "parameters": {"top_k": top_k}}).encode(), JSON, top_k


def plain_json(payload: bytes, is_text: bool, top_k: int) -> tuple[bytes, dict, int]:
    inputs = payload.decode() if is_text else "data:;base64," + base64.encodebytes(payload).decode()
    return json.dumps({"inputs": inputs}, ensure_ascii=False).encode(), {"Content-Type": "application/json; charset=utf-8"}, 5


def form(payload: bytes, is_text: bool, top_k: int) -> tuple[bytes, dict, int]:
    return *multipart({"data": ("file", payload)}), 5


def form_with_parameters(payload: bytes, is_text: bool, top_k: int) -> tuple[bytes, dict, int]:
    return *multipart({"top_k": str(top_k), "inputs": ("file", payload), "function_to_apply": "softmax"}), top_k


def form_with_json(payload: bytes, is_text: bool, top_k: int) -> tuple[bytes, dict, int]:
    return *multipart({"body": ("file", payload), "parameters": json.dumps({"top_k": top_k})}), top_k


def multipart(fields: dict) -> tuple[bytes, dict]:
    body, content_type = encode_multipart_formdata(fields, boundary="a-boundary-of-the-tests")
    return body, {"Content-Type": content_type}


BODY_FORMS = {
    "bytes": raw,
    "bytes without a content type": untyped,
    "JSON with parameters": json_with_parameters,
    "JSON without": plain_json,
    "form": form,
    "form with parameters": form_with_parameters,
    "form with parameters in JSON": form_with_json,
}


def in_body_form(model: OfflineModel, name: str, expected: Expected, payload: bytes, top_k: int) -> RequestCase:
    body, headers, count = BODY_FORMS[name](payload, model.is_text, top_k)
    expected = Expected(expected.label, expected.score, min(count, len(model.labels)))
    return RequestCase(kind=f"good: {name}", model=model.name, body=body, headers=headers, expected=expected)


def valid_requests(models: list[OfflineModel], count: int, rng: random.Random) -> list[RequestCase]:
    """All models and body forms in turn, each with a random input of its model's test set."""
    names, requests = list(BODY_FORMS), []
    for index in range(count):
        model, name = models[index % len(models)], names[index // len(models) % len(names)]
        requests.append(in_body_form(model, name, *rng.choice(model.test_set), top_k=rng.randint(1, 1000)))
    return requests
