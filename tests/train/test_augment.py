"""train/augment.py: a changed sample is still a sample of the same kind."""

import pytest
import torch
from torchvision import tv_tensors

from model_defs.audio import MelCNN
from model_defs.build import SpecError
from model_defs.text import BagOfWords
from train.augment import GaussianNoise, RandomRoll, RandomShift, SpecAugment, TokenDropout, WhiteNoise


def test_grain_changes_a_picture_a_little_and_its_boxes_and_masks_not_at_all():
    torch.manual_seed(0)
    pixels = torch.full((3, 50, 50), 100, dtype=torch.uint8)
    alone = GaussianNoise(most=20)(pixels)
    assert alone.dtype == torch.uint8 and 0 < (alone.float() - 100).std() < 20 and abs(alone.float().mean() - 100) < 2
    boxes = tv_tensors.BoundingBoxes([[1, 2, 3, 4]], format="XYXY", canvas_size=(50, 50))
    mask = tv_tensors.Mask(torch.ones(50, 50, dtype=torch.uint8))
    picture, target = GaussianNoise()(tv_tensors.Image(pixels), {"boxes": boxes, "mask": mask, "labels": torch.tensor([1])})
    assert not torch.equal(picture, pixels)
    assert torch.equal(target["boxes"], boxes) and torch.equal(target["mask"], mask) and target["labels"].tolist() == [1]


def test_a_shifted_sound_is_the_same_sound_elsewhere():
    torch.manual_seed(0)
    sound = torch.zeros(1000)
    sound[500] = 1.0
    places = {int(RandomShift(0.1)(sound).argmax()) for _ in range(200)}
    assert min(places) >= 400 and max(places) <= 600 and len(places) > 50
    assert sound[500] == 1.0  # the original, which is kept for the next epoch, is as it was


def test_what_a_shift_moves_out_does_not_come_back_at_the_other_end():
    torch.manual_seed(0)
    for _ in range(50):
        shifted = RandomShift(0.5)(torch.ones(100))
        silent = (shifted == 0).nonzero().flatten()
        assert len(silent) == 0 or silent[0] == 0 or silent[-1] == 99


def test_noise_lies_as_far_below_the_sound_as_was_asked():
    torch.manual_seed(0)
    sound = torch.sin(torch.arange(16_000) * 0.3)
    noise = WhiteNoise(least=20.0, most=20.0)(sound) - sound
    assert abs(20 * torch.log10(sound.std() / noise.std()) - 20) < 0.5


def test_a_sound_begun_anywhere_has_the_same_samples():
    torch.manual_seed(0)
    begun = {tuple(RandomRoll()(torch.arange(5)).tolist()) for _ in range(60)}
    assert begun == {tuple((place + start) % 5 for place in range(5)) for start in range(5)}


def test_moments_and_pitches_are_blotted_out_others_in_each_sound():
    torch.manual_seed(0)
    masked = SpecAugment(times=1, frames=20, pitches=1, bands=10)(torch.ones(16, 1, 64, 100))[:, 0] == 0
    columns, rows = masked.all(dim=1).sum(dim=1), masked.all(dim=2).sum(dim=1)  # (sounds,)
    assert columns.max() <= 20 and rows.max() <= 10 and columns.sum() > 0 and rows.sum() > 0
    assert len({tuple(sound.flatten().tolist()) for sound in masked}) == 16
    assert (masked == masked.all(dim=1)[:, None] | masked.all(dim=2)[..., None]).all()


def test_what_works_inside_the_network_does_so_only_while_learning():
    is_learning, network = True, MelCNN(3, sample_rate=8_000, width=4, n_mfcc=13).eval()
    sound = torch.randn(2, 8_000)
    before = network(sound)
    torch.manual_seed(0)
    SpecAugment(frames=50, bands=20).attach(network, lambda: is_learning)
    assert not torch.allclose(network(sound), before)
    is_learning = False
    assert torch.equal(network(sound), before)


def test_a_network_without_the_module_is_told_so():
    with pytest.raises(SpecError, match="SpecAugment changes what log_mel gives; BagOfWords has none: leave it out"):
        SpecAugment().attach(BagOfWords(3), lambda: True)


def test_dropping_words_leaves_at_least_one():
    torch.manual_seed(0)
    numbers = torch.arange(100)
    kept = TokenDropout(0.5)(numbers)
    assert 30 < len(kept) < 70 and set(kept.tolist()) <= set(range(100))
    assert len(TokenDropout(1.0)(torch.tensor([7]))) == 1
    assert TokenDropout(1.0, first=2)(numbers).tolist() == [0, 1]
