"""Whether a runtime answers as the eager fp32 network does: measured on the samples and the test set, refused outside the bounds.

Sees answers as the wire has them, not tensors: decoding, batching and rounding are those of serving.
"""

import math
import statistics
import sys
from importlib import metadata
from typing import Any

import msgspec
from rich.progress import track

from archive.errors import ArchiveError
from handlers import base
from handlers.base import Handler
from handlers.comparison_report import Comparison
from handlers.request import RawRequest
from handlers.runtimes import RUNTIMES
from handlers.settings import Settings
from model_defs.answer_diff import is_number
from model_defs.artifact import Artifact, Sample
from model_defs.metrics import measure, metric_loss

MOST_HELD_OUT = 1000  # of the test set, evenly spread


def is_reference(settings: Settings) -> bool:
    """Whether the recipe asks for the eager fp32 network, with which the others are compared."""
    return settings.runtime == "eager" and settings.precision == "fp32" and not settings.channels_last


def compare(artifact: Artifact, handler: Handler, batch_size: int, most: int = MOST_HELD_OUT) -> Comparison:
    """Let the handler and an eager one answer the same inputs.

    Args:
        artifact: with its test set.
        handler: with the runtime in question.
        batch_size: of the recipe; the inputs are sent in batches of so many.
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
    made = Comparison(
        runtime=settings.runtime,
        precision=settings.precision,
        libraries={name: metadata.version(name) for name in ("torch", *RUNTIMES[settings.runtime].packages)},
        samples=len(samples),
        held_out=len(held_out),
        largest_difference=float(f"{max(difference(*pair) for pair in pairs):.2g}"),
        agreement=statistics.fmean(label(one) == label(other) for one, other in pairs),
        metric=metric,
        eager=measure(metric)([one for one, _ in pairs[len(samples) :]], truths),
        served=measure(metric)([other for _, other in pairs[len(samples) :]], truths),
    )
    refuse_outside_bounds(made, settings)
    return made


def refuse_outside_bounds(made: Comparison, settings: Settings) -> None:
    """
    Raises:
        ArchiveError: at fp32 another first label, or a score beyond the tolerance; below it, too much of the metric lost.
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
    """What the two answer each input, decoded."""
    starts = range(0, len(inputs), batch_size)
    what = f"comparing {other.settings.runtime} {other.settings.precision} with eager"
    pairs = []
    for start in track(starts, what, transient=True, disable=not sys.stdout.isatty()):
        rows = [
            RawRequest({"body": payload}, id=f"input {sample.file}") for sample, payload in inputs[start : start + batch_size]
        ]
        pairs += zip(answers(one, rows), answers(other, rows), strict=True)
    return pairs


def answers(handler: Handler, rows: list[RawRequest]) -> list[Any]:
    given = handler.answer(rows).answers
    for row, answer in zip(rows, given, strict=True):
        if answer.code != 200:
            raise ArchiveError(f"{row.id} of the artifact got {answer.code} {answer.body[:200].decode(errors='replace')}")
    return [msgspec.json.decode(answer.body) for answer in given]


def difference(one: Any, other: Any) -> float:
    """The largest difference of two numbers in the same place, relative where they are above 1; 1 where the answers are not of
    one shape. Of ranked labels it is that of a label's score, over the labels that both answers list."""
    if one == other:
        return 0.0
    if is_number(one) and is_number(other):
        return abs(one - other) / max(1.0, abs(one))
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return max((difference(one[key], other[key]) for key in one), default=0.0)
    if is_ranked(one) and is_ranked(other):
        scores = {entry["label"]: entry["score"] for entry in one}
        return max((abs(entry["score"] - scores[entry["label"]]) for entry in other if entry["label"] in scores), default=1.0)
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return max(map(difference, one, other), default=0.0)
    return 1.0


def is_ranked(answer: Any) -> bool:
    return isinstance(answer, list) and all(isinstance(entry, dict) and entry.keys() >= {"label", "score"} for entry in answer)


def label(answer: Any) -> str | None:
    """The first; None where nothing was found in a picture, or an answer has no labels."""
    return answer[0]["label"] if answer and is_ranked(answer) else None
