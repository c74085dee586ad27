"""Proof that what is served is what was trained: a model's whole test set over HTTP, each answer beside the offline one.

Knows `test.zip` of the artifact: inputs, and `expected.json` with their label, and the answer and score found offline.
"""

import json
import statistics
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import local

import msgspec
from rich.progress import track

from serving.client import BYTES, TYPES, Client
from serving.home import Home, ServerError

TOLERANCE = 1e-3  # of a score
MOST_LISTED = 5


class Figures(msgspec.Struct):
    """What an evaluation found.

    Args:
        disagreements: one line for each input whose answer is not the offline one, or that got none.
        failures: how many of them got none.
    """

    inputs: int
    accuracy: float
    offline_accuracy: float
    disagreements: list[str]
    failures: int
    requests_per_second: float
    p50: float  # ms
    p99: float  # ms

    def __str__(self) -> str:
        listed = "".join(f"\n  {line}" for line in self.disagreements[:MOST_LISTED])
        failed = f" ({self.failures:,} got no answer)" if self.failures else ""
        return (
            f"accuracy over HTTP {self.accuracy:.4f}, offline {self.offline_accuracy:.4f}; "
            f"{len(self.disagreements):,} disagreements{failed} in {self.inputs:,} answers; "
            f"{self.requests_per_second:,.0f} requests/s, p50 {self.p50:.1f} ms, p99 {self.p99:.1f} ms{listed}"
        )


def evaluate(
    home: Home, model: str, test_set: Path, clients: int, version: str | None = None, tolerance: float = TOLERANCE
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
    except (FileNotFoundError, KeyError, zipfile.BadZipFile) as error:
        raise ServerError(f"{test_set}: no test set there ({error}); make train MODEL={model} writes one") from None
    if not expected:
        raise ServerError(f"{test_set}: the test set is empty; make train MODEL={model} writes another")
    each_thread = local()

    def ask(place: int) -> tuple[str | None, str | None, float]:
        """The label given, what is wrong with the answer, and how long it took in seconds."""
        if not hasattr(each_thread, "client"):
            each_thread.client = Client.of(home)
        entry, started = expected[place], time.perf_counter()
        kind = TYPES.get(Path(entry["file"]).suffix, BYTES)
        answer = each_thread.client.predict(model, bodies[place], kind, version)
        seconds = time.perf_counter() - started
        if answer.status_code != 200:
            return None, f"{entry['file']}: {answer.status_code} {answer.text[:200]}", seconds
        try:
            label, score = answer.json()[0]["label"], answer.json()[0]["score"]
        except (ValueError, LookupError, TypeError):
            return None, f"{entry['file']}: no label and score in {answer.text[:200]}", seconds
        agrees = label == entry["answer"] and abs(score - entry["score"]) <= tolerance
        told = f"{entry['file']}: {label} {score:.4f}, offline {entry['answer']} {entry['score']:.4f}"
        return label, None if agrees else told, seconds

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as threads:
        asked = threads.map(ask, range(len(expected)))
        answers = list(track(asked, f"evaluating {model}", len(expected), transient=True, disable=not sys.stdout.isatty()))
    elapsed = time.perf_counter() - started
    latencies = sorted(seconds for _, _, seconds in answers)
    return Figures(
        inputs=len(expected),
        accuracy=statistics.fmean(label == entry["label"] for (label, _, _), entry in zip(answers, expected, strict=True)),
        offline_accuracy=statistics.fmean(entry["answer"] == entry["label"] for entry in expected),
        disagreements=[wrong for _, wrong, _ in answers if wrong],
        failures=sum(label is None for label, _, _ in answers),
        requests_per_second=len(expected) / elapsed,
        p50=1e3 * latencies[len(latencies) // 2],
        p99=1e3 * latencies[int(0.99 * (len(latencies) - 1))],
    )
