import os
import subprocess
import sys
import time

from serving.drain import QUIET, drain


def described(pid: int, waiting: int = 0) -> dict:
    return {"workers": [{"pid": pid}], "jobQueueStatus": {"pendingRequests": waiting}}


def test_a_server_at_rest_is_drained_at_once():
    started = time.monotonic()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as idle:
        time.sleep(1)  # it has begun
        assert drain(lambda: [described(idle.pid)], 10) is True
        idle.communicate(b"\n")
    assert time.monotonic() - started < 1 + 6 * QUIET


def test_it_waits_for_a_worker_that_works():
    program = "import time; end = time.monotonic() + 2\nwhile time.monotonic() < end: pass\ninput()"
    started = time.monotonic()
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE) as busy:
        assert drain(lambda: [described(busy.pid)], 30) is True
        assert time.monotonic() - started > 2
        busy.communicate(b"\n")


def test_it_waits_for_the_queue_and_gives_up_in_time():
    started = time.monotonic()
    assert drain(lambda: [described(os.getpid(), waiting=1)], 1) is False
    assert time.monotonic() - started < 2


def test_a_worker_that_has_ended_is_not_waited_for():
    assert drain(lambda: [described(-1), described(2**22 + 1)], 5) is True
