"""model_defs/metrics.py: known values for known answers."""

import numpy as np
import pytest

from model_defs.metrics import measure, metric_loss
from model_defs.postprocess import png_base64

pytest.importorskip("torchmetrics", reason="metrics are computed where training is installed")


def labelled(*labels: str) -> list:
    return [[{"label": label, "score": 0.9}, {"label": "other", "score": 0.1}] for label in labels]


def box(label: str, xmin: float, xmax: float, **score) -> dict:
    return {"label": label, "box": {"xmin": xmin, "ymin": 0.0, "xmax": xmax, "ymax": 10.0}} | score


def half(label: str | None, left: bool, **score) -> dict:
    mask = np.zeros((4, 8), bool)
    mask[:, slice(None, 4) if left else slice(4, None)] = True
    return {"label": label, "mask": png_base64(mask)} | score


def test_accuracy_counts_first_labels_and_a_missing_answer_is_wrong():
    assert measure("accuracy")([*labelled("a", "b"), None, *labelled("a")], ["a", "a", "a", "a"]) == 0.5


def test_f1_is_the_mean_over_labels():
    # a: 2 of 2 found, 1 of 3 false -> 0.8; b: 1 of 2 found -> 2/3
    assert measure("f1")(labelled("a", "a", "a", "b"), ["a", "a", "b", "b"]) == pytest.approx((0.8 + 2 / 3) / 2)


def test_exact_boxes_score_one_and_no_boxes_score_zero():
    truths = [[box("a", 0, 10), box("b", 20, 30)], [], [box("a", 5, 15)]]
    found = [[thing | {"score": 0.9} for thing in truth] for truth in truths]
    assert measure("mean_average_precision")(found, truths) == pytest.approx(1)
    assert measure("mean_average_precision")([None, [], []], truths) == 0


def test_a_box_with_iou_0_6_counts_up_to_that_threshold():
    found, truth = [[box("a", 0, 6.1, score=0.9)]], [[box("a", 0, 10)]]
    assert measure("average_precision_50")(found, truth) == pytest.approx(1)
    assert measure("mean_average_precision")(found, truth) == pytest.approx(0.3)  # of 0.50, 0.55 ... 0.95 three


def test_a_box_with_the_wrong_label_scores_zero():
    assert measure("mean_average_precision")([[box("b", 0, 10, score=0.9)]], [[box("a", 0, 10)]]) == 0


def test_instance_masks_are_measured_by_their_pixels():
    left, right = half("a", True), half("a", False)
    both, one = [left | {"score": 0.9}, right | {"score": 0.8}], [left | {"score": 0.9}]
    assert measure("mask_average_precision")([both], [[left, right]]) == pytest.approx(1)
    assert measure("mask_average_precision")([one], [[left, right]]) == pytest.approx(0.5, abs=0.01)
    assert measure("mask_average_precision")([[]], [[left, right]]) == 0


def test_the_mean_iou_is_over_labels_and_the_pixels_of_all_pictures():
    # a: one half of two in both -> 0.5; b: given where there is none -> 0
    answers, truths = [[half("a", True, score=1)], [half("b", True, score=1)]], [[half("a", True)], [half("a", False)]]
    assert measure("mean_iou")(answers, truths) == pytest.approx((0.5 + 0) / 2)


def test_pixels_without_a_known_label_do_not_count():
    answer = [half("a", True, score=1), half("a", False, score=1)]
    assert measure("mean_iou")([answer], [[half("a", True), half(None, False)]]) == 1


def test_an_unknown_metric_names_the_nearest():
    with pytest.raises(ValueError, match="no metric 'acuracy'; did you mean 'accuracy'"):
        measure("acuracy")


def test_errors_of_numbers_are_in_their_unit():
    truths, found = [{"value": 1.0}, {"value": 3.0}], [{"value": 2.0}, {"value": 3.0}]
    assert measure("mean_absolute_error")(found, truths) == 0.5
    assert measure("r2")(found, truths) == 0.5
    assert measure("r2")([{"value": 2.0}] * 2, truths) == 0


def test_a_forecast_is_compared_with_the_seasonal_naive_one():
    truths = [{"forecast": [1.0, 2.0], "seasonal_naive": [3.0, 2.0]}, {"forecast": [5.0], "seasonal_naive": [4.0]}]
    found = [{"forecast": [1.5, 2.5]}, {"forecast": [5.5]}]
    assert measure("seasonal_naive_error")(found, truths) == 1
    assert measure("relative_error")(found, truths) == 0.5 == measure("mean_absolute_error")(found, truths)


def test_a_missing_number_is_infinitely_wrong():
    assert measure("mean_absolute_error")([None], [{"forecast": [1.0], "seasonal_naive": [1.0]}]) == float("inf")
    assert measure("r2")([None, {"value": 1.0}], [{"value": 1.0}, {"value": 2.0}]) == -float("inf")


def test_a_lower_error_is_better():
    assert metric_loss("accuracy", 0.9, 0.7) == pytest.approx(0.2) and metric_loss("relative_error", 0.7, 0.9) == pytest.approx(
        0.2
    )
