"""The three steps of the work, so that each server does each of them where its documentation does."""

from collections.abc import Sequence
from typing import Any


class Steps:
    """What a form of the work has to say."""

    def decode(self, payload: bytes) -> Any:
        """One request's body -> one sample."""
        raise NotImplementedError

    def infer(self, samples: list) -> list:
        """A batch's samples -> one output each."""
        raise NotImplementedError

    def answer(self, output: Any) -> list[dict]:
        """One output -> `[{"label", "score"}, ...]`, best first."""
        raise NotImplementedError

    def decode_all(self, payloads: Sequence[bytes]) -> list:
        return [self.decode(payload) for payload in payloads]

    def predict(self, payloads: Sequence[bytes]) -> list[list[dict]]:
        """All of it, for servers that batch the bodies."""
        return [self.answer(output) for output in self.infer(self.decode_all(payloads))]
