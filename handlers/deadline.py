"""The time limit of one batch: a step that is late is interrupted, and only its rows get 504.

Without it, TorchServe would kill the worker, and every row of the batch would get 500.
"""

import math
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from handlers.thread_alarm import Watch, raise_in

TICK = 0.02  # seconds between two alarms, once the time is over
SPARE = 0.15  # of the batch's time, on top of it, for steps that must still run when it is over. TorchServe waits for 0.25.


class DeadlineExceeded(Exception):
    """The time is over before this step is done."""


class Alarm(BaseException):
    """Interrupts a late step. It is not an Exception, so that no decoder takes it for a broken file."""


WATCH = Watch(Alarm)  # for threads other than the main one


class Deadline:
    """The time limit of one batch. Use it in a `with`, around calls of steps that `limit` returned.

    When the time is over, an alarm interrupts the step that runs, if it has had its fair share: the time that is left,
    with the spare time, divided by twice the number of rows. So a cheap row after a slow one is still answered, and the batch
    never needs more than its time and the spare time.

    An alarm interrupts Python code, such as a network of many layers. It does not interrupt one long call of C code. It may
    interrupt any line of a step, so a step must not hold a lock that others need.

    In the main thread the alarm is a signal. In another one, which receives no signals, a watching thread raises it.

    Args:
        seconds: that the batch may take; unlimited if None.
        rows: of the batch.
    """

    def __init__(self, seconds: float | None, rows: int):
        self.seconds, self.rows = seconds, rows
        self.start = time.monotonic()
        self.thread = threading.get_ident()
        self.has_signal = seconds is not None and threading.current_thread() is threading.main_thread()
        self.is_watched = seconds is not None and not self.has_signal
        self.last = math.inf if seconds is None else self.start + (1 + SPARE) * seconds  # the end of the spare time
        self.step_start: float | None = None  # of the step that runs; None between two steps
        self.is_late = False  # whether the alarm interrupted this step
        self.allow(1)

    def __enter__(self) -> "Deadline":
        if self.has_signal:
            self.handler_before = signal.signal(signal.SIGALRM, self.on_alarm)
            self.timer_before = self.set_alarm()
        elif self.is_watched:
            WATCH.add(self)
        return self

    def __exit__(self, *_: Any) -> None:
        if self.has_signal:
            signal.setitimer(signal.ITIMER_REAL, *self.timer_before)
            signal.signal(signal.SIGALRM, self.handler_before)
        elif self.is_watched:
            WATCH.remove(self)

    def allow(self, share: float, what: str = "a batch") -> None:
        """Let the next steps run until this share of the batch's time is over. A later share may only be larger.

        Args:
            what: this time is for, in the message.
        """
        self.share, self.what = share, what
        self.end = math.inf if self.seconds is None else self.start + share * self.seconds

    def left_seconds(self) -> float | None:
        """The time that is left for these steps; None if it is unlimited."""
        return None if self.seconds is None else max(0.0, self.end - time.monotonic())

    def exceeded(self) -> DeadlineExceeded:
        return DeadlineExceeded(f"the {self.share * self.seconds:g} s for {self.what} are over")

    def limit(self, step: Callable) -> Callable:
        """A function that calls the step and raises `DeadlineExceeded` if it is late. Other threads may call it without limit."""
        if self.seconds is None:
            return step

        def limited(*values: Any) -> Any:
            if threading.get_ident() != self.thread:
                return step(*values)
            self.is_late = False
            result = None
            try:
                self.step_start = time.monotonic()
                try:
                    result = step(*values)
                finally:
                    # CPython handles signals when a call returns or a loop jumps back, so none comes before this line is done.
                    self.step_start = None
                    if self.is_watched:
                        self.call_off()
            except (Exception, Alarm):
                if self.is_watched:
                    self.call_off()  # the alarm may have come during the first call
                if not self.is_late:
                    raise
            if self.is_late:  # also if C code or a library swallowed the alarm: then the result may be incomplete
                raise self.exceeded()
            return result

        return limited

    def call_off(self) -> None:
        """After this, the watching thread raises nothing, and what it has raised does not come any more."""
        with WATCH.condition:
            self.step_start = None  # again: the watching thread writes it, too
            if self.is_late:
                raise_in(self.thread, None)

    def set_alarm(self) -> tuple[float, float]:
        """Let the alarm come at the end of the allowed time, and then every `TICK`. Returns the timer of before."""
        return signal.setitimer(signal.ITIMER_REAL, max(self.end - time.monotonic(), TICK), TICK)

    def on_alarm(self, *_: Any) -> None:
        now = time.monotonic()
        if now < self.end:  # more time is allowed now
            self.set_alarm()
        elif self.is_due(now):
            raise Alarm

    def is_due(self, now: float) -> bool:
        """Whether the step that runs must be interrupted: the time is over, and it has had its fair share. If so, it is late."""
        if now < self.end or self.step_start is None:
            return False
        fair_share = (self.last - self.step_start) / (2 * self.rows)
        if now - self.step_start < fair_share:
            return False
        self.is_late = True
        self.step_start = now  # a step that swallows the alarm hears it again, but has time to clean up before that
        return True
