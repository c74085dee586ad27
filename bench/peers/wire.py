"""What each peer's wire looks like: the path, the headers, the body around a picture, and where its answer says label and score.

Knows nothing of processes, and imports no peer: it is read in our own environment.
"""

import base64
import difflib
import json
from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec

BYTES = "application/octet-stream"
BOUNDARY = "picture-of-the-bench"


class Wire(msgspec.Struct, frozen=True):
    """
    Args:
        path: of the POST.
        headers: of each request.
        wrap: a picture file's bytes -> the body.
        read: an answer's JSON -> `[{"label", "score"}, ...]`, best first.
    """

    path: str = "/predict"
    headers: Mapping[str, str] = MappingProxyType({"Content-Type": BYTES})
    wrap: Callable[[bytes], bytes] = bytes
    read: Callable[[object], list[dict]] = list

    def answer(self, body: bytes) -> list[dict]:
        """
        Raises:
            ValueError: the body is not an answer of this peer.
        """
        try:
            answer = self.read(json.loads(body))
            return [{"label": str(entry["label"]), "score": float(entry["score"])} for entry in answer]
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise ValueError(f"not an answer: {body[:200]!r} ({error!r})") from None


def form(picture: bytes) -> bytes:
    """The picture as the one file of a multipart form."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="pictures"; filename="picture.jpg"\r\n'
    return f"{head}Content-Type: image/jpeg\r\n\r\n".encode() + picture + f"\r\n--{BOUNDARY}--\r\n".encode()


def v2_request(picture: bytes) -> bytes:
    """The picture in base64 as the one input of a V2 request."""
    text = base64.b64encode(picture).decode()
    given = {"name": "picture", "shape": [1, 1], "datatype": "BYTES", "parameters": {"content_type": "base64"}, "data": [text]}
    return json.dumps({"inputs": [given]}).encode()


def v2_answer(answer: dict) -> list[dict]:
    """A V2 answer with the outputs `label` and `score`."""
    columns = {output["name"]: output["data"] for output in answer["outputs"]}
    return [{"label": label, "score": score} for label, score in zip(columns["label"], columns["score"], strict=True)]


V2 = "/v2/models/classifier/infer"
PEERS = {
    "fastapi": Wire(),
    "litserve": Wire(),
    "bentoml": Wire(
        headers={"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}, wrap=form, read=lambda answer: answer[0]
    ),
    "mlserver": Wire(V2, {"Content-Type": "application/json"}, v2_request, v2_answer),
    "ray_serve": Wire("/"),
    "pytriton": Wire(V2, {"Content-Type": BYTES, "Inference-Header-Content-Length": "0"}, read=v2_answer),
    "mosec": Wire("/inference"),
}


def wire(name: str) -> Wire:
    """
    Raises:
        ValueError: no such peer; the message says which there are.
    """
    if name not in PEERS:
        near = difflib.get_close_matches(name, PEERS, n=1)
        raise ValueError(f"no peer {name!r}; " + (f"did you mean {near[0]!r}?" if near else f"known: {', '.join(PEERS)}"))
    return PEERS[name]
