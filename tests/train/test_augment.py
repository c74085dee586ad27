"""train/augment.py: a changed sample is still a sample of the same kind."""

import torch

from train.augment import Dropped, Noise, Shift


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
