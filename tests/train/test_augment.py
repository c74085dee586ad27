"""train/augment.py: a changed sample is still a sample of the same kind."""

import torch
from torchvision import tv_tensors

from train.augment import Dropped, Grain, Noise, Shift


def test_grain_changes_a_picture_a_little_and_its_boxes_and_masks_not_at_all():
    torch.manual_seed(0)
    pixels = torch.full((3, 50, 50), 100, dtype=torch.uint8)
    alone = Grain(most=20)(pixels)
    assert alone.dtype == torch.uint8 and 0 < (alone.float() - 100).std() < 20 and abs(alone.float().mean() - 100) < 2
    boxes = tv_tensors.BoundingBoxes([[1, 2, 3, 4]], format="XYXY", canvas_size=(50, 50))
    mask = tv_tensors.Mask(torch.ones(50, 50, dtype=torch.uint8))
    picture, target = Grain()(tv_tensors.Image(pixels), {"boxes": boxes, "mask": mask, "labels": torch.tensor([1])})
    assert not torch.equal(picture, pixels)
    assert torch.equal(target["boxes"], boxes) and torch.equal(target["mask"], mask) and target["labels"].tolist() == [1]


def test_a_shifted_sound_is_the_same_sound_elsewhere():
    torch.manual_seed(0)
    sound = torch.zeros(1000)
    sound[500] = 1.0
    places = {int(Shift(0.1)(sound).argmax()) for _ in range(200)}
    assert min(places) >= 400 and max(places) <= 600 and len(places) > 50
    assert sound[500] == 1.0  # the original, which is kept for the next epoch, is as it was


def test_what_a_shift_moves_out_does_not_come_back_at_the_other_end():
    torch.manual_seed(0)
    for _ in range(50):
        shifted = Shift(0.5)(torch.ones(100))
        silent = (shifted == 0).nonzero().flatten()
        assert len(silent) == 0 or silent[0] == 0 or silent[-1] == 99


def test_noise_lies_as_far_below_the_sound_as_was_asked():
    torch.manual_seed(0)
    sound = torch.sin(torch.arange(16_000) * 0.3)
    noise = Noise(least=20.0, most=20.0)(sound) - sound
    assert abs(20 * torch.log10(sound.std() / noise.std()) - 20) < 0.5


def test_dropping_words_leaves_at_least_one():
    torch.manual_seed(0)
    numbers = torch.arange(100)
    kept = Dropped(0.5)(numbers)
    assert 30 < len(kept) < 70 and set(kept.tolist()) <= set(range(100))
    assert len(Dropped(1.0)(torch.tensor([7]))) == 1
