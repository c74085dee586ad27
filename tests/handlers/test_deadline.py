"""handlers/deadline.py: a late step is interrupted, its neighbours are answered, and nothing else hears the alarm.

No test depends on a fast machine: what must be late sleeps for `LONG`, and what must be in time gets a second or more.
"""

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from handlers import deadline as module
from handlers import thread_alarm
from handlers.batch import Refusal, each, together
from handlers.deadline import Deadline, DeadlineExceeded
from handlers.request import refuse

SOON = 0.05  # seconds
LONG = 30


@pytest.fixture
def patient(monkeypatch):
    """Steps that begin after the end of the time still get seconds."""
    monkeypatch.setattr(module, "SPARE", 100)


def sleep(seconds: float) -> str:
    time.sleep(seconds)
    return "done"


def codes(results: list) -> list:
    return [result.code if isinstance(result, Refusal) else result for result in results]


def test_a_step_that_takes_too_long_is_interrupted():
    started = time.monotonic()
    with Deadline(SOON, rows=1) as deadline, pytest.raises(DeadlineExceeded, match=r"the 0\.05 s for a batch are over"):
        deadline.limit(sleep)(LONG)
    assert time.monotonic() - started < LONG / 2


def test_a_step_that_is_in_time_is_not():
    with Deadline(LONG, rows=1) as deadline:
        assert deadline.limit(sleep)(0) == "done"
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= LONG
        assert 0 < deadline.left_seconds() <= LONG


def test_without_a_limit_there_is_no_alarm():
    before = signal.getsignal(signal.SIGALRM)
    with Deadline(None, rows=1) as deadline:
        deadline.allow(0.5)
        assert deadline.limit(sleep) is sleep and deadline.left_seconds() is None
        assert signal.getsignal(signal.SIGALRM) is before


def test_another_alarm_and_its_handler_come_back():
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(True))
    timer = signal.setitimer(signal.ITIMER_REAL, 10 * SOON)
    try:
        with Deadline(SOON, rows=1) as deadline, pytest.raises(DeadlineExceeded):
            deadline.limit(sleep)(LONG)
        assert not rung and 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 10 * SOON
        time.sleep(20 * SOON)
        assert rung
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *timer)


def test_no_alarm_comes_between_two_steps():
    with Deadline(SOON, rows=1):
        time.sleep(5 * SOON)


def test_no_alarm_leaves_its_step_however_many_steps_there_are(monkeypatch):
    """An alarm that came outside a step would end the worker. Here many come, at every point of short steps."""
    monkeypatch.setattr(module, "TICK", 0.0005)
    monkeypatch.setattr(module, "SPARE", 0)
    late = 0
    with Deadline(0.01, rows=1) as deadline:
        step = deadline.limit(lambda: sum(range(2_000)))
        end = time.monotonic() + 1
        while time.monotonic() < end:
            try:
                step()
            except DeadlineExceeded:
                late += 1
    assert late > 10


def test_a_decoder_that_catches_every_exception_does_not_catch_the_alarm():
    """Otherwise the caller would get a 400 for a file that is only slow to decode."""

    def decode():
        try:
            time.sleep(LONG)
        except Exception as error:
            raise ValueError("not a picture") from error

    with Deadline(SOON, rows=1) as deadline, pytest.raises(DeadlineExceeded):
        deadline.limit(decode)()


def test_a_library_that_swallows_the_alarm_hears_it_again():
    def stubborn():
        try:
            time.sleep(LONG)
        except BaseException:
            time.sleep(LONG)

    started = time.monotonic()
    with Deadline(SOON, rows=1) as deadline, pytest.raises(DeadlineExceeded):
        deadline.limit(stubborn)()
    assert time.monotonic() - started < LONG / 2


def test_a_result_after_a_swallowed_alarm_is_not_used():
    def half_read():
        try:
            time.sleep(LONG)
        except BaseException:
            return "half of the file"

    with Deadline(SOON, rows=1) as deadline, pytest.raises(DeadlineExceeded):
        deadline.limit(half_read)()


def test_an_error_of_a_step_in_time_is_its_own():
    with Deadline(LONG, rows=1) as deadline, pytest.raises(ZeroDivisionError):
        deadline.limit(lambda: 1 / 0)()


def test_a_step_that_begins_late_has_its_share_of_the_spare_time(patient):
    with Deadline(SOON, rows=2) as deadline:
        time.sleep(2 * SOON)
        assert deadline.limit(sleep)(0.5) == "done"  # of 5 s of spare time, it has a fourth
        with pytest.raises(DeadlineExceeded):
            deadline.limit(sleep)(LONG)


def test_only_the_slow_row_of_a_step_is_refused(patient):
    with Deadline(SOON, rows=4) as deadline:
        column = each(deadline.limit(sleep), [0, LONG, 0, 0], refuse=refuse)
    assert codes(column) == ["done", 504, "done", "done"]


def test_only_the_slow_row_of_a_batch_is_refused(patient):
    def forward(seconds: list[float]) -> list[str]:
        return [sleep(each_seconds) for each_seconds in seconds]

    with Deadline(SOON, rows=4) as deadline:
        column = together(deadline.limit(forward), [0, LONG, 0, 0], refuse=refuse)
    assert codes(column) == ["done", 504, "done", "done"]


def test_steps_may_have_a_share_of_the_time_and_the_next_ones_more(patient):
    deadline = Deadline(2 * LONG, rows=1_000_000)
    deadline.allow(SOON / (2 * LONG), "decoding a batch")
    with deadline:
        assert deadline.left_seconds() <= SOON
        with pytest.raises(DeadlineExceeded, match=r"^the 0\.05 s for decoding a batch are over$"):
            deadline.limit(sleep)(LONG)
        deadline.allow(1)
        assert deadline.left_seconds() > LONG
        assert deadline.limit(sleep)(5 * SOON) == "done"
        assert signal.getitimer(signal.ITIMER_REAL)[0] > LONG


def in_a_thread(play):
    """The result of `play`, or its exception, in a thread that receives no signals."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(play).result()


def busy(seconds: float) -> str:
    """Python code without a long call of C code, which nothing interrupts in a thread."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return "done"


def test_in_another_thread_a_late_step_is_interrupted_too():
    def play():
        with Deadline(SOON, rows=1) as deadline, pytest.raises(DeadlineExceeded, match=r"the 0\.05 s for a batch are over"):
            deadline.limit(busy)(LONG)

    started = time.monotonic()
    in_a_thread(play)
    assert time.monotonic() - started < LONG / 2


def test_in_another_thread_only_the_slow_row_is_refused(patient):
    def play():
        with Deadline(SOON, rows=4) as deadline:
            return each(deadline.limit(busy), [0, LONG, 0, 0], refuse=refuse)

    assert codes(in_a_thread(play)) == ["done", 504, "done", "done"]


def test_in_another_thread_a_step_in_time_and_its_error_are_its_own():
    def play():
        with Deadline(LONG, rows=1) as deadline:
            with pytest.raises(ZeroDivisionError):
                deadline.limit(lambda: 1 / 0)()
            return deadline.limit(busy)(0)

    assert in_a_thread(play) == "done"


def test_in_another_thread_no_alarm_leaves_its_step_however_many_there_are(monkeypatch):
    """Deadlines of a millisecond, so that alarms come at every point of short steps."""
    monkeypatch.setattr(module, "SPARE", 0)
    monkeypatch.setattr(thread_alarm, "TICK", 0.0005)

    def play() -> int:
        late = 0
        end = time.monotonic() + 2
        while time.monotonic() < end:
            with Deadline(0.001, rows=1) as deadline:
                step = deadline.limit(lambda: sum(range(2_000)))
                for _ in range(200):
                    try:
                        step()
                    except DeadlineExceeded:
                        late += 1
            sum(range(2_000))  # where no alarm may come
        return late

    assert in_a_thread(play) > 10


def test_a_step_in_a_decoders_thread_does_not_count_as_the_main_threads():
    with Deadline(SOON, rows=1) as deadline:
        results = []
        thread = threading.Thread(target=lambda: results.append(deadline.limit(sleep)(4 * SOON)))
        thread.start()
        thread.join()
    assert results == ["done"]
