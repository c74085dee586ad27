"""train/task.py: the schedule and the augmentations of a config; the artifact is tested in test_write.py."""

import pytest

from train.__main__ import train
from train.task import one_cycle


def test_the_learning_rate_rises_in_a_line_and_falls_to_nothing():
    shares = [one_cycle(step, 100) for step in range(101)]
    assert max(shares) == shares[24] == 1.0
    assert shares[:25] == sorted(shares[:25])
    assert shares[24:] == sorted(shares[24:], reverse=True)
    assert shares[100] == pytest.approx(0)


def test_a_training_of_one_step_has_a_learning_rate():
    assert one_cycle(0, 1) == 1.0


AUGMENTATIONS = """[
    {"class_path": "torchvision.transforms.v2.RandomRotation", "init_args": {"degrees": 10}},
    {"class_path": "torchvision.transforms.v2.ColorJitter", "init_args": {"brightness": 0.2}},
    {"class_path": "train.augment.GaussianNoise"},
    {"class_path": "torchvision.transforms.v2.RandAugment"}]"""


def test_augmentations_and_mixes_can_be_named_in_the_config(tmp_path):
    options = [f"--model.augment={AUGMENTATIONS}", "--model.mix.mixup=0.2", "--model.mix.cutmix=1.0", "--trainer.max_epochs=1"]
    options += ["--trainer.limit_train_batches=4", '--data.classes=["0","1","2"]']
    artifact = train("digits", [*options, "--model.network.init_args.width=4"], tmp_path / "artifacts", tmp_path / "runs")
    assert 0 <= artifact.metrics["accuracy"] <= 1 and artifact.samples()
