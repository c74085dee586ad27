"""Twice as many requests as the server can answer: it answers as many as before, and refuses the rest at once."""

import contextlib
import http.client
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import psutil
import pytest

from tests.faults.steady_load import Outcome, quantile

pytestmark = [pytest.mark.server, pytest.mark.slow]
MODEL = "digits"
SECONDS = 6  # of a measurement of the capacity; the overload lasts twice as long
CALLERS = 16  # in a measurement of the capacity
MAX_OPEN = 300  # requests at the same time: three times the length of the queue
QUEUE = 100  # config.properties: job_queue_size
BATCH = 8  # the recipe's
LEAST_SHARE = 0.5  # of the lower of the capacities before and after; the figures in docs/operations.md are 0.9 and more
HEAP, DIRECT = 2 << 30, 2 << 30  # bytes; config.properties: vmargs


class Caller:
    """Asks for explanations: one costs the server about thirty times as much as the caller."""

    def __init__(self, bundle):
        self.host = bundle.home.require().inference.removeprefix("http://")
        self.headers = {"Authorization": f"Bearer {bundle.client.keys['inference']}"}
        self.payload = bundle.samples(MODEL)[0][1]

    def __call__(self) -> Outcome:
        sent = time.monotonic()
        with contextlib.closing(http.client.HTTPConnection(self.host, timeout=60)) as connection:
            connection.request("POST", f"/explanations/{MODEL}", self.payload, self.headers)
            answer = connection.getresponse()
            answer.read()
        return Outcome(sent, time.monotonic() - sent, str(answer.status))


def capacity(ask: Caller) -> float:
    """Answers per second to callers that each wait for an answer before they ask again."""
    end = time.monotonic() + SECONDS

    def answers(_: int) -> int:
        answered = 0
        while time.monotonic() < end:
            assert ask().result == "200"
            answered += 1
        return answered

    with ThreadPoolExecutor(CALLERS) as threads:
        return sum(threads.map(answers, range(CALLERS))) / SECONDS


def overload(ask: Caller, rate: float) -> list[Outcome]:
    """Send `rate` requests per second, whether or not the earlier ones are answered."""
    started = time.monotonic()
    with ThreadPoolExecutor(MAX_OPEN) as threads:
        asked = []
        for index in count():
            due = started + index / rate
            if due > started + 2 * SECONDS:
                break
            time.sleep(max(0, due - time.monotonic()))
            asked.append(threads.submit(ask))
        return [one.result() for one in asked]


def test_at_twice_the_capacity_answers_go_on_and_the_excess_is_refused_at_once(production, report):
    ask, frontend = Caller(production), psutil.Process(production.home.require().pid)
    before = capacity(ask)
    outcomes = overload(ask, 2 * before)
    after = capacity(ask)
    accepted = sorted(outcome.seconds for outcome in outcomes if outcome.result == "200")
    refused = sorted(outcome.seconds for outcome in outcomes if outcome.result == "503")
    assert len(accepted) + len(refused) == len(outcomes)
    # The queue fills first. From the first refusal to the last request the server has more than it can do.
    first_refused = min(outcome.sent for outcome in outcomes if outcome.result == "503")
    last_sent = max(outcome.sent for outcome in outcomes)
    done = sum(first_refused < outcome.sent + outcome.seconds < last_sent for outcome in outcomes if outcome.result == "200")
    rate = done / (last_sent - first_refused)
    longest_wait = (QUEUE + 2 * BATCH) / rate  # seconds, for the last one in a full queue
    resident = frontend.memory_info().rss
    report.add_without_load(
        "twice the capacity", len(outcomes),
        f"{rate:.0f} answers/s, before {before:.0f}, after {after:.0f}; {len(refused)} refused with 503, half of them within "
        f"{1e3 * statistics.median(refused):.0f} ms; accepted: p50 {statistics.median(accepted):.1f} s, "
        f"p99 {quantile(accepted, 0.99):.1f} s, bound {longest_wait:.1f} s; frontend {resident / 1e6:.0f} MB",
    )  # fmt: skip
    assert rate > LEAST_SHARE * min(before, after)
    assert quantile(accepted, 0.99) < 1.5 * longest_wait
    # A refused request does not wait in the queue, which an accepted one does.
    assert statistics.median(refused) < statistics.median(accepted) / 4
    assert resident < HEAP + DIRECT
