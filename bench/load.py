"""Load on one URL by h2load (nghttp2), and what came of it: rates and latencies.

h2load keeps to one core, writes a line a request and says how much processor time it took, so that its share is known.
Knows nothing of who answers.
"""

import os
import resource
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np

WARM_UP = 1.0  # seconds, not counted
PATIENCE = 30  # seconds for the last answers
TOOL = "h2load"
NO_PHRASE = 0  # what h2load makes of "HTTP/1.1 200 " without OK, as stock TorchServe answers


class LoadError(RuntimeError):
    """No load could be made; the message says why."""


class Target(msgspec.Struct):
    """Where requests go, and what each one is."""

    url: str
    body: bytes
    headers: dict[str, str] = {}


class Measured(msgspec.Struct):
    """What came of some seconds of load.

    Args:
        clients: connections, each with one request at a time.
        asked: requests a second that were to be sent; 0 where each client sends the next as soon as it is answered.
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


def measure(target: Target, clients: int, seconds: float, rate: float = 0.0) -> Measured:
    """
    Args:
        clients: connections.
        seconds: counted; `WARM_UP` more are not.
        rate: requests a second to send whether or not earlier ones are answered, as far as there are free connections. All
            connections tick together, so that they come in bursts of `clients`.

    Raises:
        LoadError: h2load is not installed, or cannot reach the target.
    """
    if shutil.which(TOOL) is None:
        raise LoadError(f"{TOOL} is not installed: apt-get install nghttp2-client (brew install nghttp2)")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        body, log = Path(folder, "body"), Path(folder, "log")
        body.write_bytes(target.body)
        headers = [word for name, value in target.headers.items() for word in ("-H", f"{name}: {value}")]
        pace = ["--rps", f"{rate / clients:.4f}"] if rate else []
        command = [
            TOOL, "--h1", f"--clients={clients}", f"--duration={1000 * (WARM_UP + seconds):.0f}ms", "--threads=1",
            f"--data={body}", f"--log-file={log}", *headers, *pace, target.url,
        ]  # fmt: skip
        before = processor_seconds()
        environment, patience = os.environ | {"LC_ALL": "C"}, WARM_UP + seconds + PATIENCE
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=patience)
        share = (processor_seconds() - before) / (WARM_UP + seconds)
        lines = np.loadtxt(log, dtype=np.int64, ndmin=2) if log.exists() and log.stat().st_size else np.empty((0, 3), np.int64)
    if done.returncode or not len(lines):
        raise LoadError(f"{TOOL} got nothing from {target.url}: {(done.stderr or done.stdout).strip()[-300:]}")
    return summed_up(lines, clients, rate, seconds, share)


def summed_up(lines: np.ndarray, clients: int, asked: float, seconds: float, tool: float) -> Measured:
    """h2load's log, (requests, 3): when each began in µs, its status, how many µs it took."""
    ends = lines[:, 0] + lines[:, 2]
    first = lines[:, 0].min() + WARM_UP * 1e6
    lines = lines[(ends >= first) & (ends < first + seconds * 1e6)]
    is_good = (lines[:, 1] == 200) | (lines[:, 1] == NO_PHRASE)
    took = lines[is_good, 2] / 1e3  # ms
    p50, p99 = np.percentile(took, [50, 99]) if len(took) else (np.nan, np.nan)
    others = Counter(lines[~is_good, 1].tolist())
    return Measured(clients, asked, len(took) / seconds, float(p50), float(p99), dict(others), tool)


def processor_seconds() -> float:
    """That children of this process which have ended took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
