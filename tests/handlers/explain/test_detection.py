"""handlers/explain/detection.py: masks, likeness of detections, and an object that is found where it is."""

import pytest
import torch

from handlers.explain.detection import DRise, alike, random_masks
from handlers.explain.method import Options, find
from handlers.explain.views import Parts


def test_the_pixels_of_the_object_get_the_weight():
    def score(masks):  # an object in the upper left quarter
        return masks[:, 8:16, 8:16].mean((1, 2))

    torch.manual_seed(0)
    values = find("d_rise", DRise(), Parts(score, (48, 64)), Options(samples=200)).values
    inside, outside = values[8:16, 8:16].mean(), values[30:, 40:].mean()
    assert values.shape == (48, 64) and inside > 10 * outside.abs()
    assert divmod(int(values.argmax()), 64)[0] < 24 and divmod(int(values.argmax()), 64)[1] < 28


def test_half_of_the_picture_is_seen_on_average():
    torch.manual_seed(0)
    masks = random_masks(200, (30, 50))
    assert masks.shape == (200, 30, 50) and float(masks.min()) >= 0 and float(masks.max()) <= 1
    assert float(masks.mean()) == pytest.approx(0.5, abs=0.03)


TARGET = [0.0, 0.0, 10.0, 10.0, 0.9, 1.0]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (TARGET, 0.9),
        ([0.0, 0.0, 10.0, 10.0, 0.5, 1.0], 0.5),
        ([0.0, 0.0, 10.0, 20.0, 1.0, 1.0], 0.5),  # twice the area
        ([0.0, 0.0, 10.0, 10.0, 0.9, 2.0], 0),  # another label
        ([20.0, 20.0, 30.0, 30.0, 0.9, 1.0], 0),
        ([0.0] * 6, 0),  # a row of padding
    ],
)
def test_likeness_is_overlap_times_score_of_the_same_label(found, expected):
    rows = torch.tensor([[found, [0.0] * 6]])
    assert float(alike(torch.tensor(TARGET))(rows)) == pytest.approx(expected)


def test_masks_must_overlap_too():
    mask, half = torch.ones(4), torch.tensor([1.0, 1, 0, 0])
    row = torch.cat([torch.tensor(TARGET), mask])
    other = torch.cat([torch.tensor(TARGET), half])
    assert float(alike(row)(other[None, None])) == pytest.approx(0.45)
