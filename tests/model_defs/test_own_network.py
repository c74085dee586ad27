"""A network of somebody's own, behind the normalisation of its pictures."""

import torch

from model_defs.own_network import NormalizedNetwork

SPEC = {"class_path": "model_defs.vision.SmallCNN", "init_args": {"num_classes": 3, "channels": 1}}


def test_pixels_are_normalised_as_torchvision_does():
    torch.manual_seed(0)
    made = NormalizedNetwork(SPEC, mean=[0.25], std=[0.5]).eval()
    pixels = torch.randint(0, 256, (2, 1, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.allclose(made(pixels), made.network((pixels / 255 - 0.25) / 0.5), atol=1e-6)


def test_the_weights_and_the_normalisation_travel_together():
    names = NormalizedNetwork(SPEC, mean=[0.25], std=[0.5]).state_dict().keys()
    assert {name.partition(".")[0] for name in names} == {"normalize", "network"}
