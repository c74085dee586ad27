import numpy as np
import pytest
import torch

from model_defs.answer_diff import pixels
from model_defs.errors import OutputError
from model_defs.postprocess import boxes, forecast, instances, masks, png_base64, top, value
from model_defs.vision import ImageSample

LABELS = ["cat", "dog", "owl"]
LOGITS = torch.tensor([0.0, 2.0, -1.0])


def test_the_best_comes_first():
    assert [one["label"] for one in top(LOGITS, LABELS, 3)] == ["dog", "cat", "owl"]
    assert [one["label"] for one in top(LOGITS, LABELS, 2)] == ["dog", "cat"]


def test_a_top_k_above_the_number_of_labels_gives_all():
    assert len(top(LOGITS, LABELS, 1000)) == 3


@pytest.mark.parametrize(
    ("function", "scores"),
    [("softmax", [0.8438, 0.1142, 0.0420]), ("sigmoid", [0.8808, 0.5, 0.2689]), ("none", [2.0, 0.0, -1.0])],
)
def test_scores_follow_the_chosen_function(function, scores):
    assert [one["score"] for one in top(LOGITS, LABELS, 3, function)] == pytest.approx(scores, abs=1e-4)


@pytest.mark.parametrize("function", ["softmax", "sigmoid", "none"])
@pytest.mark.parametrize("top_k", [1, 3])
def test_a_nan_is_an_error(function, top_k):
    with pytest.raises(OutputError, match="scores that are not finite numbers"):
        top(torch.tensor([0.0, float("nan"), 1.0]), LABELS, top_k, function)


@pytest.mark.parametrize("function", ["softmax", "sigmoid", "none"])
def test_a_score_is_the_mean_over_several_windows(function):
    windows = torch.stack([LOGITS, -LOGITS, torch.zeros(3)])
    apart = [{one["label"]: one["score"] for one in top(window, LABELS, 3, function)} for window in windows]
    for one in top(windows, LABELS, 3, function):
        assert one["score"] == pytest.approx(sum(scores[one["label"]] for scores in apart) / 3)
    assert top(LOGITS[None], LABELS, 3, function) == top(LOGITS, LABELS, 3, function)


def test_a_logit_of_minus_infinity_is_a_probability_of_zero():
    assert top(torch.tensor([0.0, -torch.inf, 1.0]), LABELS, 3)[-1] == {"label": "dog", "score": 0.0}


def test_a_forecast_is_as_long_as_was_asked_for_and_finite():
    assert forecast(torch.tensor([1.0, 2.0, 3.0]), 2) == {"forecast": [1, 2]}
    assert forecast(torch.tensor([1.0, 2.0, 3.0])) == {"forecast": [1, 2, 3]}
    with pytest.raises(OutputError, match="not finite numbers"):
        forecast(torch.tensor([1.0, torch.nan]))


def test_a_value_is_one_finite_number():
    assert value(torch.tensor([2.5])) == {"value": 2.5}
    with pytest.raises(OutputError, match="not finite numbers"):
        value(torch.tensor([torch.inf]))


@pytest.mark.parametrize("given", [np.array([[0, 7], [200, 255]], np.uint8), np.array([[True, False]])])
def test_pixels_come_back_from_their_png(given):
    assert pixels(png_base64(given)).tolist() == (given * 255 if given.dtype == bool else given).tolist()


FRAMED = ImageSample(torch.zeros(3, 64, 32, dtype=torch.uint8), width=320, height=640)  # the picture was ten times as large


def found(*rows: tuple[float, ...], columns: int = 6) -> torch.Tensor:
    """A detector's output: these rows, and rows of zeros as padding."""
    whole = torch.zeros(10, columns)
    for index, row in enumerate(rows):
        whole[index, : len(row)] = torch.tensor(row)
    return whole


def test_boxes_are_in_pixels_of_the_sent_picture_and_within_its_edges():
    given = boxes(found((1, 2, 30, 60, 0.9, 1), (-3, -1, 40, 70, 0.8, 0)), FRAMED, LABELS)
    assert given == [
        {"label": "dog", "score": pytest.approx(0.9), "box": {"xmin": 10, "ymin": 20, "xmax": 300, "ymax": 600}},
        {"label": "cat", "score": pytest.approx(0.8), "box": {"xmin": 0, "ymin": 0, "xmax": 320, "ymax": 640}},
    ]


@pytest.mark.parametrize(("threshold", "most", "count"), [(0.5, 100, 2), (0.85, 100, 1), (0.0, 100, 3), (0.0, 2, 2), (1.0, 5, 0)])
def test_detections_are_above_the_threshold_and_limited_in_number(threshold, most, count):
    rows = found((0, 0, 9, 9, 0.9, 1), (0, 0, 9, 9, 0.6, 0), (0, 0, 9, 9, 0.2, 2))
    assert len(boxes(rows, FRAMED, LABELS, threshold, most)) == count


def test_a_nan_in_a_box_is_an_error():
    with pytest.raises(OutputError):
        boxes(found((0, float("nan"), 9, 9, 0.9, 1)), FRAMED, LABELS)


def test_masks_have_the_pictures_size_and_show_the_likeliest_label():
    logits = torch.zeros(4, 64, 64)  # the frame; the picture fills its left half
    logits[2, :32] = 9.0
    logits[3, :, 32:] = 9.0  # outside the picture
    (only,) = masks(logits, FRAMED, LABELS)
    mask = pixels(only["mask"])
    assert only["label"] == "dog" and only["score"] == pytest.approx(0.99, abs=0.01) and mask.shape == (640, 320)
    assert (mask[:310] == 255).all() and (mask[330:] == 0).all()


def test_a_mask_below_the_threshold_is_left_out():
    logits = torch.zeros(4, 64, 64)
    logits[1] = 0.1
    assert [one["label"] for one in masks(logits, FRAMED, LABELS)] == ["cat"] and masks(logits, FRAMED, LABELS, 0.5) == []


def test_a_picture_of_background_has_no_masks():
    logits = torch.zeros(4, 64, 64)
    logits[0] = 1
    assert masks(logits, FRAMED, LABELS) == []


def test_an_instances_mask_is_pasted_into_its_box():
    row = torch.zeros(28, 28)
    row[:14] = 1.0
    (only,) = instances(found((0, 0, 16, 32, 0.9, 2, *row.flatten().tolist()), columns=6 + 784), FRAMED, LABELS)
    mask = pixels(only["mask"])
    assert only["label"] == "owl" and mask.shape == (640, 320)
    assert (mask[10:150, 10:150] == 255).all() and (mask[170:] == 0).all() and (mask[:, 170:] == 0).all()
