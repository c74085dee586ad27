"""The three steps of the work. Each peer calls them where its own documentation puts such steps."""

from collections.abc import Sequence
from typing import Any


class Steps:
    """The base of each form of the work."""

    def decode(self, payload: bytes) -> Any:
        """One request's body -> one sample."""
        raise NotImplementedError

    def infer(self, samples: list) -> list:
        """The samples of a batch -> one output per sample."""
        raise NotImplementedError

    def answer(self, output: Any) -> list[dict]:
        """One output -> `[{"label", "score"}, ...]`, best first."""
        raise NotImplementedError

    def decode_all(self, payloads: Sequence[bytes]) -> list:
        return [self.decode(payload) for payload in payloads]

    def predict(self, payloads: Sequence[bytes]) -> list[list[dict]]:
        """All three steps, for servers that batch the request bodies."""
        return [self.answer(output) for output in self.infer(self.decode_all(payloads))]
