"""Count the requests that the server has answered, from the log that TorchServe writes of them (serving/log4j2.xml).

TorchServe writes a line when it sends an answer. The name of the thread says which worker of which version has answered, or that
it was the frontend itself, for example because a queue was full. If a worker was asked, a second line follows in the same
thread. It has the nanoseconds that the request has waited and that it has taken in all.
"""

import os
import re
import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from serving.state import RegisteredModel

LINE = re.compile(
    rb'^(?P<thread>\S+) (?:\S+ "\S+ (?P<path>\S+) \S+" (?P<status>\d{3}) (?P<ms>\d+)'
    rb"|Waiting time ns: (?P<waited>-?\d+), (?P<kind>Backend|Inference) time ns: (?P<ns>-?\d+))$",
    re.MULTILINE,
)
WORKER = re.compile(r"W-\d+-(\w+)_([^_]+)")  # the thread of a worker; no version has an underscore
ASKED = re.compile(  # the addresses at which a model is asked
    r"/(?:predictions|explanations)/(?P<model>\w+)(?:/(?P<version>[\w.+-]+))?(?:\?.*)?"
    r"|/v1/models/(?P<v1>\w+):\w+|/v2/models/(?P<v2>\w+)/(?:infer|explain)"
)
# Seconds, from a tenth of a millisecond to half a minute.
SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
MAX_READ = 1 << 22  # bytes that are read at once


class Histogram:
    """How many values lie below each bound.

    Args:
        bounds: in ascending order.
    """

    def __init__(self, bounds: Sequence[float]):
        self.bounds, self.counts, self.sum = bounds, [0.0] * (len(bounds) + 1), 0.0

    def observe(self, value: float, times: float = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times

    @property
    def count(self) -> float:
        return sum(self.counts)

    def buckets(self) -> list[tuple[str, float]]:
        """Each bound, and how many values are at most that large, as Prometheus has it."""
        below, found = 0.0, []
        for bound, count in zip((*map(float, self.bounds), "+Inf"), self.counts, strict=True):
            below += count
            found.append((str(bound), below))
        return found


class RequestLog:
    """
    Args:
        file: which TorchServe writes. What was in it before does not count.
    """

    def __init__(self, file: Path):
        self.file, self.opened, self.rest = file, None, b""
        self.lock = threading.Lock()
        self.sent: dict[bytes, str] = {}  # the status of a worker's last answer, until the line with its time comes
        self.seconds: defaultdict[tuple[str, str, str], Histogram] = defaultdict(lambda: Histogram(SECONDS))  # by status, too
        self.waited: defaultdict[tuple[str, str], Histogram] = defaultdict(lambda: Histogram(SECONDS))  # by model, version
        if file.exists():
            self.opened = file.open("rb")
            self.opened.seek(0, os.SEEK_END)

    def read(self, registered: Mapping[str, RegisteredModel]) -> None:
        """Count what was written since the last call.

        Args:
            registered: the models, because a caller may name any.
        """
        with self.lock:
            while piece := self.piece():
                lines, _, self.rest = (self.rest + piece).rpartition(b"\n")
                for match in LINE.finditer(lines):
                    self.count(match, registered)

    def piece(self) -> bytes:
        """The next bytes. TorchServe renames a full file and begins another."""
        if self.opened is None:
            if not self.file.exists():
                return b""
            self.opened = self.file.open("rb")
        if piece := self.opened.read(MAX_READ):
            return piece
        if is_renamed(self.opened, self.file):
            piece = self.opened.read(MAX_READ)  # the last lines of the old one
            self.opened.close()
            self.opened = None
            return piece or self.piece()
        return b""

    def count(self, match: re.Match[bytes], registered: Mapping[str, RegisteredModel]) -> None:
        thread, path, status, ms, waited, kind, ns = match.groups()
        version = version_of(thread)
        if version is None:
            if status and (asked := ASKED.fullmatch(path.decode(errors="replace"))):
                self.seconds[*named(asked, registered), status.decode()].observe(int(ms) / 1e3)
        elif status:
            self.sent[thread] = status.decode()
        elif thread in self.sent:  # not if the caller has hung up
            whole = int(ns) + (int(waited) if kind == b"Backend" else 0)
            self.seconds[*version, self.sent.pop(thread)].observe(whole / 1e9)
            self.waited[version].observe(max(int(waited), 0) / 1e9)


@lru_cache(maxsize=4096)
def version_of(thread: bytes) -> tuple[str, str] | None:
    """The model and the version of the worker that has this thread; None for a thread of the frontend."""
    match = WORKER.fullmatch(thread.decode(errors="replace"))
    return (match[1], match[2]) if match else None


def is_renamed(opened: BinaryIO, file: Path) -> bool:
    try:
        return not os.path.samestat(os.fstat(opened.fileno()), file.stat())
    except FileNotFoundError:  # between the two steps
        return False


def named(asked: re.Match[str], registered: Mapping[str, RegisteredModel]) -> tuple[str, str]:
    """The model and version that a request has named; empty if the server does not know them: their number has no limit."""
    known = registered.get(asked["model"] or asked["v1"] or asked["v2"])
    version = known and (asked["version"] or known.default)
    return (asked["model"] or asked["v1"] or asked["v2"], version) if known and version in known.versions else ("", "")
