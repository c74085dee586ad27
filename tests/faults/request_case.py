"""One request to a server, and the answer that must come back."""

import json
from typing import Any

import msgspec

TOLERANCE = 1e-3  # of a score
REFUSED = frozenset(range(400, 500))


class Expected(msgspec.Struct, frozen=True):
    """The right answer, computed without a server.

    Args:
        label: the first label.
        score: its probability.
        count: the number of labels; None for an explanation.
    """

    label: str
    score: float
    count: int | None = 5


class RequestCase(msgspec.Struct, frozen=True, kw_only=True):
    """
    Args:
        kind: the row of the report that counts this request.
        statuses: the right statuses.
        expected: the right answer, if 200 is one of `statuses`.
        message: part of the message of a refusal.
        is_unread: TorchServe's HTTP library refuses this request before it has read all of it. It may answer without a body,
            and may close the connection while the caller still sends.
    """

    kind: str
    model: str
    body: bytes = b""
    headers: dict[str, str] = {}
    statuses: frozenset[int] = frozenset({200})
    expected: Expected | None = None
    message: str = ""
    method: str = "POST"
    path: str = "/predictions/{model}"
    is_unread: bool = False

    @property
    def is_valid(self) -> bool:
        return 200 in self.statuses


def fault(case: RequestCase, status: int, body: bytes) -> str | None:
    """What is wrong with an answer; None if it is right."""
    if status not in case.statuses:
        return f"{status}, not one of {sorted(case.statuses)[:5]}: {body[:300]!r}"
    if case.is_unread and not body:
        return None
    try:
        answer = json.loads(body, parse_constant=refuse_constant)
    except ValueError as error:
        return f"{status} with a body that is not JSON ({error}): {body[:300]!r}"
    return wrong_answer(case.expected, answer) if status == 200 else wrong_refusal(case, status, answer)


def wrong_answer(expected: Expected | None, answer: Any) -> str | None:
    if expected is None:
        return f"answered, but the model without a server refuses it: {answer}"
    first, count = (answer, None) if isinstance(answer, dict) else (answer[0], len(answer))
    if first["label"] != expected.label or abs(first["score"] - expected.score) > TOLERANCE or count != expected.count:
        return f"{count} labels, first {first['label']} {first['score']:.4f}; expected {expected}"
    return None


def wrong_refusal(case: RequestCase, status: int, answer: Any) -> str | None:
    message = answer.get("message")
    if not isinstance(message, str) or not message.strip() or answer.get("code") != status or "Traceback" in message:
        return f"{status} that does not say why: {answer}"
    return None if case.message in message else f"{status} says {message!r}, not {case.message!r}"


def refuse_constant(name: str) -> None:
    """NaN and Infinity are not JSON, but Python's parser takes them."""
    raise ValueError(f"{name} is not JSON")
