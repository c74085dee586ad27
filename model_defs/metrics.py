"""What answers are worth: the metrics of the field, over answers and truths as the wire says them.

Training measures with these functions what it writes into `model.json`, and the evaluation over HTTP what came back: an
artifact names its metrics, and a metric's name is its function's. Knows neither networks nor tensors; what a metric needs to
be computed is imported when it is.
"""

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from model_defs.answer_diff import pixels
from model_defs.build import did_you_mean

Answers = list[Any]  # one an input, as the wire has it; None where there was none


def measure(name: str) -> Callable[[Answers, list], float]:
    """The metric of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in MEASURES:
        raise ValueError(f"no metric {name!r}{did_you_mean(name, MEASURES)}")
    return MEASURES[name]


def accuracy(answers: Answers, truths: list[str]) -> float:
    """The share of inputs whose first label is the true one."""
    return statistics.fmean(label == truth for label, truth in zip(first_labels(answers), truths, strict=True))


def f1(answers: Answers, truths: list[str]) -> float:
    """The harmonic mean of precision and recall of each label, and their mean over the labels."""
    from sklearn.metrics import f1_score

    return float(f1_score(truths, [label or "" for label in first_labels(answers)], average="macro"))


def mean_average_precision(answers: Answers, truths: list[list[dict]]) -> float:
    """Of boxes: COCO's, over ten overlaps from 0.5 to 0.95."""
    return average_precision(answers, truths, as_boxes, iou_type="bbox")["map"]


def average_precision_50(answers: Answers, truths: list[list[dict]]) -> float:
    """Of boxes: COCO's, where half an overlap is enough."""
    return average_precision(answers, truths, as_boxes, iou_type="bbox")["map_50"]


def mask_average_precision(answers: Answers, truths: list[list[dict]]) -> float:
    """Of instances' masks: COCO's, over ten overlaps from 0.5 to 0.95."""
    return average_precision(answers, truths, as_masks, iou_type="segm")["map"]


def mean_iou(answers: Answers, truths: list[list[dict]]) -> float:
    """Of each label the pixels in both masks, over those in either, of all pictures together; their mean over the labels.

    A truth's entry without a label masks the pixels of which nothing is known: they do not count.
    """
    both, either = Counter(), Counter()
    for answer, truth in zip(answers, truths, strict=True):
        given, real = as_label_masks(answer or []), as_label_masks(truth)
        known = ~real.pop(None, np.array(False))
        for label in given.keys() | real.keys():
            one, other = given.get(label, np.array(False)), real.get(label, np.array(False))
            both[label] += int((one & other & known).sum())
            either[label] += int(((one | other) & known).sum())
    return statistics.fmean(both[label] / either[label] for label in either if either[label])


def mean_absolute_error(answers: Answers, truths: list[dict]) -> float:
    """How far the answers' numbers lie from the true ones, in their unit; infinite where an answer is missing."""
    return statistics.fmean(abs(given - real) for given, real in numbers(answers, truths))


def r2(answers: Answers, truths: list[dict]) -> float:
    """The share of the numbers' variance that the answers explain: 1 at best, 0 for answering their mean."""
    pairs = list(numbers(answers, truths))
    mean = statistics.fmean(real for _, real in pairs)
    return 1 - sum((given - real) ** 2 for given, real in pairs) / max(sum((real - mean) ** 2 for _, real in pairs), 1e-12)


def relative_error(answers: Answers, truths: list[dict]) -> float:
    """Of forecasts: their mean absolute error over that of the seasonal-naive forecast of the same steps, which repeats the
    last season; below 1 they are better."""
    return mean_absolute_error(answers, truths) / max(seasonal_naive_error(answers, truths), 1e-12)


def seasonal_naive_error(answers: Answers, truths: list[dict]) -> float:
    """Of forecasts: the mean absolute error of the seasonal-naive one, whatever the answers are."""
    return mean_absolute_error([{"forecast": truth["seasonal_naive"]} for truth in truths], truths)


MEASURES = {
    function.__name__: function
    for function in (
        *(accuracy, f1, mean_average_precision, average_precision_50, mask_average_precision, mean_iou),
        *(mean_absolute_error, r2, relative_error, seasonal_naive_error),
    )
}
ERRORS = {"mean_absolute_error", "relative_error", "seasonal_naive_error"}  # the less, the better; of the others the more


def loss(name: str, before: float, after: float) -> float:
    """By how much the second figure of the metric is worse than the first."""
    return after - before if name in ERRORS else before - after


def numbers(answers: Answers, truths: list[dict]) -> Iterator[tuple[float, float]]:
    """Each number of the answers, `{"value": 3.5}` or `{"forecast": [3.5, ...]}`, with the true one of its key and place."""
    for answer, truth in zip(answers, truths, strict=True):
        given = {name: math.inf for name in ("value", "forecast") if name in truth} if answer is None else answer
        for name, value in given.items():
            one, other = (each if isinstance(each, list) else [each] for each in (value, truth[name]))
            yield from zip(one * len(other) if answer is None else one, other, strict=True)


def first_labels(answers: Answers) -> list[str | None]:
    return [answer[0].get("label") if answer else None for answer in answers]


def as_label_masks(entries: list[dict]) -> dict[str | None, np.ndarray]:
    """Label -> (height, width) bool: all its masks in one."""
    masks: dict[str | None, np.ndarray] = {}
    for entry in entries:
        mask = pixels(entry["mask"]) > 127
        masks[entry["label"]] = masks[entry["label"]] | mask if entry["label"] in masks else mask
    return masks


def as_boxes(entries: list[dict]) -> dict[str, Any]:
    import torch

    corners = [[entry["box"][name] for name in ("xmin", "ymin", "xmax", "ymax")] for entry in entries]
    return {"boxes": torch.tensor(corners, dtype=torch.float32).reshape(-1, 4)}


def as_masks(entries: list[dict]) -> dict[str, Any]:
    import torch

    masks = [torch.from_numpy(pixels(entry["mask"]) > 127) for entry in entries]
    return {"masks": torch.stack(masks) if masks else torch.zeros(0, 1, 1, dtype=torch.bool)}


def average_precision(answers: Answers, truths: list[list[dict]], shapes: Callable, **options: Any) -> dict[str, float]:
    """torchmetrics' figures.

    Args:
        shapes: entries -> boxes or masks, as torchmetrics names them.
    """
    import torch
    from torchmetrics.detection import MeanAveragePrecision

    number = {label: place for place, label in enumerate(sorted({entry["label"] for truth in truths for entry in truth}))}
    metric = MeanAveragePrecision(**options)
    for answer, truth in zip(answers, truths, strict=True):
        known = [entry for entry in answer or [] if entry["label"] in number]
        labels = [torch.tensor([number[entry["label"]] for entry in entries], dtype=torch.int64) for entries in (known, truth)]
        scores = torch.tensor([entry["score"] for entry in known])
        metric.update([shapes(known) | {"scores": scores, "labels": labels[0]}], [shapes(truth) | {"labels": labels[1]}])
    # Where no mask at all was given it says -1.
    return {name: max(0.0, float(value)) for name, value in metric.compute().items() if value.ndim == 0}
