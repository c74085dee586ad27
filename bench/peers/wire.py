"""Each peer's wire format: the path, the headers, the body around a file, and where an answer has labels and scores."""

import base64
import difflib
import json
import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec

BYTES = "application/octet-stream"
BOUNDARY = "picture-of-the-bench"  # of the multipart form


class Wire(msgspec.Struct, frozen=True):
    """
    Args:
        path: of the POST.
        headers: of each request.
        wrap: a file's bytes -> the request's body.
        read: an answer's body -> `[{"label", "score"}, ...]`, best first.
        is_for_pictures: whether the peer's service takes pictures only, as it is written here.
    """

    path: str = "/predict"
    headers: Mapping[str, str] = MappingProxyType({"Content-Type": BYTES})
    wrap: Callable[[bytes], bytes] = bytes
    read: Callable[[bytes], list[dict]] = json.loads
    is_for_pictures: bool = False

    def answer(self, body: bytes) -> list[dict]:
        """
        Raises:
            ValueError: the body is not an answer of this peer.
        """
        try:
            return [{"label": str(entry["label"]), "score": float(entry["score"])} for entry in self.read(body)]
        except (ValueError, TypeError, KeyError, IndexError, struct.error) as error:
            raise ValueError(f"not an answer: {body[:200]!r} ({error!r})") from None


def form(picture: bytes) -> bytes:
    """A multipart form with the picture as its only file."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="pictures"; filename="picture.jpg"\r\n'
    return f"{head}Content-Type: image/jpeg\r\n\r\n".encode() + picture + f"\r\n--{BOUNDARY}--\r\n".encode()


def v2_request(file: bytes) -> bytes:
    """A V2 request with a file in base64 as its only input."""
    text = base64.b64encode(file).decode()
    given = {"name": "file", "shape": [1, 1], "datatype": "BYTES", "parameters": {"content_type": "base64"}, "data": [text]}
    return json.dumps({"inputs": [given]}).encode()


def v2_answer(body: bytes) -> list[dict]:
    """V2 JSON with the outputs `label` and `score`."""
    return rows({output["name"]: output["data"] for output in json.loads(body)["outputs"]})


def binary_answer(body: bytes) -> list[dict]:
    """V2 with Triton's binary tensor extension: JSON with the size of each output in bytes, then these bytes in order."""
    head, offset = json.JSONDecoder().raw_decode(body.decode("latin-1"))  # in Latin-1 each byte is a character
    columns = {}
    for output in head["outputs"]:
        size = output["parameters"]["binary_data_size"]
        columns[output["name"]] = BINARY[output["datatype"]](body[offset : offset + size])
        offset += size
    return rows(columns)


def binary_texts(content: bytes) -> list[str]:
    """Texts with their length before each, as Triton writes BYTES."""
    texts, offset = [], 0
    while offset < len(content):
        (length,) = struct.unpack_from("<I", content, offset)
        texts.append(content[offset + 4 : offset + 4 + length].decode())
        offset += 4 + length
    return texts


BINARY = {"BYTES": binary_texts, "FP32": lambda content: [value for (value,) in struct.iter_unpack("<f", content)]}


def rows(columns: dict[str, list]) -> list[dict]:
    return [{"label": label, "score": score} for label, score in zip(columns["label"], columns["score"], strict=True)]


V2 = "/v2/models/classifier/infer"
PEERS = {
    "fastapi": Wire(),
    "litserve": Wire(),
    "bentoml": Wire(
        headers={"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
        wrap=form,
        read=lambda body: json.loads(body)[0],
        is_for_pictures=True,
    ),
    "mlserver": Wire(V2, {"Content-Type": "application/json"}, v2_request, v2_answer),
    "ray_serve": Wire("/"),
    "pytriton": Wire(V2, {"Content-Type": BYTES, "Inference-Header-Content-Length": "0"}, read=binary_answer),
    "mosec": Wire("/inference"),
}


def wire(name: str) -> Wire:
    """
    Raises:
        ValueError: no such peer; the message names the nearest, or all.
    """
    if name not in PEERS:
        near = difflib.get_close_matches(name, PEERS, n=1)
        raise ValueError(f"no peer {name!r}; " + (f"did you mean {near[0]!r}?" if near else f"known: {', '.join(PEERS)}"))
    return PEERS[name]
