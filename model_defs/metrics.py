"""Metrics over answers and truths, both as the wire has them.

Training writes them into `model.json`, and the evaluation over HTTP measures them again. A metric's name is its function's name.
A metric's libraries are imported when it is computed, so that importing this module needs no torch.
"""

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from model_defs.answer_diff import pixels
from model_defs.build import did_you_mean

Answers = list[Any]  # one per input, as the wire has it; None for an input without an answer


def measure(name: str) -> Callable[[Answers, list], float]:
    """The metric of that name.

    Raises:
        ValueError: no such metric.
    """
    if name not in METRICS:
        raise ValueError(f"no metric {name!r}{did_you_mean(name, METRICS)}")
    return METRICS[name]


def accuracy(answers: Answers, truths: list[str]) -> float:
    """The share of inputs whose first label is the true label."""
    return statistics.fmean(label == truth for label, truth in zip(first_labels(answers), truths, strict=True))


def f1(answers: Answers, truths: list[str]) -> float:
    """Macro F1: the mean over the labels of each label's harmonic mean of precision and recall."""
    from sklearn.metrics import f1_score

    return float(f1_score(truths, [label or "" for label in first_labels(answers)], average="macro"))


def mean_average_precision(answers: Answers, truths: list[list[dict]]) -> float:
    """COCO's mAP of boxes: the mean over ten IoU thresholds from 0.5 to 0.95."""
    return average_precision(answers, truths, as_boxes, iou_type="bbox")["map"]


def average_precision_50(answers: Answers, truths: list[list[dict]]) -> float:
    """COCO's AP50 of boxes: at an IoU threshold of 0.5."""
    return average_precision(answers, truths, as_boxes, iou_type="bbox")["map_50"]


def mask_average_precision(answers: Answers, truths: list[list[dict]]) -> float:
    """COCO's mAP of instance masks: the mean over ten IoU thresholds from 0.5 to 0.95."""
    return average_precision(answers, truths, as_masks, iou_type="segm")["map"]


def mean_iou(answers: Answers, truths: list[list[dict]]) -> float:
    """Mean intersection over union of masks: per label over the pixels of all pictures, then the mean over the labels.

    An entry of the truth with label None marks pixels whose label is unknown. They do not count.
    """
    both: Counter[str] = Counter()
    either: Counter[str] = Counter()
    for answer, truth in zip(answers, truths, strict=True):
        given, real = as_label_masks(answer or []), as_label_masks(truth)
        known = ~real.pop(None, np.array(False))
        for label in given.keys() | real.keys():
            one, other = given.get(label, np.array(False)), real.get(label, np.array(False))
            both[label] += int((one & other & known).sum())
            either[label] += int(((one | other) & known).sum())
    return statistics.fmean(both[label] / either[label] for label in either if either[label])


def mean_absolute_error(answers: Answers, truths: list[dict]) -> float:
    """The mean distance between given and true numbers, in their unit; infinite if an answer is missing."""
    return statistics.fmean(abs(given - real) for given, real in number_pairs(answers, truths))


def r2(answers: Answers, truths: list[dict]) -> float:
    """The coefficient of determination: 1 at best, 0 for always answering the mean."""
    pairs = list(number_pairs(answers, truths))
    mean = statistics.fmean(real for _, real in pairs)
    return 1 - sum((given - real) ** 2 for given, real in pairs) / max(sum((real - mean) ** 2 for _, real in pairs), 1e-12)


def relative_error(answers: Answers, truths: list[dict]) -> float:
    """The forecasts' mean absolute error divided by that of the seasonal-naive forecast. Below 1 they are better than it."""
    return mean_absolute_error(answers, truths) / max(seasonal_naive_error(answers, truths), 1e-12)


def seasonal_naive_error(answers: Answers, truths: list[dict]) -> float:
    """The mean absolute error of the seasonal-naive forecast, which repeats the last season. The answers do not matter."""
    return mean_absolute_error([{"forecast": truth["seasonal_naive"]} for truth in truths], truths)


METRICS = {
    function.__name__: function
    for function in (
        *(accuracy, f1, mean_average_precision, average_precision_50, mask_average_precision, mean_iou),
        *(mean_absolute_error, r2, relative_error, seasonal_naive_error),
    )
}
NUMBERS = {"value", "forecast"}  # the keys of answers that are numbers
LOWER_IS_BETTER = {"mean_absolute_error", "relative_error", "seasonal_naive_error"}


def metric_loss(name: str, before: float, after: float) -> float:
    """By how much the metric's second value is worse than the first. Negative if it is better."""
    return after - before if name in LOWER_IS_BETTER else before - after


def chance(name: str, truths: list) -> float:
    """The metric's value without a look at the inputs: of always answering the most frequent label, or the mean, or the last
    season. Macro F1, IoU and the precisions are compared with 0."""
    if name == "accuracy":
        return max(Counter(truths).values()) / len(truths)
    if name == "relative_error":
        return 1.0
    if name in LOWER_IS_BETTER:
        return math.inf
    return 0.0


def number_pairs(answers: Answers, truths: list[dict]) -> Iterator[tuple[float, float]]:
    """Each number of the answers with the true one, from `{"value": 3.5}` or `{"forecast": [3.5, ...]}`.

    A missing answer counts as infinite numbers.
    """
    for answer, truth in zip(answers, truths, strict=True):
        for name in NUMBERS & truth.keys():
            real = as_list(truth[name])
            yield from zip([math.inf] * len(real) if answer is None else as_list(answer[name]), real, strict=True)


def as_list(value: Any) -> list:
    return value if isinstance(value, list) else [value]


def first_labels(answers: Answers) -> list[str | None]:
    return [answer[0].get("label") if answer else None for answer in answers]


def as_label_masks(entries: list[dict]) -> dict[str | None, np.ndarray]:
    """Entries -> label -> (height, width) bool: the union of the label's masks."""
    masks: dict[str | None, np.ndarray] = {}
    for entry in entries:
        mask = pixels(entry["mask"]) > 127
        masks[entry["label"]] = masks[entry["label"]] | mask if entry["label"] in masks else mask
    return masks


def as_boxes(entries: list[dict]) -> dict[str, Any]:
    """Entries -> `boxes` (entries, 4) float32, as torchmetrics takes them."""
    import torch

    corners = [[entry["box"][name] for name in ("xmin", "ymin", "xmax", "ymax")] for entry in entries]
    return {"boxes": torch.tensor(corners, dtype=torch.float32).reshape(-1, 4)}


def as_masks(entries: list[dict]) -> dict[str, Any]:
    """Entries -> `masks` (entries, height, width) bool, as torchmetrics takes them."""
    import torch

    masks = [torch.from_numpy(pixels(entry["mask"]) > 127) for entry in entries]
    return {"masks": torch.stack(masks) if masks else torch.zeros(0, 1, 1, dtype=torch.bool)}


def average_precision(answers: Answers, truths: list[list[dict]], shapes: Callable, **options: Any) -> dict[str, float]:
    """All of torchmetrics' mean average precisions, by its names.

    Args:
        shapes: `as_boxes` or `as_masks`.
        options: of torchmetrics' `MeanAveragePrecision`.
    """
    import torch
    from torchmetrics.detection import MeanAveragePrecision

    class_ids = {label: index for index, label in enumerate(sorted({entry["label"] for truth in truths for entry in truth}))}
    metric = MeanAveragePrecision(**options)
    for answer, truth in zip(answers, truths, strict=True):
        known = [entry for entry in answer or [] if entry["label"] in class_ids]
        labels = [torch.tensor([class_ids[entry["label"]] for entry in entries], dtype=torch.int64) for entries in (known, truth)]
        scores = torch.tensor([entry["score"] for entry in known])
        metric.update([shapes(known) | {"scores": scores, "labels": labels[0]}], [shapes(truth) | {"labels": labels[1]}])
    # torchmetrics says -1 if no answer has a mask.
    return {name: max(0.0, float(value)) for name, value in metric.compute().items() if value.ndim == 0}
