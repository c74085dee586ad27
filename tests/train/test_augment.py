"""train/augment.py: a changed sample is still a sample of the same kind."""

import pytest
import torch
from torchvision import tv_tensors

from model_defs.audio import MelCNN
from model_defs.build import SpecError
from model_defs.text import BagOfWords
from train.augment import GaussianNoise, MixUpOrCutMix, RandomRoll, RandomShift, SpecAugment, TokenDropout, WhiteNoise


def test_gaussian_noise_changes_a_picture_but_not_its_boxes_and_masks():
    torch.manual_seed(0)
    pixels = torch.full((3, 50, 50), 100, dtype=torch.uint8)
    alone = GaussianNoise(most=20)(pixels)
    assert alone.dtype == torch.uint8 and 0 < (alone.float() - 100).std() < 20 and abs(alone.float().mean() - 100) < 2
    boxes = tv_tensors.BoundingBoxes([[1, 2, 3, 4]], format="XYXY", canvas_size=(50, 50))
    mask = tv_tensors.Mask(torch.ones(50, 50, dtype=torch.uint8))
    picture, target = GaussianNoise()(tv_tensors.Image(pixels), {"boxes": boxes, "mask": mask, "labels": torch.tensor([1])})
    assert not torch.equal(picture, pixels)
    assert torch.equal(target["boxes"], boxes) and torch.equal(target["mask"], mask) and target["labels"].tolist() == [1]


def test_a_shift_moves_a_sound_by_at_most_its_share():
    torch.manual_seed(0)
    sound = torch.zeros(1000)
    sound[500] = 1.0
    indices = {int(RandomShift(0.1)(sound).argmax()) for _ in range(200)}
    assert min(indices) >= 400 and max(indices) <= 600 and len(indices) > 50
    assert sound[500] == 1.0  # the original is unchanged: the cache keeps it for the next epoch


def test_what_a_shift_moves_out_does_not_come_back_at_the_other_end():
    torch.manual_seed(0)
    for _ in range(50):
        shifted = RandomShift(0.5)(torch.ones(100))
        silent = (shifted == 0).nonzero().flatten()
        assert len(silent) == 0 or silent[0] == 0 or silent[-1] == 99


def test_white_noise_has_the_level_that_was_asked_for():
    torch.manual_seed(0)
    sound = torch.sin(torch.arange(16_000) * 0.3)
    noise = WhiteNoise(least=20.0, most=20.0)(sound) - sound
    assert abs(20 * torch.log10(sound.std() / noise.std()) - 20) < 0.5


def test_a_rolled_sound_has_the_same_samples():
    torch.manual_seed(0)
    begun = {tuple(RandomRoll()(torch.arange(5)).tolist()) for _ in range(60)}
    assert begun == {tuple((index + start) % 5 for index in range(5)) for start in range(5)}


def test_spec_augment_masks_other_times_and_bands_in_each_sound():
    torch.manual_seed(0)
    masked = SpecAugment(times=1, frames=20, pitches=1, bands=10)(torch.ones(16, 1, 64, 100))[:, 0] == 0
    columns, rows = masked.all(dim=1).sum(dim=1), masked.all(dim=2).sum(dim=1)  # (sounds,)
    assert columns.max() <= 20 and rows.max() <= 10 and columns.sum() > 0 and rows.sum() > 0
    assert len({tuple(sound.flatten().tolist()) for sound in masked}) == 16
    assert (masked == masked.all(dim=1)[:, None] | masked.all(dim=2)[..., None]).all()


def test_a_hook_augmentation_works_in_training_only():
    is_training, network = True, MelCNN(3, sample_rate=8_000, width=4, n_mfcc=13).eval()
    sound = torch.randn(2, 8_000)
    before = network(sound)
    torch.manual_seed(0)
    SpecAugment(frames=50, bands=20).attach(network, lambda: is_training)
    assert not torch.allclose(network(sound), before)
    is_training = False
    assert torch.equal(network(sound), before)


def test_a_hook_augmentation_names_the_module_that_is_missing():
    with pytest.raises(SpecError, match="SpecAugment changes what log_mel gives; BagOfWords has none: leave it out"):
        SpecAugment().attach(BagOfWords(3), lambda: True)


def test_token_dropout_leaves_at_least_one_token():
    torch.manual_seed(0)
    tokens = torch.arange(100)
    kept = TokenDropout(0.5)(tokens)
    assert 30 < len(kept) < 70 and set(kept.tolist()) <= set(range(100))
    assert len(TokenDropout(1.0)(torch.tensor([7]))) == 1
    assert TokenDropout(1.0, first=2)(tokens).tolist() == [0, 1]


@pytest.mark.parametrize("mix", [MixUpOrCutMix(mixup=0.2), MixUpOrCutMix(cutmix=1.0), MixUpOrCutMix(mixup=0.2, cutmix=1.0)])
def test_mixed_pictures_have_both_labels_in_their_shares(mix):
    torch.manual_seed(0)
    pixels, targets = torch.zeros(8, 3, 16, 16), torch.arange(8) % 2
    pixels[targets == 1] = 255.0
    for _ in range(5):
        mixed, shares = mix.build(num_classes=3)(pixels, targets)
        assert shares.shape == (8, 3) and torch.allclose(shares.sum(dim=1), torch.ones(8))
        assert torch.allclose(mixed.mean(dim=(1, 2, 3)) / 255, shares[:, 1], atol=1e-3)  # the white share is that of label 1


def test_a_mix_of_nothing_says_what_to_give():
    with pytest.raises(SpecError, match="mix: give mixup, cutmix or both"):
        MixUpOrCutMix().build(3)
