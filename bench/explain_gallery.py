"""Pictures of explanations of a few inputs, for the artifact's `report/` and for the docs."""

import base64
import json
from pathlib import Path

from bench.explain_subjects import Asked, spread
from handlers.base import Handler
from handlers.request import RawRequest


def write(handler: Handler, given: list[Asked], folder: Path, most: int) -> list[Path]:
    """Explain some of the inputs, from all over them, and write a picture of each. Returns the files.

    An input that cannot be explained, such as a picture without objects, is replaced by the next one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = dict[str, Path]()
    for one in [*spread(given, most), *given]:
        if len(written) == most:
            break
        if one.file in written:
            continue
        (answer,) = handler.answer([shown(one)]).answers
        if answer.code == 200:
            written[one.file] = folder / f"{Path(one.file).stem}.png"
            written[one.file].write_bytes(base64.b64decode(json.loads(answer.body)["picture"]))
    return list(written.values())


def shown(one: Asked) -> RawRequest:
    """A request for an explanation with a picture."""
    if one.file.endswith(".json"):
        body = json.loads(one.payload) | {"parameters": {"show": True, **one.parameters}}
        return RawRequest({"body": body}, "application/json", explain=True)
    return RawRequest({"data": one.payload, "show": "true", **one.parameters}, "multipart/form-data; boundary=x", explain=True)
