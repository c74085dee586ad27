"""Show that the served model is the trained one: send its whole test set over HTTP, compare each answer with the offline one.

The artifact's `test.zip` has the inputs, and in `expected.json` the truth and the offline answer of each. The first metric of
`model.json` has the offline value to compare with.
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
from model_defs.bundle_format import TOLERANCE
from model_defs.metrics import measure
from serving import evaluate_protocols
from serving.client import BYTES, TYPES, Client
from serving.errors import ServerError
from serving.state import StateDir

MAX_LISTED = 5


class Figures(msgspec.Struct):
    """The result of an evaluation.

    Args:
        metric: its name in `model_defs/metrics.py`.
        value: the metric over HTTP.
        offline: the metric in training.
        disagreements: one line for each input that got no answer, or another one than offline.
        failures: how many inputs got no answer.
        p50_ms, p99_ms: the median and the 99th percentile of the latency.
    """

    inputs: int
    metric: str
    value: float
    offline: float
    disagreements: list[str]
    failures: int
    requests_per_second: float
    p50_ms: float
    p99_ms: float

    def __str__(self) -> str:
        listed = "".join(f"\n  {line}" for line in self.disagreements[:MAX_LISTED])
        failed = f" ({self.failures:,} got no answer)" if self.failures else ""
        return (
            f"{self.metric} over HTTP {self.value:.4f}, offline {self.offline:.4f}; "
            f"{len(self.disagreements):,} disagreements{failed} in {self.inputs:,} answers; "
            f"{self.requests_per_second:,.0f} requests/s, p50 {self.p50_ms:.1f} ms, p99 {self.p99_ms:.1f} ms{listed}"
        )


def evaluate(
    home: StateDir,
    model: str,
    test_set: Path,
    clients: int,
    version: str | None = None,
    tolerance: float = TOLERANCE,
    protocol: str = "native",
    archive: Path | None = None,
) -> Figures:
    """Send the test set from so many clients at once. Each client waits for its answer before it sends the next input.

    Args:
        tolerance: how far a score may differ from the offline one.
        protocol: "native", or a name in `evaluate_protocols.py`.
        archive: of the model, with its description; see `evaluate_protocols.speaker`.

    Raises:
        ServerError: no test set, no answer, or a version in a protocol whose addresses have none.
    """
    if clients < 1:
        raise ServerError(f"{clients} clients send nothing; give --clients 1 or more")
    expected, bodies, metric, offline = read_test_set(test_set, model)
    speak = evaluate_protocols.speaker(home, model, version, protocol, archive)
    each_thread = local()

    def ask(index: int) -> tuple[Any, str | None, float]:
        """The answer, its fault if it has one, and its latency in seconds."""
        if not hasattr(each_thread, "client"):
            each_thread.client = Client.of(home)
        entry, started = expected[index], time.perf_counter()
        content_type = TYPES.get(Path(entry["file"]).suffix, BYTES)
        answer = each_thread.client.predict(model, *speak.ask(bodies[index], content_type))
        seconds = time.perf_counter() - started
        try:
            given = speak.hear(answer) if answer.status_code == 200 else None
        except (ValueError, LookupError, TypeError):
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
    # The metric cannot use an answer of another type than the offline one. It counts as no answer.
    types = [type(entry["answer"]) for entry in expected]
    usable = [given if type(given) is kind else None for (given, _, _), kind in zip(answers, types, strict=True)]
    latencies = sorted(seconds for _, _, seconds in answers)
    return Figures(
        inputs=len(expected),
        metric=metric,
        value=value_of(metric, usable, [entry["truth"] for entry in expected]),
        offline=offline,
        disagreements=[wrong for _, wrong, _ in answers if wrong],
        failures=sum(answer is None for answer, _, _ in answers),
        requests_per_second=len(expected) / elapsed,
        p50_ms=1e3 * latencies[len(latencies) // 2],
        p99_ms=1e3 * latencies[int(0.99 * (len(latencies) - 1))],
    )


def read_test_set(test_set: Path, model: str) -> tuple[list[dict[str, Any]], list[bytes], str, float]:
    """The entries of `expected.json`, the input of each, and the first metric's name and offline value.

    Raises:
        ServerError: there is no test set, or it is empty.
    """
    try:
        with zipfile.ZipFile(test_set) as file:
            expected = json.loads(file.read("expected.json"))
            bodies = [file.read(entry["file"]) for entry in expected]
        metric, offline = next(iter(json.loads(test_set.with_name("model.json").read_bytes())["metrics"].items()))
    except (FileNotFoundError, KeyError, zipfile.BadZipFile) as error:
        raise ServerError(
            f"{test_set}: no test set there ({error}); make train MODEL={model} writes one; "
            "make import writes one of class folders in TRY"
        ) from None
    if not expected:
        raise ServerError(f"{test_set}: the test set is empty; make train MODEL={model} writes another")
    return expected, bodies, metric, offline


def value_of(metric: str, answers: list, truths: list) -> float:
    """The metric of these answers.

    Raises:
        ServerError: no such metric, a package that it needs is not installed, or the answers have another shape than it takes.
    """
    try:
        return measure(metric)(answers, truths)
    except ImportError as error:
        raise ServerError(f"{metric} cannot be computed without {error.name}; make setup installs it") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ServerError(f"{metric} cannot be computed from these answers: {error!r}") from error
