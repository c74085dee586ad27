"""Callers that send requests to one model until they are stopped, and the result of each request.

Half of them are bare: a new connection for each request, and no second try. The others use the bundle's client.
"""

import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any

import msgspec
import requests

from model_defs.answer_diff import difference
from serving.client import Client
from serving.state import ServerError
from tests.bundle import Bundle, wait_for

TOLERANCE = 1e-3  # of a score
CALLERS = 4  # bare ones, and as many with the client
PACE = 0.005  # seconds
TIMEOUT = 60  # seconds for one answer
RIGHT = "right"


class Outcome(msgspec.Struct):
    """Of one request: when it was sent (seconds of the monotonic clock), how long it took, and the result."""

    sent: float
    seconds: float
    result: str


class SteadyLoad:
    """A steady load on one model, as long as the `with` block runs.

    Args:
        bundle: the server. It may end and start again meanwhile.
        model: the load sends its samples.
        pace: seconds between two requests of one caller.
    """

    def __init__(self, bundle: Bundle, model: str, pace: float = PACE):
        self.bundle, self.model, self.pace = bundle, model, pace
        self.samples = bundle.samples(model)
        self.bare: list[Outcome] = []
        self.through_client: list[Outcome] = []
        self.is_over = threading.Event()
        kinds = [(self.ask_bare, self.bare), (self.ask_through_client, self.through_client)] * CALLERS
        self.right_answers = [0] * len(kinds)  # of each caller
        self.threads = [threading.Thread(target=self.call, args=(index, *kind), daemon=True) for index, kind in enumerate(kinds)]

    def __enter__(self) -> "SteadyLoad":
        for thread in self.threads:
            thread.start()
        self.wait_for_answers()
        return self

    def __exit__(self, *_: Any) -> None:
        self.is_over.set()
        for thread in self.threads:
            thread.join(TIMEOUT + 30)

    def wait_for_answers(self, count: int = 1) -> None:
        """Return when each caller has got `count` more right answers."""
        wanted = [answers + count for answers in self.right_answers]
        wait_for(lambda: all(have >= want for have, want in zip(self.right_answers, wanted, strict=True)), TIMEOUT + count)

    def call(self, index: int, ask: Callable[[Client, dict, bytes], str], outcomes: list[Outcome]) -> None:
        client, first = Client.of(self.bundle.home), index % len(self.samples)
        for entry, payload in cycle(self.samples[first:] + self.samples[:first]):
            if self.is_over.wait(self.pace):
                return
            sent = time.monotonic()
            result = ask(client, entry, payload)
            outcomes.append(Outcome(sent, time.monotonic() - sent, result))
            self.right_answers[index] += result == RIGHT

    def ask_bare(self, client: Client, entry: dict, payload: bytes) -> str:
        headers = client.token("inference") | {"Content-Type": self.bundle.content_type(self.model), "Connection": "close"}
        verify = client.server.certificate or True
        try:
            answer = requests.post(client.url(self.model), data=payload, headers=headers, timeout=TIMEOUT, verify=verify)
        except requests.ConnectionError as error:
            client.look_again()
            return "connection refused" if "refused" in str(error) else "no answer"
        except requests.Timeout:
            return "timeout"
        if answer.status_code == 400:
            client.look_again()  # a server that was started again has other tokens
        return result_of(answer, entry)

    def ask_through_client(self, client: Client, entry: dict, payload: bytes) -> str:
        try:
            return result_of(client.predict(self.model, payload, self.bundle.content_type(self.model)), entry)
        except ServerError as error:
            return f"no answer: {error}"

    def latencies(self) -> list[float]:
        """Seconds of the bare callers' right answers, in ascending order."""
        return sorted(outcome.seconds for outcome in self.bare if outcome.result == RIGHT)

    def latency_text(self) -> str:
        seconds = self.latencies()
        return f"p50 {1e3 * statistics.median(seconds):.0f} ms, p99 {1e3 * quantile(seconds, 0.99):.0f} ms"

    def losses(self) -> list[str]:
        """When each lost request was sent, in seconds since the first one, and what came."""
        first = min(outcome.sent for outcome in self.bare)
        lost = [outcome for outcome in [*self.bare, *self.through_client] if outcome.result != RIGHT]
        return [f"{outcome.sent - first:.1f} s: {outcome.result}" for outcome in lost]

    def lost_bare(self) -> Counter:
        return Counter(outcome.result for outcome in self.bare if outcome.result != RIGHT)

    def lost_through_client(self) -> Counter:
        return Counter(outcome.result for outcome in self.through_client if outcome.result != RIGHT)

    def sent(self) -> int:
        return len(self.bare) + len(self.through_client)


def quantile(ascending: Sequence[float], share: float) -> float:
    return ascending[int(share * (len(ascending) - 1))]


def result_of(answer: requests.Response, entry: dict) -> str:
    """`RIGHT`, or what came instead of the right answer."""
    if answer.status_code != 200:
        try:
            return f"{answer.status_code} {answer.json()['type']}"
        except (ValueError, KeyError, TypeError):
            return f"{answer.status_code} {answer.text[:80]!r}"
    wrong = difference(answer.json(), entry["answer"], TOLERANCE)
    return f"wrong: {wrong}" if wrong else RIGHT
