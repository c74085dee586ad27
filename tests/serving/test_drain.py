"""serving/drain.py: it waits exactly as long as there is work, measured on real processes."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psutil

from serving.drain import drain
from tests.bundle import wait_for

LATE = 60  # seconds; no test waits that long
IDLE = "print('ready', flush=True); input()"
BUSY = """
import select, sys
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    pass
input()
input()
"""


@contextmanager
def worker(program: str) -> Iterator[subprocess.Popen]:
    """A process that runs the program and has reached its first line of output."""
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


class Server:
    """What TorchServe describes: one worker, and how many requests wait."""

    def __init__(self, pid: int, waiting: int = 0):
        self.pid, self.waiting, self.looks = pid, waiting, 0

    def describe(self) -> list[dict]:
        self.looks += 1
        return [{"workers": [{"pid": self.pid}], "jobQueueStatus": {"pendingRequests": self.waiting}}]


def test_a_server_at_rest_is_drained_at_the_second_look():
    with worker(IDLE) as idle:
        wait_for(lambda: sys.platform != "linux" or psutil.Process(idle.pid).status() == psutil.STATUS_SLEEPING)
        server = Server(idle.pid)
        assert drain(server.describe, LATE) is True
    assert server.looks == 2


def test_it_waits_for_a_worker_that_works():
    """It works until a byte arrives, and then waits for more without work, as a worker of TorchServe does."""
    with worker(BUSY) as busy, ThreadPoolExecutor(1) as thread:
        server = Server(busy.pid)
        drained = thread.submit(drain, server.describe, LATE)
        wait_for(lambda: server.looks > 6)
        assert not drained.done()
        busy.stdin.write(b"\n")
        busy.stdin.flush()
        assert drained.result() is True


def test_it_waits_for_the_queue():
    with worker(IDLE) as idle, ThreadPoolExecutor(1) as thread:
        server = Server(idle.pid, waiting=1)
        drained = thread.submit(drain, server.describe, LATE)
        wait_for(lambda: server.looks > 3)
        assert not drained.done()
        server.waiting = 0
        assert drained.result() is True


def test_it_gives_up_when_its_time_is_over():
    with worker(IDLE) as idle:
        server = Server(idle.pid, waiting=1)
        assert drain(server.describe, 1) is False
    assert server.looks > 1


def test_a_worker_that_has_ended_is_not_waited_for():
    for pid in (-1, 2**22 + 1):
        assert drain(Server(pid).describe, LATE) is True
