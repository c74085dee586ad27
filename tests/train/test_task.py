"""train/task.py: the schedule and the mixes; what is learned shows in test_write.py."""

import pytest
import torch

from train.__main__ import train
from train.task import Mix, one_cycle


def test_the_learning_rate_rises_in_a_line_and_falls_to_nothing():
    shares = [one_cycle(step, 100) for step in range(101)]
    assert max(shares) == shares[24] == 1.0
    assert shares[:25] == sorted(shares[:25])
    assert shares[24:] == sorted(shares[24:], reverse=True)
    assert shares[100] == pytest.approx(0)


def test_a_training_of_one_step_has_a_learning_rate():
    assert one_cycle(0, 1) == 1.0


@pytest.mark.parametrize("mix", [Mix(mixup=0.2), Mix(cutmix=1.0), Mix(mixup=0.2, cutmix=1.0)])
def test_mixed_pictures_have_the_labels_of_both_in_their_shares(mix):
    torch.manual_seed(0)
    pixels, targets = torch.zeros(8, 3, 16, 16), torch.arange(8) % 2
    pixels[targets == 1] = 255.0
    for _ in range(5):
        mixed, shares = mix.build(num_classes=3)(pixels, targets)
        assert shares.shape == (8, 3) and torch.allclose(shares.sum(dim=1), torch.ones(8))
        assert torch.allclose(mixed.mean(dim=(1, 2, 3)) / 255, shares[:, 1], atol=1e-3)  # the white share is that of label 1


AUGMENTATIONS = """[
    {"class_path": "torchvision.transforms.v2.RandomRotation", "init_args": {"degrees": 10}},
    {"class_path": "torchvision.transforms.v2.ColorJitter", "init_args": {"brightness": 0.2}},
    {"class_path": "train.augment.GaussianNoise"},
    {"class_path": "torchvision.transforms.v2.RandAugment"}]"""


def test_augmentations_and_mixes_are_named_in_the_config(tmp_path):
    options = [f"--model.augment={AUGMENTATIONS}", "--model.mix.mixup=0.2", "--model.mix.cutmix=1.0", "--trainer.max_epochs=1"]
    artifact = train("digits", [*options, "--model.network.init_args.width=4"], tmp_path / "artifacts", tmp_path / "runs")
    assert artifact.metrics["accuracy"] > 0.1
