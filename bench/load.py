"""Load on one URL by h2load (nghttp2), and what came of it: rates and latencies.

h2load keeps to one core, writes a line a request and says how much processor time it took, so that its share is known.
Knows nothing of who answers.
"""

import contextlib
import itertools
import os
import resource
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np

from model_defs.errors import BundleError

WARM_UP = 1.0  # seconds, not counted
PATIENCE = 15  # seconds for the last answers
TOOL = "h2load"
NO_PHRASE = 0  # what h2load makes of "HTTP/1.1 200 " without OK, as stock TorchServe answers


class LoadError(BundleError):
    """No load could be made; the message says why."""


class Target(msgspec.Struct):
    """Where requests go, and what each one is."""

    url: str
    body: bytes
    headers: dict[str, str] = {}


class Measured(msgspec.Struct):
    """What came of some seconds of load.

    Args:
        clients: connections, each with one request at a time; 0 in the open loop.
        asked: requests a second that were to be sent; 0 in the closed loop.
        rate: answers of status 200 a second.
        p50: ms.
        p99: ms.
        others: requests of any other status than 200 or of none, by status; -1 is none.
        tool: cores that h2load itself took.
    """

    clients: int
    asked: float
    rate: float
    p50: float
    p99: float
    others: dict[int, int]
    tool: float


def measure(target: Target, clients: int, seconds: float) -> Measured:
    """Closed loop: each client sends the next request when it has its answer.

    Args:
        clients: connections.
        seconds: counted; `WARM_UP` more are not.

    Raises:
        LoadError: h2load is not installed, or cannot reach the target.
    """
    lasting = [f"--clients={clients}", f"--duration={1000 * (WARM_UP + seconds):.0f}ms"]
    lines, tool = run(target, lasting, WARM_UP + seconds)
    ends = lines[:, 0] + lines[:, 2]
    first = lines[:, 0].min() + WARM_UP * 1e6
    return summed_up(lines[(ends >= first) & (ends < first + seconds * 1e6)], seconds, clients, 0, tool)


def pace(target: Target, rate: float, seconds: float) -> Measured:
    """Open loop: so many requests a second, evenly spaced and each by a caller of its own, whether or not others are answered.

    `rate` of what comes back is less than was asked where the last answers come late. For the error see `measure`.
    """
    together, period = rhythm(rate)
    count = max(1, round((WARM_UP + seconds) * rate))
    callers = [f"--clients={count}", f"--requests={count}", f"--rate={together}", f"--rate-period={period}ms"]
    lines, tool = run(target, callers, WARM_UP + seconds)
    first = lines[:, 0].min() + WARM_UP * 1e6
    lines = lines[lines[:, 0] >= first]
    lasted = (lines[:, 0] + lines[:, 2]).max() - first if len(lines) else np.nan
    return summed_up(lines, max(seconds, lasted / 1e6), 0, rate, tool)


def rhythm(rate: float) -> tuple[int, int]:
    """As few requests together, each so many ms, as come to the rate within a fiftieth: h2load wants both as whole numbers."""
    for together in itertools.count(1):
        period = max(1, round(1000 * together / rate))
        if abs(1000 * together / period / rate - 1) <= 0.02:
            return together, period


def run(target: Target, load: list[str], seconds: float) -> tuple[np.ndarray, float]:
    """h2load's log, (requests, 3): when each began in µs, its status, how many µs it took; and the cores that h2load took."""
    if shutil.which(TOOL) is None:
        raise LoadError(f"{TOOL} is not installed: apt-get install nghttp2-client (brew install nghttp2)")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        body, log = Path(folder, "body"), Path(folder, "log")
        body.write_bytes(target.body)
        headers = [word for name, value in target.headers.items() for word in ("-H", f"{name}: {value}")]
        command = [TOOL, "--h1", "--threads=1", *load, f"--data={body}", f"--log-file={log}", *headers, target.url]
        before, environment = processor_seconds(), os.environ | {"LC_ALL": "C"}
        failed, said = 0, ""
        # It may never end where connections are closed on it, as TorchServe does after each refusal; its log is whole even so.
        with contextlib.suppress(subprocess.TimeoutExpired):
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=False, timeout=seconds + PATIENCE
            )
            failed, said = done.returncode, (done.stderr or done.stdout).strip()[-300:]
        share = (processor_seconds() - before) / seconds
        lines = np.loadtxt(log, dtype=np.int64, ndmin=2) if log.exists() and log.stat().st_size else np.empty((0, 3), np.int64)
    if failed or not len(lines):
        raise LoadError(f"{TOOL} got nothing from {target.url}: {said}")
    return lines, share


def summed_up(lines: np.ndarray, seconds: float, clients: int, asked: float, tool: float) -> Measured:
    """The lines of h2load's log that count."""
    is_good = (lines[:, 1] == 200) | (lines[:, 1] == NO_PHRASE)
    took = lines[is_good, 2] / 1e3  # ms
    p50, p99 = np.percentile(took, [50, 99]) if len(took) else (np.nan, np.nan)
    others = Counter(lines[~is_good, 1].tolist())
    return Measured(clients, asked, len(took) / seconds, float(p50), float(p99), dict(others), tool)


def processor_seconds() -> float:
    """That children of this process which have ended took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
