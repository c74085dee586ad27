"""Requests that must be answered: the test sets in every body form of the wire, and every file that the libraries read."""

import base64
import json
import random
import zipfile
from pathlib import Path

import torch
from urllib3.filepost import encode_multipart_formdata

from model_defs.artifact import Artifact
from model_defs.errors import InputError
from tests.faults.case import Best, Case

BYTES = {"Content-Type": "application/octet-stream"}
JSON = {"Content-Type": "application/json"}
TEXT = {"Content-Type": "text/plain; charset=utf-8"}


class Offline:
    """A model without a server: its network, transform and test set."""

    def __init__(self, folder: Path):
        artifact = Artifact.read(folder)
        self.name, self.labels = artifact.name, artifact.labels
        self.network, self.transform = artifact.build_network(), artifact.build_transform()
        self.is_text = self.name == "intents"
        with zipfile.ZipFile(folder / "test.zip") as file:
            entries = json.loads(file.read("expected.json"))
            self.test_set = [(Best(**entry["answer"][0]), file.read(entry["file"])) for entry in entries]

    def best(self, payload: bytes) -> Best | None:
        """The answer; None where there is none."""
        try:
            inputs = self.transform.collate([self.transform(payload)])
        except InputError:
            return None
        with torch.inference_mode():
            score, place = self.network(*inputs).softmax(-1)[0].max(0)
        return Best(self.labels[place], float(score))


def raw(payload: bytes, is_text: bool, top_k: int) -> tuple[bytes, dict, int]:
    return payload, TEXT if is_text else BYTES, 5


def untyped(payload: bytes, is_text: bool, top_k: int) -> tuple[bytes, dict, int]:
    return payload, {}, 5


def json_body(payload: bytes, is_text: bool, top_k: int) -> tuple[bytes, dict, int]:
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


FORMS = {
    "bytes": raw,
    "bytes without a content type": untyped,
    "JSON with parameters": json_body,
    "JSON without": plain_json,
    "form": form,
    "form with parameters": form_with_parameters,
    "form with parameters in JSON": form_with_json,
}


def in_a_form(model: Offline, form: str, best: Best, payload: bytes, top_k: int) -> Case:
    body, headers, wanted = FORMS[form](payload, model.is_text, top_k)
    best = Best(best.label, best.score, min(wanted, len(model.labels)))
    return Case(kind=f"good: {form}", model=model.name, body=body, headers=headers, best=best)


def good(models: list[Offline], count: int, rng: random.Random) -> list[Case]:
    """All models and body forms in turn, any input of the test sets."""
    forms = list(FORMS)
    return [
        in_a_form(model, forms[place // len(models) % len(forms)], *rng.choice(model.test_set), top_k=rng.randint(1, 1000))
        for place in range(count)
        for model in [models[place % len(models)]]
    ]
