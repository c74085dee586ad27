"""Load on one URL by h2load (of nghttp2), with the rates and latencies that it measured.

h2load uses one core, logs one line per request, and its processor time is measured, so its own share is known.
"""

import contextlib
import itertools
import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np

from model_defs.errors import BundleError

WARM_UP = 1.0  # seconds, not counted
PATIENCE = 15  # seconds to wait for the last answers
TOOL = "h2load"
NO_PHRASE = 0  # the status that h2load reads in "HTTP/1.1 200 " without OK, which stock TorchServe sends


class LoadError(BundleError):
    """No load could be made; the message says why."""


class Target(msgspec.Struct):
    """Where requests go, and what each of them holds."""

    url: str
    body: bytes
    headers: dict[str, str] = {}


class Measured(msgspec.Struct):
    """What some seconds of load gave.

    Args:
        clients: connections, each with one request at a time; 0 in the open loop.
        asked: requests per second that were to be sent; 0 in the closed loop.
        rate: answers per second with status 200.
        p50: ms.
        p99: ms.
        others: the number of requests by status, for each status other than 200; -1 is no answer.
        tool: cores that h2load itself used.
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
        seconds: that count; `WARM_UP` seconds before them do not.

    Raises:
        LoadError: h2load is not installed, or cannot reach the target.
    """
    load = [f"--clients={clients}", f"--duration={1000 * (WARM_UP + seconds):.0f}ms"]
    lines, tool = run(target, load, WARM_UP + seconds)
    ends = lines[:, 0] + lines[:, 2]
    first = lines[:, 0].min() + WARM_UP * 1e6
    return summarize(lines[(ends >= first) & (ends < first + seconds * 1e6)], seconds, clients, 0, tool)


def pace(target: Target, rate: float, seconds: float) -> Measured:
    """Open loop: `rate` evenly spaced requests per second, each by its own client, whether or not others are answered.

    The rate of the result is lower than the rate asked for if the last answers are late. For the error see `measure`.
    """
    burst, period_ms = rhythm(rate)
    count = max(1, round((WARM_UP + seconds) * rate))
    load = [f"--clients={count}", f"--requests={count}", f"--rate={burst}", f"--rate-period={period_ms}ms"]
    lines, tool = run(target, load, WARM_UP + seconds)
    first = lines[:, 0].min() + WARM_UP * 1e6
    lines = lines[lines[:, 0] >= first]
    duration = (lines[:, 0] + lines[:, 2]).max() - first if len(lines) else np.nan
    return summarize(lines, max(seconds, duration / 1e6), 0, rate, tool)


def rhythm(rate: float) -> tuple[int, int]:
    """The smallest burst of requests, and its period in ms, whose rate is within 2% of `rate`. h2load takes whole numbers."""
    for burst in itertools.count(1):
        period_ms = max(1, round(1000 * burst / rate))
        if abs(1000 * burst / period_ms / rate - 1) <= 0.02:
            return burst, period_ms


def run(target: Target, load: list[str], seconds: float) -> tuple[np.ndarray, float]:
    """Run h2load.

    Returns:
        Its log, (requests, 3) int64: start in µs, status, duration in µs. And the cores that h2load used.

    Raises:
        LoadError: see `measure`.
    """
    if shutil.which(TOOL) is None:
        raise LoadError(f"{TOOL} is not installed: apt-get install nghttp2-client (brew install nghttp2)")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        body, log = Path(folder, "body"), Path(folder, "log")
        body.write_bytes(target.body)
        headers = [word for name, value in target.headers.items() for word in ("-H", f"{name}: {value}")]
        command = [TOOL, "--h1", "--threads=1", *load, f"--data={body}", f"--log-file={log}", *headers, target.url]
        before, started, environment = child_seconds(), time.perf_counter(), os.environ | {"LC_ALL": "C"}
        status, output = 0, ""
        # It may never end if its connections are closed, as TorchServe does after each refusal. Its log is complete even then.
        with contextlib.suppress(subprocess.TimeoutExpired):
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=False, timeout=seconds + PATIENCE
            )
            status, output = done.returncode, (done.stderr or done.stdout).strip()[-300:]
        share = (child_seconds() - before) / (time.perf_counter() - started)
        lines = np.loadtxt(log, dtype=np.int64, ndmin=2) if log.exists() and log.stat().st_size else np.empty((0, 3), np.int64)
    if status or not len(lines):
        raise LoadError(f"{TOOL} got nothing from {target.url}: {output}")
    return lines, share


def summarize(lines: np.ndarray, seconds: float, clients: int, asked: float, tool: float) -> Measured:
    """The lines of h2load's log that count -> what they come to."""
    is_good = (lines[:, 1] == 200) | (lines[:, 1] == NO_PHRASE)
    times = lines[is_good, 2] / 1e3  # ms
    p50, p99 = np.percentile(times, [50, 99]) if len(times) else (np.nan, np.nan)
    others = Counter(lines[~is_good, 1].tolist())
    return Measured(clients, asked, len(times) / seconds, float(p50), float(p99), dict(others), tool)


def child_seconds() -> float:
    """Processor time of this process's children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
