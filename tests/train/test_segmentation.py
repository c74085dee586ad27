"""train/segmentation.py: from a config to an artifact whose masks are those that are served."""

from handlers.base import load
from train.__main__ import train


def test_a_segmenter_s_artifact_answers_as_training_did(tmp_path):
    few = ["--trainer.max_epochs=1", "--data.pictures=32", "--data.batch_size=4"]
    artifact = train("shapes_masks", few, tmp_path / "artifacts", tmp_path / "runs")
    assert list(artifact.metrics) == ["mean_iou"] and 0 <= artifact.metrics["mean_iou"] <= 1
    load(artifact.folder, {"class_path": "handlers.vision.ImageSegmenter", "threads": 1}).warm_up(3)
