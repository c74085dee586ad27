"""Callers who send a byte a second, hang up, or say nothing: the others don't notice."""

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.faults.steady import Steady

pytestmark = [pytest.mark.server, pytest.mark.alone]
MODEL = "intents"
SLOW, HANG_UPS, IDLE = 50, 500, 500
SECONDS = 4  # of load


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
def a_byte_a_second(bundle) -> Iterator[None]:
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
def hanging_up(bundle) -> Iterator[None]:
    """Half of them in the middle of the request, half once it is sent whole."""
    body = b"wake me at seven tomorrow morning"
    for place in range(HANG_UPS):
        with connect(bundle) as caller:
            caller.sendall(head(bundle, len(body)) + (body if place % 2 else body[:7]))
    yield


@contextlib.contextmanager
def saying_nothing(bundle) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for _ in range(IDLE):
            stack.enter_context(connect(bundle))
        yield


@pytest.mark.parametrize(
    ("name", "strangers"),
    [
        (f"{SLOW} callers who send a byte a second", a_byte_a_second),
        (f"{HANG_UPS} callers who hang up", hanging_up),
        (f"{IDLE} idle connections", saying_nothing),
    ],
)
def test_the_others_do_not_notice(production, tell, name, strangers):
    with Steady(production, MODEL) as before:
        time.sleep(SECONDS)
    with strangers(production), Steady(production, MODEL) as load:
        time.sleep(SECONDS)
    tell(name, 1, load, note=f"{load.latencies()}; without them {before.latencies()}")
    assert load.lost_bare() == load.lost_through_client() == Counter()
    assert len(load.bare) > len(before.bare) / 3
    assert production.client.describe(MODEL)[0]["workers"][0]["status"] == "READY"
