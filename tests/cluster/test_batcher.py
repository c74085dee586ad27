"""cluster/node/batcher.py: which requests are answered together, and what one of them does to the others."""

import asyncio
import threading
import time

import pytest

from cluster.node.batcher import Batcher, QueueFull


class Worker:
    """Answers rows with their length, and keeps the batches that it got. Each batch takes until `gate` is set."""

    def __init__(self):
        self.batches: list[list[str]] = []
        self.gate = threading.Event()
        self.gate.set()

    def answer(self, rows: list[str]) -> list[int]:
        self.batches.append(rows)
        self.gate.wait(10)
        if "broken" in rows:
            raise RuntimeError("no")
        return [len(row) for row in rows]


@pytest.fixture
def worker():
    return Worker()


def batcher(worker: Worker, **changes) -> Batcher:
    settings = {"size": 4, "delay": 0.0, "queue_size": 100, "seconds": 30} | changes
    return Batcher(worker.answer, **settings)


async def begun(worker: Worker, count: int) -> None:
    while len(worker.batches) < count:
        await asyncio.sleep(0.005)


def test_what_waits_while_a_batch_runs_becomes_the_next_batches(worker):
    async def play():
        worker.gate.clear()
        batches = batcher(worker)
        first = asyncio.create_task(batches.submit("a"))
        await begun(worker, 1)
        others = [asyncio.create_task(batches.submit("b" * index)) for index in range(1, 6)]
        await asyncio.sleep(0.05)
        worker.gate.set()
        return await asyncio.gather(first, *others)

    assert asyncio.run(play()) == [1, 1, 2, 3, 4, 5]
    assert [len(batch) for batch in worker.batches] == [1, 4, 1]


def test_a_batch_waits_for_more_until_it_is_full_or_the_delay_is_over(worker):
    async def play(count: int) -> float:
        started = time.monotonic()
        batches = batcher(worker, delay=0.5)
        await asyncio.gather(*(batches.submit("x") for _ in range(count)))
        return time.monotonic() - started

    assert asyncio.run(play(4)) < 0.4
    assert 0.45 < asyncio.run(play(3)) < 1.5
    assert [len(batch) for batch in worker.batches] == [4, 3]


def test_one_more_than_may_wait_is_refused_and_the_others_are_answered(worker):
    async def play():
        worker.gate.clear()
        batches = batcher(worker, queue_size=2)
        running = asyncio.create_task(batches.submit("a"))
        await begun(worker, 1)
        waiting = [asyncio.create_task(batches.submit("bb")) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await batches.submit("c")
        worker.gate.set()
        return await asyncio.gather(running, *waiting)

    assert asyncio.run(play()) == [1, 2, 2]


def test_a_batch_that_fails_as_a_whole_is_the_end_of_no_other(worker):
    async def play():
        batches = batcher(worker, delay=0.05)
        failed = await asyncio.gather(batches.submit("broken"), batches.submit("x"), return_exceptions=True)
        return failed, await batches.submit("good")

    failed, good = asyncio.run(play())
    assert [str(error) for error in failed] == ["no", "no"] and good == 4


def test_too_few_answers_are_an_error_and_no_exchange(worker):
    worker.answer = lambda rows: [1]

    async def play():
        batches = batcher(worker, delay=0.05)
        return await asyncio.gather(batches.submit("a"), batches.submit("b"), return_exceptions=True)

    assert all("1 answers for 2 rows" in str(error) for error in asyncio.run(play()))


def test_a_caller_who_hung_up_costs_no_work(worker):
    async def play():
        worker.gate.clear()
        batches = batcher(worker)
        running = asyncio.create_task(batches.submit("a"))
        await begun(worker, 1)
        gone, stays = asyncio.create_task(batches.submit("gone")), asyncio.create_task(batches.submit("stays"))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        worker.gate.set()
        return await asyncio.gather(running, stays)

    assert asyncio.run(play()) == [1, 5]
    assert worker.batches == [["a"], ["stays"]]


def test_a_batch_without_end_ends_the_process(worker):
    ended = threading.Event()

    async def play():
        worker.gate.clear()
        batches = batcher(worker, seconds=0.2, end=ended.set)
        asking = asyncio.create_task(batches.submit("a"))
        while not ended.is_set():
            await asyncio.sleep(0.01)
        worker.gate.set()
        await asking

    asyncio.run(asyncio.wait_for(play(), 5))
    assert ended.is_set()


def test_what_must_happen_first_happens_in_the_thread_that_answers(worker):
    threads = []
    worker.answer = lambda rows: threads.append(threading.get_ident()) or rows
    batches = batcher(worker, first=lambda: threads.append(threading.get_ident()))
    asyncio.run(batches.submit("x"))
    assert threads[0] == threads[1] != threading.get_ident()


def test_an_error_of_the_first_step_is_raised_to_who_makes_the_batcher(worker):
    def fail():
        raise ValueError("wrong answer to a sample")

    with pytest.raises(ValueError, match="wrong answer"):
        batcher(worker, first=fail)
