import signal
import threading
import time

import pytest

from handlers.batch import Refusal, each, together
from handlers.deadline import DeadlineExceeded, deadline
from handlers.request import refuse

SOON = 0.05  # seconds
LONG = 30


def test_what_takes_too_long_is_interrupted():
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"0\.05 s"), deadline(SOON):
        time.sleep(LONG)
    assert time.monotonic() - started < LONG / 2


def test_what_is_in_time_is_not():
    with deadline(LONG):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_it_leaves_the_alarm_as_it_found_it():
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(DeadlineExceeded), deadline(SOON):
        time.sleep(LONG)
    time.sleep(3 * SOON)  # nothing rings any more
    assert signal.getsignal(signal.SIGALRM) is before


def test_a_library_that_swallows_the_alarm_hears_it_again():
    def stubborn():
        try:
            time.sleep(LONG)
        except Exception:
            time.sleep(LONG)

    with pytest.raises(DeadlineExceeded), deadline(SOON):
        stubborn()


def test_only_the_slow_row_of_a_step_is_refused():
    """The rows behind it get a slice each, which is enough for a cheap one."""
    with deadline(SOON):
        column = each(lambda seconds: time.sleep(seconds) or "done", [0, LONG, 0, 0], refuse=refuse)
    assert [value.code if isinstance(value, Refusal) else value for value in column] == ["done", 504, "done", "done"]


def test_only_the_slow_row_of_a_batch_is_refused():
    def forward(seconds: list[float]) -> list[str]:
        time.sleep(sum(seconds))
        return ["done"] * len(seconds)

    with deadline(SOON):
        column = together(forward, [0, LONG, 0, 0], refuse=refuse)
    assert [value.code if isinstance(value, Refusal) else value for value in column] == ["done", 504, "done", "done"]


def test_in_a_thread_there_is_no_alarm_and_no_error():
    def late():
        with deadline(SOON):
            time.sleep(2 * SOON)
        done.append(True)

    done = []
    thread = threading.Thread(target=late)
    thread.start()
    thread.join()
    assert done
