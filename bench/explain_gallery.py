"""Pictures of explanations of a few test inputs, for the artifact's `report/` and for the docs."""

import base64
import json
from pathlib import Path

from bench.explain_subjects import spread
from handlers.base import Handler
from handlers.request import RawRequest


def write(handler: Handler, folder: Path, most: int) -> list[Path]:
    """Explain some inputs from all over the test set, and write a picture of each. Returns the files.

    An input that cannot be explained, such as a picture without objects, is replaced by the next one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    test_set, written = handler.artifact.test_set(), dict[str, Path]()
    for sample, payload in [*spread(test_set, most), *test_set]:
        if len(written) == most:
            break
        if sample.file in written:
            continue
        (answer,) = handler.answer([shown(payload, Path(sample.file).suffix)]).answers
        if answer.code == 200:
            written[sample.file] = folder / f"{Path(sample.file).stem}.png"
            written[sample.file].write_bytes(base64.b64decode(json.loads(answer.body)["picture"]))
    return list(written.values())


def shown(payload: bytes, suffix: str) -> RawRequest:
    """A request for an explanation with a picture."""
    if suffix == ".json":
        body = json.loads(payload) | {"parameters": {"show": True}}
        return RawRequest({"body": body}, "application/json", explain=True)
    return RawRequest({"data": payload, "show": "true"}, "multipart/form-data; boundary=x", explain=True)
