"""Memory, open files and threads of a server's processes."""

import msgspec
import psutil

from tests.bundle import Bundle


class Usage(msgspec.Struct):
    """Of one process: resident memory in MB, open files, threads."""

    resident: float
    files: int
    threads: int


def processes(bundle: Bundle) -> set[tuple[int, float]]:
    """PID and start time of the frontend and of everything that it started.

    The system is asked, not TorchServe: TorchServe reports the PID of a dead worker until the next one is ready.
    """
    frontend = psutil.Process(bundle.home.require().pid)
    return {(process.pid, process.create_time()) for process in [frontend, *frontend.children(recursive=True)]}


def usage(bundle: Bundle) -> dict[str, Usage]:
    """Of the frontend and of each model's worker."""
    pids = {"frontend": bundle.home.require().pid}
    pids |= {model["modelName"]: worker["pid"] for model in bundle.client.models() for worker in model["workers"]}
    return {name: usage_of(psutil.Process(pid)) for name, pid in pids.items()}


def usage_of(process: psutil.Process) -> Usage:
    with process.oneshot():
        return Usage(process.memory_info().rss / 1e6, process.num_fds(), process.num_threads())
