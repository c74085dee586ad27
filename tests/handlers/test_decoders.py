"""handlers/decoders.py: a row that hangs keeps its thread and nothing else.

What must be late waits for an event; what must be in time has seconds.
"""

import gc
import threading
import time

import pytest

from handlers.batch import Refusal, each
from handlers.deadline import Deadline
from handlers.decoders import DecoderPool
from handlers.request import refuse

SOON = 0.3  # seconds


@pytest.fixture
def released():
    """Rows that hang wait for it. They end with the test."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def decode(released):
    def decode(value):
        if value == "hangs":
            released.wait(60)
        return f"{value} decoded"

    return decode


def decoder_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("decoder")]


def batch(decoders: DecoderPool, step, values: list, seconds: float | None = SOON) -> list:
    with Deadline(seconds, len(values)) as deadline:
        over = lambda function, *columns: decoders.map(function, *columns, deadline=deadline)  # noqa: E731
        results = each(deadline.limit(step), values, refuse=refuse, over=over)
    return [result.code if isinstance(result, Refusal) else result for result in results]


def wait_until(condition, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    assert condition()


@pytest.mark.parametrize("size", [1, 2, 4])
def test_rows_are_decoded_in_their_order(size):
    assert DecoderPool(size).map(lambda one, other: one + other, [1, 2, 3], [10, 20, 30]) == [11, 22, 33]


def test_rows_are_decoded_at_the_same_time():
    both = threading.Barrier(2, timeout=20)
    assert len(DecoderPool(2).map(lambda _: both.wait(), [1, 2])) == 2


def test_with_one_decoder_or_one_row_the_calling_thread_decodes():
    assert DecoderPool(1).map(lambda _: threading.get_ident(), [1, 2]) == [threading.get_ident()] * 2
    assert DecoderPool(2).map(lambda _: threading.get_ident(), [1]) == [threading.get_ident()]


def test_an_error_of_the_step_comes_out():
    with pytest.raises(ZeroDivisionError):
        DecoderPool(2).map(lambda value: 1 / value, [1, 0])


def test_only_the_row_that_hangs_is_refused(decode):
    assert batch(DecoderPool(2), decode, ["a", "hangs", "b", "c"]) == ["a decoded", 504, "b decoded", "c decoded"]


def test_rows_behind_as_many_hanging_rows_as_threads_are_answered(decode):
    given = ["hangs", "hangs", "a", "b"]
    assert batch(DecoderPool(2), decode, given) == [504, 504, "a decoded", "b decoded"]


def test_the_next_batch_is_not_slowed_down_by_a_row_that_hangs(decode):
    decoders = DecoderPool(2)
    batch(decoders, decode, ["hangs", "a"])
    started = time.monotonic()
    assert batch(decoders, decode, ["b", "c"], seconds=30) == ["b decoded", "c decoded"]
    assert time.monotonic() - started < 10


def test_after_many_hanging_rows_the_number_of_threads_is_bounded(decode, released):
    gc.collect()
    wait_until(lambda: not decoder_threads())
    decoders = DecoderPool(2)
    for _ in range(6):
        assert batch(decoders, decode, ["hangs", "hangs"], seconds=0.1)[:1] == [504]
        assert batch(decoders, decode, ["a", "b"]) == ["a decoded", "b decoded"]
        assert len(decoder_threads()) <= 3 * 2
        if len(decoders.given_up) >= 2:
            break
    assert len(decoders.given_up) == 2  # now the main thread decodes; the alarm interrupts what hangs there
    assert batch(decoders, decode, ["a", "hangs", "b"]) == ["a decoded", 504, "b decoded"]
    released.set()
    wait_until(lambda: len(decoder_threads()) == 2)
    assert batch(decoders, lambda _: threading.current_thread().name[:7], ["a", "b"]) == ["decoder"] * 2
    assert decoders.given_up == []


def test_a_row_that_no_thread_had_begun_is_decoded_once(released):
    begun = []

    def decode(value):
        begun.append(value)
        if value == "hangs":
            released.wait(60)
        return value

    decoders = DecoderPool(2)
    assert batch(decoders, decode, ["hangs", "hangs", "a"]) == [504, 504, "a"]
    released.set()
    wait_until(lambda: all(future.done() for future in decoders.given_up))
    assert decoders.map(decode, ["b", "c"]) == ["b", "c"]
    assert sorted(begun) == ["a", "b", "c", "hangs", "hangs"]


def test_without_a_limit_a_batch_waits_for_its_slowest_row():
    decoders = DecoderPool(2)
    assert batch(decoders, lambda seconds: time.sleep(seconds) or seconds, [0.5, 0.0], seconds=None) == [0.5, 0.0]


def test_the_threads_end_with_their_decoders():
    gc.collect()
    wait_until(lambda: not decoder_threads())
    decoders = DecoderPool(3)
    assert len(decoder_threads()) == 3
    del decoders
    gc.collect()
    wait_until(lambda: not decoder_threads())
