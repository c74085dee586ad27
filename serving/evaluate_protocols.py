"""The protocols in which a test set can be sent: a native body -> the protocol's, and its answer -> the native one.

This is a caller's side, written from the protocols' documents. It shares no code with `handlers/protocols.py`, so that a mistake
there is found.
"""

import base64
import json
import struct
from collections.abc import Callable
from itertools import accumulate, pairwise
from math import prod
from pathlib import Path
from typing import Any

import msgspec
import requests

from serving.client import BYTES, TYPES
from serving.describe import archive_of, description
from serving.errors import ServerError
from serving.state import StateDir

JSON, TEXT = TYPES[".json"], TYPES[".txt"]
HEADER = "Inference-Header-Content-Length"  # where a body's JSON ends and its binary tensors begin

FORMATS = {"FP32": "f", "INT32": "i"}  # struct's names

# What `Client.predict` takes after the model: the body, its content type, the version, the address, more headers.
Asked = tuple[bytes, str, str | None, str, dict[str, str]]


class Speaker(msgspec.Struct, frozen=True):
    """One protocol, for one model."""

    ask: Callable[[bytes, str], Asked]
    hear: Callable[[requests.Response], Any]


def speaker(home: StateDir, model: str, version: str | None, protocol: str, archive: Path | None = None) -> Speaker:
    """
    Args:
        archive: of the model; without it, TorchServe is asked for the one that it hosts.

    Raises:
        ServerError: a version in a protocol whose addresses have none.
    """
    if protocol == "native":
        return Speaker(lambda body, kind: (body, kind, version, "predictions", {}), requests.Response.json)
    if version:
        raise ServerError(f"--version {version}: TorchServe has no versions in {protocol}'s addresses; leave it out")
    described = description(archive or archive_of(home, Path(home.require().model_store), model, None))
    return PROTOCOLS[protocol](described["v2"]["inputs"])


# --- v1


def v1(_: list[dict]) -> Speaker:
    return Speaker(ask_v1, lambda answer: answer.json()["predictions"][0])


def ask_v1(body: bytes, kind: str) -> Asked:
    value: Any
    options: dict[str, Any] = {}
    if kind == JSON:
        given = json.loads(body)
        value, options = given["inputs"], {"parameters": given["parameters"]} if given.get("parameters") else {}
    else:
        value = body.decode() if kind == TEXT else {"b64": base64.b64encode(body).decode()}
    return json.dumps({"instances": [value]} | options).encode(), JSON, None, "v1", {}


# --- v2


def v2(inputs: list[dict]) -> Speaker:
    """
    Args:
        inputs: the tensors of the model's metadata.
    """
    return Speaker(lambda body, kind: ask_v2(inputs, body, kind), lambda answer: native(tensors_of(answer)))


def ask_v2(inputs: list[dict], body: bytes, kind: str) -> Asked:
    """A file's bytes go as binary data after the JSON, everything else in JSON."""
    if kind not in (JSON, TEXT):
        packed = struct.pack("<I", len(body)) + body
        head = {"name": inputs[0]["name"], "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(packed)}}
        asked = json.dumps({"inputs": [head], "parameters": {"binary_data_output": True}}).encode()
        return asked + packed, BYTES, None, "v2", {HEADER: str(len(asked))}
    options: dict[str, Any] = {}
    if kind == TEXT:
        tensors = [{"name": inputs[0]["name"], "datatype": "BYTES", "shape": [1], "data": [body.decode()]}]
    else:
        given = json.loads(body)
        tensors = [tensor(one, given["inputs"]) for one in inputs]
        options = {"parameters": given["parameters"]} if given.get("parameters") else {}
    return json.dumps({"inputs": tensors} | options).encode(), JSON, None, "v2", {}


def tensor(metadata: dict, given: Any) -> dict[str, Any]:
    """One tensor of an input: a series is a row of it, a column has one value, and a list of lists keeps its axes."""
    if isinstance(given, list):
        shape, flat = [1, len(given)], given
    elif isinstance(given[metadata["name"]], list):
        value = given[metadata["name"]]
        shape = [len(value), len(value[0]) if value else max(metadata["shape"][1], 0)]
        flat = [one for row in value for one in row]
    else:
        shape, flat = [1], [given[metadata["name"]]]
    return {"name": metadata["name"], "datatype": metadata["datatype"], "shape": shape, "data": flat}


def tensors_of(answer: requests.Response) -> dict[str, tuple[list[int], list]]:
    """The shape and the flat values of each tensor of an answer, by name."""
    length = int(answer.headers.get(HEADER, len(answer.content)))
    outputs = json.loads(answer.content[:length])["outputs"]
    sizes = [one.get("parameters", {}).get("binary_data_size", 0) for one in outputs]
    pieces = [answer.content[start:end] for start, end in pairwise(accumulate(sizes, initial=length))]
    return {
        one["name"]: (one["shape"], one["data"] if "data" in one else values(piece, one["datatype"], prod(one["shape"])))
        for one, piece in zip(outputs, pieces, strict=True)
    }


def values(content: bytes, datatype: str, count: int) -> list:
    """Binary data -> the tensor's values."""
    if datatype != "BYTES":
        return list(struct.unpack(f"<{count}{FORMATS[datatype]}", content))
    found, start = [], 0
    for _ in range(count):
        (length,) = struct.unpack_from("<I", content, start)
        found.append(content[start + 4 : start + 4 + length].decode())
        start += 4 + length
    return found


def native(tensors: dict[str, tuple[list[int], list]]) -> Any:
    """The first input's answer in the native shape."""
    if "answers" in tensors:
        return json.loads(tensors["answers"][1][0])
    if "embeddings" in tensors:
        return tensors["embeddings"][1]
    if "labels" not in tensors:
        return {name: flat[0] if len(shape) == 1 else flat for name, (shape, flat) in tensors.items()}
    count = tensors["counts"][1][0] if "counts" in tensors else tensors["labels"][0][1]
    corners = ("xmin", "ymin", "xmax", "ymax")
    entries = [{"label": tensors["labels"][1][index], "score": tensors["scores"][1][index]} for index in range(count)]
    for index, entry in enumerate(entries):
        if "boxes" in tensors:
            entry["box"] = dict(zip(corners, tensors["boxes"][1][4 * index : 4 * index + 4], strict=True))
        if "masks" in tensors:
            entry["mask"] = tensors["masks"][1][index]
    return entries


PROTOCOLS: dict[str, Callable[[list[dict]], Speaker]] = {"v1": v1, "v2": v2}
