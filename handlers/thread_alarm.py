"""Interrupt a late step in a thread that is not the main one, where signals do not come.

One watching thread per process raises an exception in the other thread, between two instructions of the interpreter.
"""

import ctypes
import math
import threading
import time
from typing import Protocol

TICK = 0.02  # seconds between two looks, once a deadline is over


class Watched(Protocol):
    """A deadline, as the watching thread needs it.

    Args:
        thread: that it is for.
        end: of the allowed time, by the monotonic clock.
    """

    thread: int
    end: float

    def is_due(self, now: float) -> bool:
        """Whether its step must be interrupted now. If so, it notes that the step is late."""


class Watch:
    """The watching thread. It starts with the first deadline.

    Args:
        alarm: the exception that it raises.
    """

    def __init__(self, alarm: type[BaseException]):
        self.alarm = alarm
        self.condition = threading.Condition()
        self.deadlines: dict[int, Watched] = {}  # by their threads
        self.wakes = math.inf
        self.thread: threading.Thread | None = None

    def add(self, deadline: Watched) -> None:
        with self.condition:
            self.deadlines[deadline.thread] = deadline
            if self.thread is None:
                self.thread = threading.Thread(target=self.run, name="deadlines", daemon=True)
                self.thread.start()
            elif deadline.end < self.wakes:
                self.condition.notify()

    def remove(self, deadline: Watched) -> None:
        with self.condition:
            self.deadlines.pop(deadline.thread, None)

    def run(self) -> None:
        with self.condition:
            while True:
                now = time.monotonic()
                for deadline in self.deadlines.values():
                    if deadline.is_due(now):
                        raise_in(deadline.thread, self.alarm)
                first = min((deadline.end for deadline in self.deadlines.values()), default=math.inf)
                self.wakes = max(first, now + TICK)
                self.condition.wait(None if self.wakes == math.inf else self.wakes - now)


def raise_in(thread: int, alarm: type[BaseException] | None) -> None:
    """Let the thread raise the exception at its next instruction; None takes back one that has not come yet."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), None if alarm is None else ctypes.py_object(alarm))
