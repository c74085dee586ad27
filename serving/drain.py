"""Wait until all that the server has taken in is answered.

TorchServe tells how many requests wait in its queues, but not how many are being answered. A worker that answers uses the
CPU, on this very machine, and one that waits for work uses none at all.
"""

import contextlib
import time
from collections.abc import Callable
from typing import Any

import psutil

QUIET = 0.3  # seconds without work, after which a worker counts as idle
TICK = 0.02  # seconds of CPU: below that is nothing but the clock's grain


def drain(describe: Callable[[], list[dict[str, Any]]], seconds: float) -> bool:
    """Return True when nothing waits and no worker works; False if that does not happen in so many seconds.

    Args:
        describe: gives TorchServe's description of each version that has to come to rest.
    """
    deadline, before = time.monotonic() + seconds, None
    while True:
        models = describe()
        is_waiting = any(model["jobQueueStatus"]["pendingRequests"] for model in models)
        worked = cpu_seconds(models)
        if not is_waiting and before is not None and worked - before < TICK:
            return True
        if time.monotonic() + QUIET > deadline:
            return False
        before = None if is_waiting else worked
        time.sleep(QUIET)


def cpu_seconds(models: list[dict[str, Any]]) -> float:
    """What all workers of these have used since they began."""
    used = 0.0
    for worker in (worker for model in models for worker in model["workers"]):
        with contextlib.suppress(psutil.Error, ValueError):  # ended meanwhile; or not begun, with the number -1
            used += sum(psutil.Process(worker["pid"]).cpu_times()[:2])
    return used
