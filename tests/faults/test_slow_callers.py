"""Callers that send a byte per second, hang up, or send nothing: the others do not notice."""

import contextlib
import socket
import statistics
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from tests.faults.steady_load import SteadyLoad

pytestmark = [pytest.mark.server, pytest.mark.slow]
MODEL = "intents"
SLOW, HANG_UPS, IDLE = 50, 500, 500  # callers
ANSWERS = 100  # to each steady caller, in each of three phases
MAX_SLOWER = 3  # times the median latency of the slower of the phases before and after


def connect(bundle) -> socket.socket:
    address = urlsplit(bundle.home.require().inference)
    return socket.create_connection((address.hostname, address.port), timeout=30)


def head(bundle, length: int) -> bytes:
    lines = (
        f"POST /predictions/{MODEL} HTTP/1.1", "Host: x", f"Authorization: Bearer {bundle.client.keys['inference']}",
        "Content-Type: text/plain", f"Content-Length: {length}", "", "",
    )  # fmt: skip
    return "\r\n".join(lines).encode()


@contextlib.contextmanager
def a_byte_per_second(bundle) -> Iterator[None]:
    is_over, callers = threading.Event(), [connect(bundle) for _ in range(SLOW)]
    for caller in callers:
        caller.sendall(head(bundle, 1_000_000))

    def drip():
        while not is_over.wait(1):
            for caller in callers:
                caller.sendall(b"x")

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        for caller in callers:
            caller.close()


@contextlib.contextmanager
def hang_ups(bundle) -> Iterator[None]:
    """Half of them in the middle of the request, half after the whole request; all while the steady callers wait for answers."""
    body = b"wake me at seven tomorrow morning"

    def hang_up():
        for index in range(HANG_UPS):
            with connect(bundle) as caller:
                caller.sendall(head(bundle, len(body)) + (body if index % 2 else body[:7]))

    thread = threading.Thread(target=hang_up)
    thread.start()
    try:
        yield
    finally:
        thread.join()


@contextlib.contextmanager
def idle_connections(bundle) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for _ in range(IDLE):
            stack.enter_context(connect(bundle))
        yield


def measured(bundle, strangers: Callable = lambda bundle: contextlib.nullcontext()) -> SteadyLoad:
    """A load of `ANSWERS` to each caller, while the strangers do what they do."""
    with SteadyLoad(bundle, MODEL) as load, strangers(bundle):
        load.wait_for_answers(ANSWERS)
    return load


@pytest.mark.parametrize(
    ("name", "strangers"),
    [
        (f"{SLOW} callers who send a byte per second", a_byte_per_second),
        (f"{HANG_UPS} callers who hang up", hang_ups),
        (f"{IDLE} idle connections", idle_connections),
    ],
)
def test_the_others_do_not_notice(production, report, name, strangers):
    before, load, after = measured(production), measured(production, strangers), measured(production)
    report.add(name, 1, load, note=f"{load.latency_text()}; before {before.latency_text()}; after {after.latency_text()}")
    assert load.lost_bare() == load.lost_through_client() == Counter()
    medians = [statistics.median(phase.latencies()) for phase in (before, load, after)]
    assert medians[1] < MAX_SLOWER * max(medians[0], medians[2]), medians
    assert production.client.describe(MODEL)[0]["workers"][0]["status"] == "READY"
