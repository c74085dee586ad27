"""train/segmentation.py: the loss, and from a config to an artifact; what it answers is what is served."""

import torch

from handlers.base import load
from train.__main__ import train
from train.segmentation import segmentation_loss
from train.targets import VOID


def logits_of(label_maps: torch.Tensor) -> torch.Tensor:
    """Of a network that is certain."""
    return 20.0 * torch.nn.functional.one_hot(label_maps, 3).movedim(3, 1).float()


def test_the_loss_is_zero_for_the_truth_and_a_missed_label_costs_its_share():
    truth = torch.zeros(1, 20, 20, dtype=torch.int64)
    truth[0, :10], truth[0, 0, :9] = 1, 2
    assert segmentation_loss(logits_of(truth), truth) < 1e-6
    missed = truth.where(truth != 2, 1)
    ignoring_cross_entropy = segmentation_loss(logits_of(missed), truth) - torch.nn.functional.cross_entropy(
        logits_of(missed), truth
    )
    assert 0.3 < ignoring_cross_entropy < 0.35


def test_void_pixels_cost_nothing():
    truth = torch.zeros(1, 20, 20, dtype=torch.int64)
    truth[0, 5:] = VOID
    predicted = torch.zeros(1, 20, 20, dtype=torch.int64)
    predicted[0, 5:] = 2
    assert segmentation_loss(logits_of(predicted), truth) < 1e-6


def test_a_segmenter_s_artifact_answers_as_training_did(tmp_path):
    few = ["--trainer.max_epochs=1", "--data.pictures=32", "--data.batch_size=4"]
    artifact = train("shapes_masks", few, tmp_path / "artifacts", tmp_path / "runs")
    assert list(artifact.metrics) == ["mean_iou"] and 0 <= artifact.metrics["mean_iou"] <= 1
    load(artifact.folder, {"class_path": "handlers.vision.ImageSegmenter", "threads": 1}).warm_up(3)
