"""Many clients that send requests at the same time and check each answer."""

import contextlib
import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import msgspec
from rich.progress import Progress

from tests.bundle import Bundle
from tests.faults.request_case import RequestCase, fault

CLIENTS = 32
TIMEOUT = 60  # seconds for one answer
CUT = 0  # in place of a status: the server closed the connection while the caller was still sending


class Results(msgspec.Struct):
    """
    Args:
        statuses: how many answers of each status, by the kind of the request.
        faults: one line for each wrong answer.
    """

    statuses: dict[str, Counter]
    faults: list[str]
    seconds: float


class ConcurrentClients:
    """Each client keeps its connection while the server does.

    Args:
        bundle: the server.
        progress: shows how many requests are done.
    """

    def __init__(self, bundle: Bundle, progress: Progress):
        self.bundle, self.progress = bundle, progress
        self.host = urlsplit(bundle.url("x")).netloc
        self.per_thread = threading.local()

    def send(self, cases: list[RequestCase], title: str) -> Results:
        results, bar = Results({}, [], 0), self.progress.add_task(title, total=len(cases))
        started = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as threads:
            for case, (status, wrong) in zip(cases, threads.map(self.ask, cases), strict=True):
                self.progress.advance(bar)
                results.statuses.setdefault(case.kind, Counter())[status] += 1
                if wrong:
                    results.faults.append(f"{case.kind} to {case.model}, {len(case.body):,} bytes {case.body[:60]!r}: {wrong}")
        results.seconds = time.perf_counter() - started
        return results

    def ask(self, case: RequestCase) -> tuple[int, str | None]:
        """The status, and what is wrong with the answer. A missing answer is a fault, whatever the reason."""
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

    def exchange(self, case: RequestCase) -> tuple[int, bytes]:
        if not hasattr(self.per_thread, "connection"):
            self.per_thread.connection = http.client.HTTPConnection(self.host, timeout=TIMEOUT)
        connection = self.per_thread.connection
        headers = {"Authorization": f"Bearer {self.bundle.key}"} | case.headers
        connection.request(case.method, case.path.format(model=case.model), case.body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()

    def hang_up(self) -> None:
        self.per_thread.connection.close()
        del self.per_thread.connection


@contextlib.contextmanager
def progress_bars(is_wanted: bool) -> Iterator[Progress]:
    with Progress(disable=not is_wanted, transient=True) as progress:
        yield progress
