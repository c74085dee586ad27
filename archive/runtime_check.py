"""Compare a runtime's answers with the eager fp32 network's, on the samples and the test set; refuse it outside the bounds.

The comparison uses the answers as callers get them, not tensors: decoding, batching and rounding are those of serving.
"""

import math
import statistics
import sys
from importlib import metadata
from typing import Any

import msgspec
from rich.progress import track

from archive.errors import ArchiveError
from handlers import base, runtimes
from handlers.base import Handler
from handlers.comparison_report import Comparison
from handlers.request import RawRequest
from handlers.settings import Settings
from model_defs.answer_diff import is_number
from model_defs.artifact import Artifact, Sample
from model_defs.metrics import measure, metric_loss

MAX_HELD_OUT = 1000  # inputs of the test set, evenly spread


def compare(artifact: Artifact, handler: Handler, batch_size: int, most: int = MAX_HELD_OUT) -> Comparison:
    """Let the handler and an eager one answer the same inputs.

    Args:
        artifact: with its test set.
        handler: with the runtime in question.
        batch_size: of the recipe; the inputs are sent in batches of this size.
        most: inputs of the test set to compare on.

    Raises:
        ArchiveError: no test set, an input without an answer, or answers too far apart.
    """
    settings = handler.settings
    try:
        test_set = artifact.test_set()
    except FileNotFoundError:
        test_set = []
    if not test_set:
        raise ArchiveError(
            f"no test.zip with inputs in {artifact.folder}/ to compare runtime {settings.runtime} {settings.precision} on; "
            f"make train MODEL={artifact.name} writes one"
        )
    samples, held_out = artifact.samples(), test_set[:: math.ceil(len(test_set) / most)]
    eager = base.load(artifact.folder, {"class_path": settings.class_path, "init_args": settings.init_args})
    pairs = answer_both(eager, handler, samples + held_out, batch_size)
    metric, truths = next(iter(artifact.metrics), "accuracy"), [sample.truth for sample, _ in held_out]
    within = None if all(has_labels(answer) for pair in pairs for answer in pair) else settings.tolerance
    made = Comparison(
        runtime=settings.runtime,
        precision=settings.precision,
        libraries={name: metadata.version(name) for name in ("torch", *runtimes.find(settings.runtime).packages)},
        samples=len(samples),
        held_out=len(held_out),
        largest_difference=float(f"{max(distance(*pair) for pair in pairs):.2g}"),
        agreement=statistics.fmean(is_alike(*pair, within) for pair in pairs),
        metric=metric,
        eager=measure(metric)([one for one, _ in pairs[len(samples) :]], truths),
        served=measure(metric)([other for _, other in pairs[len(samples) :]], truths),
        within=within,
    )
    refuse_outside_bounds(made, settings)
    return made


def refuse_outside_bounds(made: Comparison, settings: Settings) -> None:
    """
    Raises:
        ArchiveError: at fp32, an input that is not answered alike, or a number beyond the tolerance; at a lower precision, too
            much of the metric lost.
    """
    if made.precision == "fp32":
        is_within, bound = (
            made.agreement == 1 and made.largest_difference <= settings.tolerance,
            f"fp32 may change no first label, and no score by more than the recipe's tolerance, {settings.tolerance:g}",
        )
    else:
        is_within, bound = (
            metric_loss(made.metric, made.eager, made.served) <= settings.metric_loss,
            f"it may lose {settings.metric_loss:g} of the metric: take another precision, or raise metric_loss in the recipe",
        )
    if not is_within:
        raise ArchiveError(f"{made}; {bound}")


def answer_both(one: Handler, other: Handler, inputs: list[tuple[Sample, bytes]], batch_size: int) -> list[tuple[Any, Any]]:
    """Each input's two answers, decoded from JSON."""
    starts = range(0, len(inputs), batch_size)
    what = f"comparing {other.settings.runtime} {other.settings.precision} with eager"
    pairs: list[tuple[Any, Any]] = []
    for start in track(starts, what, transient=True, disable=not sys.stdout.isatty()):
        rows = [
            RawRequest({"body": payload}, id=f"input {sample.file}") for sample, payload in inputs[start : start + batch_size]
        ]
        pairs += zip(answers(one, rows), answers(other, rows), strict=True)
    return pairs


def answers(handler: Handler, rows: list[RawRequest]) -> list[Any]:
    """The handler's answers to one batch, decoded.

    Raises:
        ArchiveError: an input was refused.
    """
    given = handler.answer(rows).answers
    for row, answer in zip(rows, given, strict=True):
        if answer.code != 200:
            raise ArchiveError(f"{row.id} of the artifact got {answer.code} {answer.body[:200].decode(errors='replace')}")
    return [msgspec.json.decode(answer.body) for answer in given]


def distance(one: Any, other: Any) -> float:
    """The largest difference between two numbers at the same position, relative for numbers above 1.

    1 if the answers do not have the same shape. Answers with labels are compared label by label, over the labels that both list.
    """
    if one == other:
        return 0.0
    if is_number(one) and is_number(other):
        return abs(one - other) / max(1.0, abs(one))
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return max((distance(one[key], other[key]) for key in one), default=0.0)
    if has_labels(one) and has_labels(other):
        scores = {entry["label"]: entry["score"] for entry in one}
        return max((abs(entry["score"] - scores[entry["label"]]) for entry in other if entry["label"] in scores), default=1.0)
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return max(map(distance, one, other), default=0.0)
    return 1.0


def has_labels(answer: Any) -> bool:
    """Whether the answer is a list of labels with scores; an empty one is, when nothing was found in an image."""
    return isinstance(answer, list) and all(isinstance(entry, dict) and entry.keys() >= {"label", "score"} for entry in answer)


def is_alike(one: Any, other: Any, within: float | None) -> bool:
    """Whether the first labels are the same, or, where answers have no labels, all numbers are `within` so much of each other."""
    if within is None:
        return [entry["label"] for entry in one[:1]] == [entry["label"] for entry in other[:1]]
    return distance(one, other) <= within
