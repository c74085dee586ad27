"""Wait until the server has answered all requests that it has taken in.

TorchServe reports how many requests wait in its queues, but not how many the workers process. A worker that processes one uses
CPU, or waits for a core. A worker without one sleeps and uses no CPU at all. The workers run on this machine.
"""

import contextlib
import sys
import time
from collections.abc import Callable
from typing import Any

import psutil

QUIET = 0.3  # seconds without work, after which a worker counts as idle
TICK = 0.02  # seconds of CPU; less is the clock's resolution


def drain(describe: Callable[[], list[dict[str, Any]]], seconds: float) -> bool:
    """Return True when no request waits and no worker works; False if that does not happen within so many seconds.

    Args:
        describe: returns TorchServe's descriptions of the versions to wait for.
    """
    deadline, before = time.monotonic() + seconds, None
    while True:
        models = describe()
        is_waiting = any(model["jobQueueStatus"]["pendingRequests"] for model in models)
        used, is_runnable = activity(models)
        if not is_waiting and not is_runnable and before is not None and used - before < TICK:
            return True
        if time.monotonic() + QUIET > deadline:
            return False
        before = None if is_waiting else used
        time.sleep(QUIET)


def activity(models: list[dict[str, Any]]) -> tuple[float, bool]:
    """The CPU seconds that all workers of these models have used so far, and whether any of them runs or waits for a core.

    Where other programs use all cores, a worker may get next to no CPU during `QUIET`, but then it waits for a core.
    """
    used, is_runnable = 0.0, False
    for worker in (worker for model in models for worker in model["workers"]):
        with contextlib.suppress(psutil.Error, ValueError):  # the worker has ended, or has not started and has the pid -1
            process = psutil.Process(worker["pid"])
            used += sum(process.cpu_times()[:2])
            is_runnable |= sys.platform == "linux" and process.status() == psutil.STATUS_RUNNING  # macOS says it of all
    return used, is_runnable
