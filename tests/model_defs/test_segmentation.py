"""model_defs/segmentation.py: for each pixel, logits of the background and each label."""

import pytest
import torch

from model_defs.segmentation import TorchvisionSegmenter, UNet


@pytest.mark.parametrize("name", ["fcn_resnet50", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large", "unet"])
def test_every_pixel_gets_logits(name):
    network = UNet(num_classes=3, width=4) if name == "unet" else TorchvisionSegmenter(num_classes=3, name=name)
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        logits = network.eval()(pixels)
    assert logits.shape == (2, 4, 64, 64) and logits.isfinite().all()


def test_a_u_net_changes_only_the_neighbourhood_of_a_pixel():
    torch.manual_seed(0)
    network, pixels = UNet(num_classes=1, width=4, depth=2).eval(), torch.zeros(1, 3, 64, 64)
    lit = pixels.clone()
    lit[:, :, 30, 30] = 255
    changed = (network(lit) - network(pixels)).abs().sum(dim=1)[0]
    assert changed[30, 30] > 0 and changed[:8].sum() == 0 and changed[:, 56:].sum() == 0
