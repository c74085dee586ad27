"""Batches: requests that wait are answered together, one batch at a time, in one thread of their own.

A batch begins when the thread is free. It takes all that waits, up to `size`. Only a batch that is not full waits for more.
`serve.batch` takes the next batch while this one is being answered, so under load its batches stay small.
"""

import asyncio
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
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
        self.waiting: deque[tuple[Any, asyncio.Future, float]] = deque()  # with the time of its arrival
        self.batches: SimpleQueue = SimpleQueue()  # one at a time, for the thread
        self.is_busy = False
        self.timer: asyncio.TimerHandle | None = None
        self.started: float | None = None  # when the batch that runs was begun
        ready: Future = Future()
        # One thread for all batches, because OpenMP keeps a pool of threads for each thread that calls it.
        threading.Thread(target=self.run, args=(first, ready), name="batches", daemon=True).start()
        ready.result()
        threading.Thread(target=self.watch, name="watch", daemon=True).start()

    async def submit(self, row: Any) -> Any:
        """The row's answer. All calls come from one event loop.

        Raises:
            QueueFull: too many rows wait.
            Exception: what `answer` raised for the batch.
        """
        if len(self.waiting) >= self.queue_size:
            raise QueueFull
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self.waiting.append((row, future, loop.time()))
        self.begin(loop)
        return await future

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hand a batch over to the thread, if it is free and the batch is full or has waited long enough.

        The event loop collects, so that the two threads change places once per batch and not once per row.
        """
        if self.is_busy or not self.waiting:
            return
        left = self.waiting[0][2] + self.delay - loop.time()
        if len(self.waiting) < self.size and left > 0:
            self.timer = self.timer or loop.call_later(left, self.end_of_delay, loop)
            return
        rows = [self.waiting.popleft() for _ in range(min(self.size, len(self.waiting)))]
        batch = [(row, future) for row, future, _ in rows if not future.cancelled()]  # some callers have hung up
        if batch:
            self.is_busy = True
            self.batches.put((batch, loop))
        else:
            self.begin(loop)

    def end_of_delay(self, loop: asyncio.AbstractEventLoop) -> None:
        self.timer = None
        self.begin(loop)

    def run(self, first: Callable[[], object], ready: Future) -> None:
        """Answer batch after batch, in the thread."""
        try:
            ready.set_result(first())
        except BaseException as error:
            ready.set_exception(error)
            return
        while True:
            batch, loop = self.batches.get()
            self.started = time.monotonic()
            try:
                answers: Sequence = self.answer([row for row, _ in batch])
                if len(answers) != len(batch):
                    raise RuntimeError(f"{len(answers)} answers for {len(batch)} rows")
            except Exception as error:
                log.exception("a batch failed")
                answers = [error] * len(batch)
            self.started = None
            loop.call_soon_threadsafe(self.settle, batch, answers, loop)

    def settle(self, batch: list[tuple[Any, asyncio.Future]], answers: Sequence, loop: asyncio.AbstractEventLoop) -> None:
        """Begin the next batch and give each row of this one its answer, in the event loop."""
        self.is_busy = False
        self.begin(loop)
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():  # the caller has hung up
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    def watch(self) -> None:
        """End the process if a batch takes too long."""
        while True:
            time.sleep(self.seconds / LOOKS)
            started = self.started
            if started is not None and time.monotonic() - started > self.seconds:
                log.error("a batch has taken %g s; this replica ends, and Serve starts another", self.seconds)
                self.end()
                return
