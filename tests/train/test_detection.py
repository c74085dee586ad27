"""train/detection.py: from a config to an artifact; what it answers is what is served."""

import json
import zipfile

import pytest

from handlers.base import load
from model_defs.artifact import Artifact
from model_defs.metrics import measure
from train.__main__ import main, train

FEW = ["--trainer.max_epochs=1", "--data.pictures=32", "--data.batch_size=4"]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory) -> Artifact:
    folder = tmp_path_factory.mktemp("shapes")
    augment = '[{"class_path": "torchvision.transforms.v2.RandomIoUCrop"}, {"class_path": "train.augment.GaussianNoise"}]'
    return train("shapes", [*FEW, f"--model.augment={augment}"], folder / "artifacts", folder / "runs")


def test_the_artifact_has_a_test_set_whose_answers_give_its_metric(artifact):
    with zipfile.ZipFile(artifact.folder / "test.zip") as file:
        expected = json.loads(file.read("expected.json"))
    assert len(expected) == artifact.data["examples"]["test"] and all(entry["truth"] for entry in expected)
    assert next(iter(artifact.metrics)) == "mean_average_precision"
    value = measure("mean_average_precision")([entry["answer"] for entry in expected], [entry["truth"] for entry in expected])
    assert value == artifact.metrics["mean_average_precision"]
    assert {file.name for file in (artifact.folder / "report").iterdir()} == {"curves.png", "examples.png"}


def test_the_handler_answers_as_training_did(artifact):
    load(artifact.folder, {"class_path": "handlers.vision.ObjectDetector", "threads": 1}).warm_up(3)


def test_mask_r_cnn_learns_from_masks(tmp_path):
    few = ["--trainer.max_epochs=1", "--data.pictures=30", "--data.classes=[circle,square]", "--data.batch_size=2"]
    few += ["--model.transform.init_args.size=64", "--trainer.limit_train_batches=2"]
    artifact = train("instances", few, tmp_path / "artifacts", tmp_path / "runs")
    assert list(artifact.metrics) == ["mask_average_precision"]
    load(artifact.folder, {"class_path": "handlers.vision.InstanceSegmenter", "threads": 1}).warm_up(1)


def test_data_without_masks_is_refused_where_masks_are_learned(tmp_path):
    few = ["--data.pictures=10", "--data.masks=false", "--model.transform.init_args.size=64"]
    with pytest.raises(SystemExit, match=r"this task learns masks, and the data has none; give --data\.masks=true"):
        main(["instances", *few], tmp_path / "artifacts", tmp_path / "runs")
