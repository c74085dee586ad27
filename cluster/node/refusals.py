"""Refusals that the engine gives, in TorchServe's words and JSON, so that a client meets the same ones on either engine."""

import hashlib
import hmac
import json
from typing import NamedTuple

JSON = "application/json"
RETRY_AFTER = "1"  # seconds; a queue of a hundred is mostly empty after that


class Reply(NamedTuple):
    """An HTTP answer."""

    body: bytes
    code: int = 200
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


def refusal(code: int, kind: str, message: str, *headers: tuple[str, str]) -> Reply:
    return Reply(json.dumps({"code": code, "type": kind, "message": message}).encode(), code, JSON, headers)


def healthy() -> Reply:
    """What TorchServe answers at /ping."""
    return Reply(b'{"status": "Healthy"}')


def state(name: str, is_so: bool) -> Reply:
    """The answer of a probe, such as `{"ready": true}`."""
    return Reply(json.dumps({name: is_so}).encode(), 200 if is_so else 503)


def no_model(name: str) -> Reply:
    return refusal(404, "ModelNotFoundException", f"Model not found: {name}")


def no_version(name: str, version: str) -> Reply:
    return refusal(404, "ModelVersionNotFoundException", f"Model version: {version} does not exist for model: {name}")


def no_resource() -> Reply:
    return refusal(404, "ResourceNotFoundException", "Requested resource is not found, please refer to API document.")


def wrong_method() -> Reply:
    return refusal(405, "MethodNotAllowedException", "Requested method is not allowed, please refer to API document.")


def wrong_key() -> Reply:
    said = "Token Authorization failed. Token either incorrect, expired, or not provided correctly"
    return refusal(400, "InvalidKeyException", said)


def too_large(limit: int) -> Reply:
    return refusal(413, "RequestEntityTooLarge", f"a body may have {limit:,} bytes; send a smaller input")


def queue_full(name: str, size: int) -> Reply:
    said = f'Model "{name}" has {size} requests waiting, which is the most that may wait; send the request again'
    return refusal(503, "ServiceUnavailableException", said, ("retry-after", RETRY_AFTER))


def no_replica(name: str) -> Reply:
    said = f'Model "{name}" has no replica to serve the request; send the request again'
    return refusal(503, "ServiceUnavailableException", said, ("retry-after", RETRY_AFTER))


def failed(request_id: str) -> Reply:
    said = f"the model failed on this request; the server's log says why under request {request_id}"
    return refusal(500, "InternalServerError", said)


def is_key(header: str, sha256: str) -> bool:
    """Whether an Authorization header bears the key with this SHA-256. An empty SHA-256 lets everybody in."""
    if not sha256:
        return True
    found = hashlib.sha256(header.removeprefix("Bearer ").encode(errors="replace")).hexdigest()
    return header.startswith("Bearer ") and hmac.compare_digest(found, sha256)
