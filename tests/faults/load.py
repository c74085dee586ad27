"""Clients that send cases at once, and what the server's processes hold before and after. Knows nothing of what is in a case."""

import contextlib
import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import msgspec
import psutil
from rich.progress import Progress

from tests.bundle import Bundle
from tests.faults.case import Case, fault

CLIENTS = 32
PATIENCE = 60  # seconds for one answer
CUT = 0  # in place of a status: the connection was closed while the caller was still sending


class Sent(msgspec.Struct):
    """What came back.

    Args:
        statuses: how many of each, by the case's kind.
        faults: what was wrong, a line each.
    """

    statuses: dict[str, Counter]
    faults: list[str]
    seconds: float


class Clients:
    """So many callers, each with a connection of its own that it keeps while it can.

    Args:
        bundle: whom they call.
        progress: shows how far they are.
    """

    def __init__(self, bundle: Bundle, progress: Progress):
        self.bundle, self.progress = bundle, progress
        self.host = urlsplit(bundle.url("x")).netloc
        self.each_thread = threading.local()

    def send(self, cases: list[Case], what: str) -> Sent:
        sent, bar = Sent({}, [], 0), self.progress.add_task(what, total=len(cases))
        started = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as threads:
            for case, (status, wrong) in zip(cases, threads.map(self.ask, cases), strict=True):
                self.progress.advance(bar)
                sent.statuses.setdefault(case.kind, Counter())[status] += 1
                if wrong:
                    sent.faults.append(f"{case.kind} to {case.model}, {len(case.body):,} bytes {case.body[:60]!r}: {wrong}")
        sent.seconds = time.perf_counter() - started
        return sent

    def ask(self, case: Case) -> tuple[int, str | None]:
        """The status and what is wrong with the answer. An answer that never comes is a fault, whatever the reason."""
        try:
            status, body = self.exchange(case)
        except (OSError, http.client.HTTPException) as error:
            self.hang_up()
            if case.is_unread and isinstance(error, ConnectionError):
                return CUT, None
            return CUT, f"no answer: {error!r}"
        if status >= 400:
            self.hang_up()  # TorchServe closes the connection after a refusal, but does not say so
        return status, fault(case, status, body)

    def exchange(self, case: Case) -> tuple[int, bytes]:
        if not hasattr(self.each_thread, "connection"):
            self.each_thread.connection = http.client.HTTPConnection(self.host, timeout=PATIENCE)
        connection = self.each_thread.connection
        headers = {"Authorization": f"Bearer {self.bundle.key}"} | case.headers
        connection.request(case.method, case.path.format(model=case.model), case.body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()

    def hang_up(self) -> None:
        self.each_thread.connection.close()
        del self.each_thread.connection


class Held(msgspec.Struct):
    """What one process holds: resident memory in MB, open files, threads."""

    resident: float
    files: int
    threads: int


def processes(bundle: Bundle) -> set[tuple[int, float]]:
    """The frontend and all that it started, each with the time at which it began: as the system has it, since TorchServe itself
    tells the number of a dead worker until the next one is ready."""
    frontend = psutil.Process(bundle.home.require().pid)
    return {(process.pid, process.create_time()) for process in [frontend, *frontend.children(recursive=True)]}


def holdings(bundle: Bundle) -> dict[str, Held]:
    """Of the frontend and each worker."""
    pids = {"frontend": bundle.home.require().pid}
    pids |= {model["modelName"]: worker["pid"] for model in bundle.client.models() for worker in model["workers"]}
    return {name: held(psutil.Process(pid)) for name, pid in pids.items()}


def held(process: psutil.Process) -> Held:
    with process.oneshot():
        return Held(process.memory_info().rss / 1e6, process.num_fds(), process.num_threads())


@contextlib.contextmanager
def drawing(is_wanted: bool) -> Iterator[Progress]:
    with Progress(disable=not is_wanted, transient=True) as progress:
        yield progress
