"""A torchvision detector: whole pictures at their own size, the owner's own boxes."""

import io

import pytest
import torch
import torchvision
from PIL import Image

from importers.found import ImportRefused
from importers.torchvision_detector import unique
from model_defs.artifact import Artifact


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(0)
    return torchvision.models.get_model("ssd300_vgg16", weights=None, weights_backbone=None, num_classes=4).eval()


@pytest.mark.slow
def test_boxes_are_the_owners_own_for_pictures_of_any_size(imported, owner, detector):
    torch.save(detector.state_dict(), owner / "ssd.pth")
    artifact = Artifact.read(imported("ssd.pth"))
    assert artifact.network["init_args"] == {"num_classes": 3, "name": "ssd300_vgg16"}
    network, transform = artifact.build_network(), artifact.build_transform()
    for _, payload in artifact.samples()[:2]:
        sample = transform(payload)
        with torch.inference_mode():
            given = transform.outputs(lambda inputs: network(*inputs), [sample])[0]
            picture = Image.open(io.BytesIO(payload)).convert("RGB")
            own = detector([torchvision.transforms.functional.to_tensor(picture)])[0]
        count = min(len(own["scores"]), len(given))
        assert count and torch.allclose(given[:count, :4], own["boxes"][:count], atol=1e-3)
        assert torch.allclose(given[:count, 4], own["scores"][:count], atol=1e-5)
        assert torch.equal(given[:count, 5].long() + 1, own["labels"][:count])


@pytest.mark.slow
def test_detectors_with_the_same_tensors_need_their_name(imported, owner):
    name = "fasterrcnn_mobilenet_v3_large_320_fpn"
    made = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=4)
    torch.save(made.state_dict(), owner / "faster.pth")
    with pytest.raises(ImportRefused, match=f"fits {name} and .*; say which: ARGS='--network {name}'"):
        imported("faster.pth")


def test_categories_that_are_there_twice_get_their_number():
    assert unique(["person", "N/A", "cat", "N/A"]) == ["person", "N/A 2", "cat", "N/A 4"]
