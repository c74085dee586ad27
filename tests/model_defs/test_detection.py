"""model_defs/detection.py: one output tensor of a fixed shape, and losses with gradients, for every detector."""

import pytest
import torch

from model_defs.detection import DETECTIONS, SmallDetector, SmallMaskRCNN, TorchvisionDetector, as_rows

NAMES = {  # of each family: frame in pixels
    "fasterrcnn_mobilenet_v3_large_320_fpn": 64,
    "retinanet_resnet50_fpn": 64,
    "ssd300_vgg16": 300,
    "ssdlite320_mobilenet_v3_large": 320,
    "maskrcnn_resnet50_fpn": 64,
}
OWN = {"small detector": SmallDetector, "small maskrcnn": SmallMaskRCNN}


@pytest.mark.parametrize("name", [*(pytest.param(name, marks=pytest.mark.slow) for name in NAMES), *OWN])
def test_a_batch_of_pictures_is_one_tensor_and_losses_have_gradients(name):
    torch.manual_seed(0)
    size = NAMES.get(name, 64)
    network = OWN[name](2, size) if name in OWN else TorchvisionDetector(2, name, size)
    pixels = torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8)
    target = {"boxes": torch.tensor([[5.0, 5.0, size / 2, size / 2]]), "labels": torch.tensor([2])}
    if "mask" in name:
        target["masks"] = torch.zeros(1, size, size, dtype=torch.uint8)
    losses = network(pixels, [target, {key: value[:0] for key, value in target.items()}])  # the second picture is empty
    sum(losses.values()).backward()
    assert any(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in network.parameters())
    with torch.inference_mode():
        found = network.eval()(pixels)
    assert found.shape == (2, DETECTIONS, 6 + 784 * ("mask" in name)) and found.isfinite().all()
    scores = found[:, :, 4]
    assert (scores >= 0).all() and (scores <= 1).all() and (scores.diff(dim=1) <= 1e-6).all()
    real = found[scores > 0]
    assert ((real[:, :4] >= 0) & (real[:, :4] <= size)).all() and set(real[:, 5].tolist()) <= {0.0, 1.0}


def test_fewer_detections_are_padded_and_more_are_cut_off():
    def things(count: int) -> dict:
        return {"boxes": torch.ones(count, 4), "scores": torch.full((count,), 0.5), "labels": torch.full((count,), 3)}

    few, many = as_rows(things(2)), as_rows(things(150))
    assert few.shape == many.shape == (DETECTIONS, 6)
    assert few[0].tolist() == [1, 1, 1, 1, 0.5, 2] and few[2:].abs().sum() == 0 and (many[:, 4] == 0.5).all()


def test_masks_stay_small_and_boxes_are_scaled_back_to_the_frame():
    torch.manual_seed(0)
    network = TorchvisionDetector(2, "maskrcnn_resnet50_fpn", options={"min_size": 128, "max_size": 128}).eval()
    found = {"boxes": torch.tensor([[0.0, 0.0, 64.0, 128.0]]), "masks": torch.rand(1, 1, 28, 28)}
    (scaled,) = network.network.transform.postprocess([dict(found)], [(128, 128)], [(64, 64)])
    assert scaled["boxes"].tolist() == [[0, 0, 32, 64]] and torch.equal(scaled["masks"], found["masks"])


def test_an_unknown_detector_is_an_error():
    with pytest.raises(ValueError, match="fasterrcn"):
        TorchvisionDetector(2, "fasterrcn")
