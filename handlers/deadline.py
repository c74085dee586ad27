"""A batch that takes too long ends by itself: TorchServe would kill the worker, and what it held would be answered 500.

The alarm rings between two steps of the interpreter, so that a network of many layers is stopped, and one endless operation
in C is not.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator

SLICE = 0.02  # seconds that each further step gets once the time is over: enough for a cheap row behind an expensive one


class DeadlineExceeded(Exception):
    """The time is over. Raised in whatever the main thread is doing, and again every `SLICE` until the deadline is left."""


@contextlib.contextmanager
def deadline(seconds: float | None) -> Iterator[None]:
    """Raise `DeadlineExceeded` in the body after so many seconds; never if None, or where no signal can be had (not the main thread)."""
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    is_over = False

    def ring(*_) -> None:
        if not is_over:
            raise DeadlineExceeded(f"the {seconds:g} s for a batch are over")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, SLICE)
    try:
        yield
    finally:
        try:
            is_over = True
        finally:  # it may ring on the very line above, and not again before this one
            is_over = True
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
