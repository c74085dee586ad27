"""The configs for a user's pictures, each on such a folder: from the command line to an artifact."""

import pytest
import safetensors.torch
from PIL import Image

from model_defs.detection import TorchvisionDetector
from model_defs.segmentation import TorchvisionSegmenter
from model_defs.vision import TorchvisionClassifier
from tests.train.data.test_detection import COCO, coco, masked
from train.__main__ import train


def class_folders(root):
    for label, colour in (("cat", "white"), ("dog", "black")):
        (root / label).mkdir(parents=True)
        for index in range(10):
            Image.new("RGB", (40, 30), colour).save(root / label / f"{index}.jpg")


OWN = {  # config: writes its folder; the network of 9 classes whose weights stand in for torchvision's
    "transfer": (class_folders, lambda: TorchvisionClassifier(9)),
    "detection": (
        lambda root: coco(root, root / COCO, count=20),
        lambda: TorchvisionDetector(9, "ssdlite320_mobilenet_v3_large"),
    ),
    "segmentation": (lambda root: masked(root, count=20), lambda: TorchvisionSegmenter(9)),
}


@pytest.mark.parametrize("name", OWN)
def test_a_user_s_folder_becomes_an_artifact(name, tmp_path):
    write, network = OWN[name]
    write(tmp_path / "own")
    safetensors.torch.save_file(network().network.state_dict(), tmp_path / "weights.safetensors")
    few = [
        "--trainer.max_epochs=1",
        "--trainer.limit_train_batches=1",
        "--data.batch_size=2",
        "--model.transform.init_args.size=64",
    ]
    given = [f"--data.root={tmp_path / 'own'}", f"--model.transfer.weights={tmp_path / 'weights.safetensors'}"]
    artifact = train(name, [*few, *given], tmp_path / "artifacts", tmp_path / "runs")
    assert artifact.labels in (["cat", "dog"], ["cat"], ["sky"]) and artifact.metrics and artifact.samples()
    assert artifact.data["root"] == "own"
