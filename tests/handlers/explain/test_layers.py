"""handlers/explain/layers.py."""

import captum.attr
import pytest
import torch
from torch import nn

from handlers.explain.method import Unsuitable
from model_defs.errors import WrongValue
from model_defs.vision import SmallCNN
from tests.handlers.explain.conftest import dense


@pytest.fixture
def view():
    torch.manual_seed(0)
    network = SmallCNN(3, 3)
    network.head[1].weight.data *= 30
    return dense(network, 255 * torch.rand(1, 3, 16, 16), lambda logits: logits[:, 0])


def network_of(view) -> SmallCNN:
    return view.network.network.network


def test_layer_activation_is_the_layers_output(run, view):
    network = network_of(view)
    expected = network.features[:4](network.normalize(view.inputs))
    assert torch.allclose(run("layer_activation", view, layer="features.3").values, expected, atol=1e-5)


def test_layer_conductance_adds_up_to_the_scores_change(run, view):
    found = run("layer_conductance", view, layer="features.7", steps=100)
    assert found.error < 0.05
    expected = captum.attr.LayerConductance(view.network, network_of(view).features[7]).attribute(
        view.inputs, view.baseline, n_steps=100
    )
    assert torch.allclose(found.values, expected.float(), atol=1e-5)


def test_grad_cam_is_captums_of_the_last_convolution(run, view):
    last = [module for module in network_of(view).modules() if isinstance(module, nn.Conv2d)][-1]
    expected = captum.attr.LayerGradCam(view.network, last).attribute(view.inputs)
    found = run("grad_cam", view)
    assert torch.allclose(found.values, expected, atol=1e-6) and found.error is None


def test_an_unknown_layer_is_refused_with_the_nearest_name(run, view):
    with pytest.raises(WrongValue, match=r"no layer 'feature\.3'; did you mean 'features\.3'"):
        run("grad_cam", view, layer="feature.3")


def test_a_network_without_convolutions_needs_the_layers_name(run):
    perceptron = dense(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), torch.rand(1, 4), lambda logits: logits[:, 0])
    with pytest.raises(Unsuitable, match="no convolution; name a layer"):
        run("layer_activation", perceptron)
    assert run("layer_activation", perceptron, layer="0").values.shape == (1, 3)
