"""Proof that what is served is what was trained: a model's whole test set over HTTP, each answer beside the offline one.

Knows `test.zip` of the artifact: inputs, and `expected.json` with what is true of each and the answer found offline; and of the
`model.json` beside it the first metric, its name and the figure found offline.
"""

import json
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import local
from typing import Any

import msgspec
from rich.progress import track

from model_defs.answer_diff import difference
from model_defs.metrics import measure
from serving.client import BYTES, TYPES, Client
from serving.registry import TOLERANCE
from serving.state import ServerError, StateDir

MOST_LISTED = 5


class Figures(msgspec.Struct):
    """What an evaluation found.

    Args:
        metric: its name in `model_defs/metrics.py`.
        value: what it comes to over HTTP.
        offline: what it came to in training.
        disagreements: one line for each input whose answer is not the offline one, or that got none.
        failures: how many of them got none.
    """

    inputs: int
    metric: str
    value: float
    offline: float
    disagreements: list[str]
    failures: int
    requests_per_second: float
    p50: float  # ms
    p99: float  # ms

    def __str__(self) -> str:
        listed = "".join(f"\n  {line}" for line in self.disagreements[:MOST_LISTED])
        failed = f" ({self.failures:,} got no answer)" if self.failures else ""
        return (
            f"{self.metric} over HTTP {self.value:.4f}, offline {self.offline:.4f}; "
            f"{len(self.disagreements):,} disagreements{failed} in {self.inputs:,} answers; "
            f"{self.requests_per_second:,.0f} requests/s, p50 {self.p50:.1f} ms, p99 {self.p99:.1f} ms{listed}"
        )


def evaluate(
    home: StateDir, model: str, test_set: Path, clients: int, version: str | None = None, tolerance: float = TOLERANCE
) -> Figures:
    """Send the test set from so many clients at once, each waiting for its answer before it sends the next.

    Args:
        tolerance: how far a score may lie from the offline one.

    Raises:
        ServerError: no test set, or nobody answers.
    """
    if clients < 1:
        raise ServerError(f"{clients} clients send nothing; give --clients 1 or more")
    try:
        with zipfile.ZipFile(test_set) as file:
            expected = json.loads(file.read("expected.json"))
            bodies = [file.read(entry["file"]) for entry in expected]
        truths = [entry["truth"] for entry in expected]
        metric, offline = next(iter(json.loads(test_set.with_name("model.json").read_bytes())["metrics"].items()))
    except (FileNotFoundError, KeyError, zipfile.BadZipFile) as error:
        raise ServerError(f"{test_set}: no test set there ({error}); make train MODEL={model} writes one") from None
    if not expected:
        raise ServerError(f"{test_set}: the test set is empty; make train MODEL={model} writes another")
    each_thread = local()

    def ask(place: int) -> tuple[Any, str | None, float]:
        """The answer, what is wrong with it, and how long it took in seconds."""
        if not hasattr(each_thread, "client"):
            each_thread.client = Client.of(home)
        entry, started = expected[place], time.perf_counter()
        kind = TYPES.get(Path(entry["file"]).suffix, BYTES)
        answer = each_thread.client.predict(model, bodies[place], kind, version)
        seconds = time.perf_counter() - started
        try:
            given = answer.json() if answer.status_code == 200 else None
        except ValueError:
            given = None
        if given is None:
            return None, f"{entry['file']}: {answer.status_code} {answer.text[:200]}", seconds
        wrong = difference(given, entry["answer"], tolerance)
        return given, wrong and f"{entry['file']}: {wrong}", seconds

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as threads:
        asked = threads.map(ask, range(len(expected)))
        answers = list(track(asked, f"evaluating {model}", len(expected), transient=True, disable=not sys.stdout.isatty()))
    elapsed = time.perf_counter() - started
    # An answer of another kind than the offline one is as good as none.
    kinds = [type(entry["answer"]) for entry in expected]
    usable = [given if type(given) is kind else None for (given, _, _), kind in zip(answers, kinds, strict=True)]
    latencies = sorted(seconds for _, _, seconds in answers)
    return Figures(
        inputs=len(expected),
        metric=metric,
        value=worth(metric, usable, truths),
        offline=offline,
        disagreements=[wrong for _, wrong, _ in answers if wrong],
        failures=sum(answer is None for answer, _, _ in answers),
        requests_per_second=len(expected) / elapsed,
        p50=1e3 * latencies[len(latencies) // 2],
        p99=1e3 * latencies[int(0.99 * (len(latencies) - 1))],
    )


def worth(metric: str, answers: list, truths: list) -> float:
    """
    Raises:
        ServerError: no such metric, a package that it needs is not installed, or answers of another shape than it takes.
    """
    try:
        return measure(metric)(answers, truths)
    except ImportError as error:
        raise ServerError(f"{metric} cannot be computed without {error.name}; make setup installs it") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ServerError(f"{metric} cannot be computed from these answers: {error!r}") from error
