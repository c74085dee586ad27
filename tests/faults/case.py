"""One request of a chaos: what is sent, and what must come back.

Knows nothing of how it is sent, nor of why it was made so.
"""

import json
from typing import Any

import msgspec

TOLERANCE = 1e-3  # of a score
REFUSED = frozenset(range(400, 500))


class Best(msgspec.Struct, frozen=True):
    """The right answer, found offline.

    Args:
        label: the best one.
        score: its probability.
        count: how many labels come back; None where an explanation is asked for.
    """

    label: str
    score: float
    count: int | None = 5


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """
    Args:
        kind: of the table of figures.
        statuses: any of these is right.
        best: the right answer, where 200 is among them.
        says: must stand in the message of a refusal.
        is_unread: refused by TorchServe's HTTP library before it has read everything: perhaps without a body, and it may cut the
            connection while the caller still sends.
    """

    kind: str
    model: str
    body: bytes = b""
    headers: dict[str, str] = {}
    statuses: frozenset[int] = frozenset({200})
    best: Best | None = None
    says: str = ""
    method: str = "POST"
    path: str = "/predictions/{model}"
    is_unread: bool = False

    @property
    def is_good(self) -> bool:
        return 200 in self.statuses


def fault(case: Case, status: int, body: bytes) -> str | None:
    """What is wrong with an answer; None if it is right."""
    if status not in case.statuses:
        return f"{status}, not one of {sorted(case.statuses)[:5]}: {body[:300]!r}"
    if case.is_unread and not body:
        return None
    try:
        answer = json.loads(body, parse_constant=not_json)
    except ValueError as error:
        return f"{status} with a body that is not JSON ({error}): {body[:300]!r}"
    return wrong_answer(case.best, answer) if status == 200 else wrong_refusal(case, status, answer)


def wrong_answer(best: Best | None, answer: Any) -> str | None:
    if best is None:
        return f"answered, which offline it is not: {answer}"
    first, count = (answer, None) if isinstance(answer, dict) else (answer[0], len(answer))
    if first["label"] != best.label or abs(first["score"] - best.score) > TOLERANCE or count != best.count:
        return f"{count} labels, first {first['label']} {first['score']:.4f}; offline {best}"
    return None


def wrong_refusal(case: Case, status: int, answer: Any) -> str | None:
    message = answer.get("message")
    if not isinstance(message, str) or not message.strip() or answer.get("code") != status or "Traceback" in message:
        return f"{status} that does not say why: {answer}"
    return None if case.says in message else f"{status} says {message!r}, not {case.says!r}"


def not_json(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
