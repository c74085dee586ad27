"""Threads that decode the rows of a batch at the same time, and their replacement when they hang."""

import logging
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future, wait
from queue import SimpleQueue
from typing import Any

from handlers.deadline import Deadline

log = logging.getLogger(__name__)


class DecoderPool:
    """Threads that run one step of a batch, several rows at a time.

    Nothing can stop a thread. When the time for a batch's rows is over, the threads that are still busy are given up: their rows
    are late, new threads take their place, and they end when their step ends. While `size` threads or more are given up, no
    thread gets work, and the calling thread does everything. So there are never more than 3 x `size` threads.

    Args:
        size: rows at a time. With 1 there are no threads: the calling thread does everything.
    """

    def __init__(self, size: int):
        self.size = size
        self.given_up: list[Future] = []
        if size > 1:
            self.start()

    def start(self) -> None:
        """Start threads with a queue of their own. They end when `stop` is called or this object is gone."""
        self.tasks: SimpleQueue = SimpleQueue()
        for index in range(self.size):
            # A daemon thread does not keep the process alive when it hangs.
            threading.Thread(target=work, args=(self.tasks,), name=f"decoder-{index}", daemon=True).start()
        self.stop = weakref.finalize(self, end, self.tasks, self.size)

    def map(self, step: Callable, *columns: Any, deadline: Deadline | None = None) -> list:
        """`step(value, ...)` for each row, in the order of the rows; a `DeadlineExceeded` for a row whose thread was given up.

        Rows that no thread has begun when the time is over run in the calling thread.

        Args:
            columns: lists of one length. The step takes one value of each.
            deadline: of the batch; without one, the rows may take any time.
        """
        if self.size == 1:
            return list(map(step, *columns))
        rows = list(zip(*columns, strict=True))
        self.given_up = [future for future in self.given_up if not future.done()]
        if len(rows) == 1 or len(self.given_up) >= self.size:
            return [step(*values) for values in rows]
        futures = [self.submit(step, values) for values in rows]
        wait(futures, deadline.left_seconds() if deadline else None)
        not_begun = [index for index, future in enumerate(futures) if future.cancel()]
        results = {index: step(*rows[index]) for index in not_begun}
        late = [future for future in futures if not future.done()]  # a cancelled future is done
        if late:
            self.give_up(late)
        for index, future in enumerate(futures):
            if index not in results:
                results[index] = deadline.exceeded() if future in late else future.result()
        return [results[index] for index in range(len(rows))]

    def submit(self, step: Callable, values: tuple) -> Future:
        future: Future = Future()
        self.tasks.put((future, step, values))
        return future

    def give_up(self, late: list[Future]) -> None:
        """Replace all threads: the free ones end now, the busy ones when their step ends."""
        self.given_up += late
        log.warning("%d decoder threads are given up in this batch; %d are still busy", len(late), len(self.given_up))
        self.stop()
        self.start()


def work(tasks: SimpleQueue) -> None:
    """Run tasks until one is None."""
    while (task := tasks.get()) is not None:
        run(*task)
        del task  # a free thread must not keep its last row, and with it the handler, in memory


def run(future: Future, step: Callable, values: tuple) -> None:
    if future.set_running_or_notify_cancel():
        try:
            future.set_result(step(*values))
        except BaseException as error:
            future.set_exception(error)


def end(tasks: SimpleQueue, threads: int) -> None:
    for _ in range(threads):
        tasks.put(None)
