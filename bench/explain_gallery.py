"""Pictures of explanations of a few test inputs, for the artifact's `report/` and for the docs."""

import base64
import json
from pathlib import Path

from handlers.base import Handler
from handlers.request import RawRequest


def write(handler: Handler, folder: Path, most: int) -> list[Path]:
    """Explain the first inputs of the test set that can be explained, and write a picture of each. Returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for sample, payload in handler.artifact.test_set():
        if len(written) == most:
            break
        (answer,) = handler.answer([shown(payload, Path(sample.file).suffix)]).answers
        if answer.code == 200:
            written.append(folder / f"{Path(sample.file).stem}.png")
            written[-1].write_bytes(base64.b64decode(json.loads(answer.body)["picture"]))
    return written


def shown(payload: bytes, suffix: str) -> RawRequest:
    """A request for an explanation with a picture."""
    if suffix == ".json":
        body = json.loads(payload) | {"parameters": {"show": True}}
        return RawRequest({"body": body}, "application/json", explain=True)
    return RawRequest({"data": payload, "show": "true"}, "multipart/form-data; boundary=x", explain=True)
