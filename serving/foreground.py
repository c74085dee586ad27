"""Stay in front of a running server, for systemd and containers: on SIGTERM answer what was taken in, then stop."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable

import psutil

from serving import server
from serving.state import StateDir

INTERRUPTED = 130  # the exit status after Ctrl-C


class Terminated(BaseException):
    """SIGTERM. It is not an Exception, so that nothing on the way takes it for a failure of its own."""


def stay(home: StateDir, start: Callable[[], int | None]) -> int:
    """Start the server, wait for its end, and return the exit status.

    It is 0 after SIGTERM or `make stop`, 130 after Ctrl-C, that of `start` if the start failed, and otherwise that of the server
    which ended by itself, 128 and its number for a signal.
    """

    def terminate(*_: object) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)
    status = 1
    try:
        status = start() or 0
        if status == 0:
            status = wait(home)
    except Terminated:
        status = 0
    except KeyboardInterrupt:
        status = INTERRUPTED
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):  # a second one must not cut the draining short
            signal.signal(number, signal.SIG_IGN)
        print("the server has stopped" if server.stop(home) else "the server has ended", flush=True)
    return status


def wait(home: StateDir) -> int:
    """Return the exit status of the server when it has ended; 0 if `make stop` has ended it."""
    running = home.require()
    code = wait_for(running.pid)
    last = home.last()
    if last is None or last.is_stopping:
        return 0
    status = 1 if code is None else 128 - code if code < 0 else code
    print(
        f"error: the server ended with status {status}; see {home.logs}/console.log and server.log", file=sys.stderr, flush=True
    )
    return status


def wait_for(pid: int) -> int | None:
    """A process's exit code when it has ended, negative for a signal; None if it is not a child of this process."""
    try:
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status)
    except ChildProcessError:
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(pid).wait()
        return None
