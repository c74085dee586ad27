"""Batches: requests that wait are answered together, one batch at a time, in one thread of their own.

A batch begins when the thread is free. It takes all that waits, up to `size`. Only a batch that is not full waits for more.
`serve.batch` takes the next batch while this one is being answered, so under load its batches stay small.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any

log = logging.getLogger("ray.serve")
LOOKS = 20  # how often the watch looks during the longest time that a batch may take


class QueueFull(Exception):
    """So many requests wait that this one is refused."""


class Batcher:
    """Answers rows in batches.

    Args:
        answer: takes a list of rows and returns one answer per row. It runs in the batcher's thread.
        size: rows of a batch at most.
        delay: seconds that a batch waits until it is full.
        queue_size: rows that may wait; one more is refused.
        seconds: that a batch may take. After that, this process ends: C code cannot be interrupted.
        first: called in the batcher's thread before the first batch. The batcher is ready when it returns.
        end: ends the process.

    Raises:
        Exception: what `first` raises.
    """

    def __init__(
        self,
        answer: Callable[[list], Sequence],
        size: int,
        delay: float,
        queue_size: int,
        seconds: float,
        first: Callable[[], object] = lambda: None,
        end: Callable[[], object] = lambda: os._exit(1),
    ):
        self.answer, self.size, self.delay, self.queue_size, self.seconds, self.end = (
            answer,
            size,
            delay,
            queue_size,
            seconds,
            end,
        )
        self.waiting: SimpleQueue = SimpleQueue()
        self.started: float | None = None  # when the batch that runs was begun
        ready: Future = Future()
        # One thread for all batches, because OpenMP keeps a pool of threads for each thread that calls it.
        threading.Thread(target=self.run, args=(first, ready), name="batches", daemon=True).start()
        ready.result()
        threading.Thread(target=self.watch, name="watch", daemon=True).start()

    async def submit(self, row: Any) -> Any:
        """The row's answer.

        Raises:
            QueueFull: too many rows wait.
            Exception: what `answer` raised for the batch.
        """
        if self.waiting.qsize() >= self.queue_size:
            raise QueueFull
        future = asyncio.get_running_loop().create_future()
        self.waiting.put((row, future))
        return await future

    def run(self, first: Callable[[], object], ready: Future) -> None:
        """Answer batch after batch."""
        try:
            ready.set_result(first())
        except BaseException as error:
            ready.set_exception(error)
            return
        while True:
            batch = [(row, future) for row, future in self.collect() if not future.cancelled()]  # some callers have hung up
            if not batch:
                continue
            self.started = time.monotonic()
            try:
                answers: Sequence = self.answer([row for row, _ in batch])
                if len(answers) != len(batch):
                    raise RuntimeError(f"{len(answers)} answers for {len(batch)} rows")
            except Exception as error:
                log.exception("a batch failed")
                answers = [error] * len(batch)
            self.started = None
            deliver(batch, answers)

    def collect(self) -> list[tuple[Any, asyncio.Future]]:
        """The rows that wait, at least one."""
        batch = [self.waiting.get()]
        end = time.monotonic() + self.delay
        while len(batch) < self.size:
            try:
                batch.append(self.waiting.get(timeout=max(0.0, end - time.monotonic())))
            except Empty:
                break
        return batch

    def watch(self) -> None:
        """End the process if a batch takes too long."""
        while True:
            time.sleep(self.seconds / LOOKS)
            started = self.started
            if started is not None and time.monotonic() - started > self.seconds:
                log.error("a batch has taken %g s; this replica ends, and Serve starts another", self.seconds)
                self.end()
                return


def deliver(batch: list[tuple[Any, asyncio.Future]], answers: Sequence) -> None:
    """Give each row its answer, with one call into each event loop."""
    loops: dict[asyncio.AbstractEventLoop, list] = {}
    for (_, future), answer in zip(batch, answers, strict=True):
        loops.setdefault(future.get_loop(), []).append((future, answer))
    for loop, pairs in loops.items():
        loop.call_soon_threadsafe(settle, pairs)


def settle(pairs: list[tuple[asyncio.Future, Any]]) -> None:
    """Set the results of futures, in their event loop."""
    for future, answer in pairs:
        if future.done():  # the caller has hung up
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
