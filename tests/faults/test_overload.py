"""Twice as many requests as can be answered: as many answers as ever, and a refusal at once for the rest."""

import http.client
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import psutil
import pytest

from tests.faults.steady import Outcome

pytestmark = [pytest.mark.server, pytest.mark.alone]
MODEL = "digits"
SECONDS = 6
CALLERS = 16  # who find out what the capacity is
MOST_OPEN = 300  # requests under way: three times what the queue holds
QUEUE = 100  # config.properties: job_queue_size
BATCH = 8  # the recipe's


class Asker:
    """Asks for explanations, which cost the server some thirty times what they cost whoever asks."""

    def __init__(self, bundle):
        self.host = bundle.home.require().inference.removeprefix("http://")
        self.headers = {"Authorization": f"Bearer {bundle.client.keys['inference']}"}
        self.payload = bundle.samples(MODEL)[0][1]

    def __call__(self, *_) -> Outcome:
        sent = time.monotonic()
        connection = http.client.HTTPConnection(self.host, timeout=60)
        connection.request("POST", f"/explanations/{MODEL}", self.payload, self.headers)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return Outcome(sent, time.monotonic() - sent, str(answer.status))


def capacity(ask: Asker) -> float:
    """Answers a second, from callers who each wait for an answer before they ask again."""
    end = time.monotonic() + SECONDS
    with ThreadPoolExecutor(CALLERS) as threads:
        answered = sum(
            threads.map(lambda _: sum(1 for _ in iter(lambda: time.monotonic() < end and ask(), False)), range(CALLERS))
        )
    return answered / SECONDS


def offered(ask: Asker, rate: float) -> list[Outcome]:
    """Requests sent when their time has come, whatever became of those before them."""
    started = time.monotonic()
    with ThreadPoolExecutor(MOST_OPEN) as threads:
        asked = []
        for place in count():
            due = started + place / rate
            if due > started + 2 * SECONDS:
                break
            time.sleep(max(0, due - time.monotonic()))
            asked.append(threads.submit(ask))
        return [one.result() for one in asked]


def test_at_twice_the_capacity_the_answers_go_on_and_the_excess_is_refused_at_once(production, tell):
    ask, frontend = Asker(production), psutil.Process(production.home.require().pid)
    peak, before = capacity(ask), frontend.memory_info().rss
    outcomes = offered(ask, 2 * peak)
    taken = sorted(outcome.seconds for outcome in outcomes if outcome.result == "200")
    refused = sorted(outcome.seconds for outcome in outcomes if outcome.result == "503")
    assert len(taken) + len(refused) == len(outcomes)
    # The queue has to fill before anything is refused; from then on until the last was sent is the time that counts.
    first_refused = min(outcome.sent for outcome in outcomes if outcome.result == "503")
    last_sent = max(outcome.sent for outcome in outcomes)
    done = sum(first_refused < outcome.sent + outcome.seconds < last_sent for outcome in outcomes if outcome.result == "200")
    rate = done / (last_sent - first_refused)
    p99, bound = taken[int(0.99 * (len(taken) - 1))], (QUEUE + 2 * BATCH) / rate
    grown = (frontend.memory_info().rss - before) / 1e6
    tell.say(
        "twice the capacity", len(outcomes),
        f"{rate:.0f} answers/s of {peak:.0f} at the peak; {len(refused)} refused with 503, half of them within "
        f"{1e3 * refused[len(refused) // 2]:.0f} ms; p99 of the accepted {p99:.1f} s, bound {bound:.1f} s; "
        f"frontend {grown:+.0f} MB",
    )  # fmt: skip
    assert rate > 0.7 * peak  # 0.9 on a machine that does nothing else; see docs/operations.md
    assert p99 < 1.5 * bound
    assert refused[len(refused) // 2] < 1
    assert grown < 300
