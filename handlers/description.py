"""What a model takes and gives, as data: `description.json` in its archive.

Whoever asks reads that file; nothing must run for it. TorchServe's `GET /models/<model>?customized=true` answers with it,
`make describe` prints it, and `make openapi` joins those of all models.
"""

import base64
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from handlers import comparison_report
from handlers.answer_tensors import Output, outputs_of
from handlers.request import Kind
from handlers.tensors import BYTES, WHOLE
from model_defs.artifact import Artifact, Sample
from model_defs.bundle_format import DESCRIPTION, SAMPLES, WEIGHTS
from model_defs.json_input import inputs_of

if TYPE_CHECKING:
    from handlers.base import Handler

DATATYPES = {"number": "FP64", "integer": "INT64", "boolean": "BOOL", "string": BYTES}
ERROR = {
    "type": "object",
    "properties": {
        "code": {"type": "integer", "description": "the HTTP status"},
        "type": {"type": "string", "description": "the status in words"},
        "message": {"type": "string", "description": "what was given, what was expected, what to do"},
    },
    "required": ["code", "type", "message"],
}
PLATFORM = "pytorch_torchserve_bundle"  # <framework>_<what serves it>, as v2 has it


def describe(handler: "Handler") -> dict[str, Any]:
    """The description of a loaded handler, without the version of the archive; see `stamp`."""
    artifact, kind, settings = handler.artifact, handler.accepts, handler.settings
    sample, payload = smallest(artifact)
    schema = input_schema(handler)
    explanations = handler.ExplanationParameters
    compared = comparison_report.read(artifact.folder)
    weights = artifact.folder / WEIGHTS
    return {
        "name": artifact.name,
        "version": "",
        "handler": settings.class_path,
        "accepts": kind.name,
        "media_types": [*kind.media],
        "how": kind.hint,
        "input": {"schema": schema, "example": example_of(kind, payload), "file": f"{SAMPLES}/{sample.file}"},
        "max_inputs": settings.max_inputs,
        "takes_a_list": not kind.is_list,
        "form_fields": [*kind.parts] or ["data"],
        "parameters": msgspec.json.schema(handler.Parameters),
        "defaults": defaults(handler.Parameters),
        "answer": {"schema": msgspec.json.schema(handler.Prediction), "example": sample.answer},
        "error": {"schema": ERROR, "example": {"code": 422, "type": "UnprocessableEntity", "message": "no parameter 'topk'"}},
        "explanation_parameters": explanations and msgspec.json.schema(explanations),
        "labels": artifact.labels,
        "metrics": artifact.metrics,
        "data": artifact.data,
        "network": artifact.network["class_path"],
        "transform": artifact.transform["class_path"],
        "versions": artifact.versions,
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest() if weights.exists() else None,
        "runtime": settings.runtime,
        "precision": settings.precision,
        "comparison": compared and msgspec.to_builtins(compared),
        "tolerance": handler.tolerance,
        "v2": metadata(artifact.name, kind, schema, outputs_of(handler.Prediction)),
    }


def write(handler: "Handler") -> None:
    """Write the description into the handler's staged archive."""
    text = json.dumps(describe(handler), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    (handler.artifact.folder / DESCRIPTION).write_text(text, encoding="utf-8")


def stamp(folder: Path, name: str, version: str) -> None:
    """Set the archive's name and version in a staged description, once they are known."""
    file = folder / DESCRIPTION
    known = json.loads(file.read_bytes())
    known |= {"name": name, "version": version}
    known["v2"] |= {"name": name, "versions": [version]}
    file.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(folder: Path) -> bytes | None:
    """The description in an unpacked archive; None in an artifact, or in an archive of an older bundle."""
    file = folder / DESCRIPTION
    return file.read_bytes() if file.exists() else None


def identity(artifact: Artifact) -> tuple[str, str]:
    """The model's name and version, "" if it is not in an archive."""
    written = read(artifact.folder)
    if written is None:
        return artifact.name, ""
    known = json.loads(written)
    return known["name"], known["version"]


def smallest(artifact: Artifact) -> tuple[Sample, bytes]:
    """The sample with the fewest bytes."""
    return min(artifact.samples(), key=lambda pair: len(pair[1]))


def input_schema(handler: "Handler") -> dict[str, Any]:
    """The JSON schema of one input, as the value of `inputs`."""
    kind = handler.accepts
    if kind.is_text:
        return {"type": "string"}
    if kind.is_json:
        return handler.transform.schema()
    return {"type": "string", "contentEncoding": "base64", "contentMediaType": f"{kind.media[0]}*"}


def defaults(parameters: type[msgspec.Struct]) -> dict[str, Any]:
    """The parameters that a request need not have, with their values then."""
    known = {field.name: field.default for field in msgspec.structs.fields(parameters)}
    return {name: msgspec.to_builtins(value) for name, value in known.items() if value is not msgspec.NODEFAULT}


def example_of(kind: Kind, payload: bytes) -> Any:
    """A sample's bytes as the value of `inputs`."""
    if kind.is_text:
        return payload.decode()
    return inputs_of(json.loads(payload)) if kind.is_json else base64.b64encode(payload).decode()


# --- the metadata of the Open Inference Protocol


def metadata(name: str, kind: Kind, schema: dict, outputs: tuple[Output, ...]) -> dict[str, Any]:
    """The answer to `GET /v2/models/<model>`. -1 is an axis of any length, and the first axis is the inputs."""
    given = [{"name": each.name, "datatype": each.datatype, "shape": [-1, *each.axes]} for each in outputs]
    return {
        "name": name,
        "versions": [],
        "platform": PLATFORM,
        "inputs": input_tensors(kind, schema),
        "outputs": given,
    }


def input_tensors(kind: Kind, schema: dict) -> list[dict[str, Any]]:
    """The tensors of a request, by the schema of one input."""
    if kind.tensors == "series":
        return [{"name": WHOLE, "datatype": "FP64", "shape": [-1, -1]}]
    if kind.tensors == "elements" or not schema.get("properties"):
        return [{"name": WHOLE, "datatype": BYTES, "shape": [-1]}]
    first = [-1] if kind.tensors == "columns" else []
    return [tensor(name, each, first) for name, each in schema["properties"].items()]


def tensor(name: str, schema: dict, first: list[int]) -> dict[str, Any]:
    """One property's tensor: an array is an axis, of a fixed length if the schema fixes it."""
    shape = list(first)
    while schema.get("type") == "array":
        is_fixed = schema.get("minItems") is not None and schema.get("minItems") == schema.get("maxItems")
        shape.append(schema["minItems"] if is_fixed else -1)
        schema = schema["items"]
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return {"name": name, "datatype": DATATYPES[kinds[0]], "shape": shape}
