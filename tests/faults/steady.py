"""Callers that go on until they are told to stop, and what became of each of their requests.

Half of them are bare: a new connection for each request, no second try. The others go through the bundle's client. Knows
nothing of what is done to the server meanwhile.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from itertools import cycle
from typing import Any

import msgspec
import requests

from model_defs.answer_diff import difference
from serving.client import Client
from serving.state import ServerError
from tests.bundle import Bundle

TOLERANCE = 1e-3  # of a score
PACE = 0.005  # seconds between two requests of one caller
PATIENCE = 60  # seconds for one answer
RIGHT = "right"


class Outcome(msgspec.Struct):
    """Of one request: when it was sent (seconds of the monotonic clock), how long it took, and what came of it."""

    sent: float
    seconds: float
    result: str


class Steady:
    """A steady load on one model, for as long as the `with` block lasts.

    Args:
        bundle: the server, which may end and be started anew meanwhile.
        model: whose samples are sent.
        callers: of each of the two sorts.
        pace: seconds between two requests of one caller.
    """

    def __init__(self, bundle: Bundle, model: str, callers: int = 4, pace: float = PACE):
        self.bundle, self.model, self.pace = bundle, model, pace
        self.samples = bundle.samples(model)
        self.bare: list[Outcome] = []
        self.through_client: list[Outcome] = []
        self.is_over = threading.Event()
        sorts = ((self.ask_bare, self.bare), (self.ask_through_client, self.through_client))
        self.threads = [
            threading.Thread(target=self.go_on, args=(place, *sort), daemon=True) for place in range(callers) for sort in sorts
        ]

    def __enter__(self) -> "Steady":
        for thread in self.threads:
            thread.start()
        time.sleep(1)
        return self

    def __exit__(self, *_: Any) -> None:
        self.is_over.set()
        for thread in self.threads:
            thread.join(PATIENCE + 30)

    def go_on(self, place: int, ask: Callable, outcomes: list[Outcome]) -> None:
        client = Client.of(self.bundle.home)
        for entry, payload in cycle(self.samples[place % len(self.samples) :] + self.samples[: place % len(self.samples)]):
            if self.is_over.wait(self.pace):
                return
            sent = time.monotonic()
            result = ask(client, entry, payload)
            outcomes.append(Outcome(sent, time.monotonic() - sent, result))

    def ask_bare(self, client: Client, entry: dict, payload: bytes) -> str:
        headers = client.token("inference") | {"Content-Type": self.bundle.content_type(self.model), "Connection": "close"}
        try:
            answer = requests.post(client.url(self.model), data=payload, headers=headers, timeout=PATIENCE)
        except requests.ConnectionError as error:
            client.look_again()
            return "nobody there" if "refused" in str(error) else "no answer"
        except requests.Timeout:
            return "late"
        if answer.status_code == 400:
            client.look_again()  # a server that was started anew has other tokens
        return judged(answer, entry)

    def ask_through_client(self, client: Client, entry: dict, payload: bytes) -> str:
        try:
            return judged(client.predict(self.model, payload, self.bundle.content_type(self.model)), entry)
        except ServerError as error:
            return f"no answer: {error}"

    def latencies(self) -> str:
        """Of the bare callers' right answers."""
        seconds = sorted(outcome.seconds for outcome in self.bare if outcome.result == RIGHT)
        return f"p50 {1e3 * seconds[len(seconds) // 2]:.0f} ms, p99 {1e3 * seconds[int(0.99 * (len(seconds) - 1))]:.0f} ms"

    def lost_bare(self) -> Counter:
        return Counter(outcome.result for outcome in self.bare if outcome.result != RIGHT)

    def lost_through_client(self) -> Counter:
        return Counter(outcome.result for outcome in self.through_client if outcome.result != RIGHT)

    def sent(self) -> int:
        return len(self.bare) + len(self.through_client)


def judged(answer: requests.Response, entry: dict) -> str:
    """`RIGHT`, or what came in the place of the right answer."""
    if answer.status_code != 200:
        try:
            return f"{answer.status_code} {answer.json()['type']}"
        except (ValueError, KeyError, TypeError):
            return f"{answer.status_code} {answer.text[:80]!r}"
    wrong = difference(answer.json(), entry["answer"], TOLERANCE)
    return f"wrong: {wrong}" if wrong else RIGHT
