"""Bodies of the platforms' protocols, right and then changed at random: other values, keys, lengths and bytes."""

import copy
import json
import random
import struct
from typing import Any

from handlers.open_inference import HEADER

JSON = {"Content-Type": "application/json"}
VALUES = [
    *(None, True, -1, 0, 2**70, 1e308, "", "a", "b64", "é" * 50, "\ud800", "x" * 5_000, [], {}, [[]], [None], {"": None}),
    *([0] * 200, {"b64": "!!"}, {"error": 1}, [{"name": 1}], {"binary_data_size": -5}, "FP32", "INT64", [10**12], [-1], [0]),
]
KEYS = ["instances", "inputs", "parameters", "data", "shape", "datatype", "name", "id", "outputs", "b64", "x"]


def right(protocol: str, text: str) -> Any:
    """A right body for a model of texts."""
    tensor = {"name": "inputs", "datatype": "BYTES", "shape": [2], "data": [text, "wake me"]}
    return {
        "v1": {"instances": [text, {"data": text}], "parameters": {"top_k": 2}},
        "vertex": {"instances": [{"b64": text}], "parameters": {"function_to_apply": "sigmoid"}},
        "v2": {"id": "1", "inputs": [tensor], "outputs": [{"name": "labels"}], "parameters": {"top_k": 2}},
        "sagemaker": {"instances": [text], "parameters": {"top_k": 1}},
        "native": {"inputs": [text, "wake me"], "parameters": {"top_k": 1}},
    }[protocol]


def changed_value(value: Any, chance: random.Random) -> Any:
    """A copy with one part replaced, removed, repeated or given another key."""
    value = copy.deepcopy(value)
    places = [*inner(value)]
    if not places or chance.random() < 0.05:
        return chance.choice(VALUES)
    parent, key = chance.choice(places)
    match chance.randrange(5):
        case 0:
            del parent[key]
        case 1 if isinstance(parent, dict):
            parent[chance.choice(KEYS)] = parent[key]
        case 1:
            parent += parent[key : key + 1] * chance.choice((1, 100))
        case 2:
            parent[key] = [parent[key]]
        case _:
            parent[key] = chance.choice(VALUES)
    return value


def inner(value: Any):
    """Each list or object in the value, with each of its keys."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in items:
        yield value, key
        yield from inner(one)


def changed_bytes(body: bytes, chance: random.Random) -> bytes:
    """The body cut off, with a byte changed, or with something put into it."""
    place = chance.randrange(len(body) + 1)
    return chance.choice([
        body[:place],
        body[:place] + bytes([chance.randrange(256)]) + body[place + 1 :],
        body[:place] + chance.choice([b"[" * 3_000, b"\0", b'"', b"\xff\xfe", b",", b"}"]) + body[place:],
        b"\xef\xbb\xbf" + body,
    ])  # fmt: skip


def binary(body: Any, chance: random.Random) -> tuple[bytes, dict[str, str]]:
    """A v2 body whose tensor follows the JSON, with lengths that may be wrong."""
    packed = b"".join(struct.pack("<I", length) + text for length, text in ((1, b"a"), (chance.choice((2, 2**31)), b"bc")))
    tensor = {"name": "inputs", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": chance.choice((11, 9, 0))}}
    head = json.dumps(body | {"inputs": [tensor]}).encode() if isinstance(body, dict) else b"{}"
    length = chance.choice((len(head), len(head), len(head) - 1, 0, 10**9, -3, "x", "9" * 40))
    return head + packed, {HEADER: str(length), "Content-Type": "application/octet-stream"}


def bodies(protocol: str, text: str, count: int, seed: int) -> list[tuple[bytes, dict[str, str]]]:
    """So many bodies, each with its headers."""
    chance, found = random.Random(seed), []
    while len(found) < count:
        value = right(protocol, text)
        for _ in range(chance.randrange(4)):
            value = changed_value(value, chance)
        body, headers = json.dumps(value).encode(), JSON
        if protocol == "v2" and chance.random() < 0.2:
            body, headers = binary(value, chance)
        if protocol == "sagemaker" and chance.random() < 0.3:
            body, headers = body + b"\n" + json.dumps(text).encode(), {"Content-Type": "application/jsonlines"}
        if chance.random() < 0.3:
            body = changed_bytes(body, chance)
        found.append((body, headers))
    return found
