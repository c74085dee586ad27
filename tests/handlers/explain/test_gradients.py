"""handlers/explain/gradients.py: equal to Captum, and complete."""

import captum.attr
import pytest
import torch
import torchvision
from torch import nn

from handlers.explain.method import BOUND
from handlers.explain.rules import PairwiseMax, rule_by_rule, split
from handlers.explain.views import Rest, Scored
from model_defs.vision import SmallCNN
from tests.handlers.explain.conftest import LeftOrRight, dense


def of_class(index: int):
    return lambda logits: logits.softmax(-1)[..., index]


@pytest.fixture
def small():
    torch.manual_seed(0)
    network = SmallCNN(3, 3).eval()
    network.head[1].weight.data *= 30  # an untrained network hardly tells its inputs apart
    return network, 255 * torch.rand(1, 3, 16, 16)


@pytest.fixture
def smooth():
    """Without max pooling, where captum 0.9.0 is exact, too."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.AvgPool2d(12), nn.Flatten(), nn.Linear(8, 3)
    return nn.Sequential(*layers).eval(), torch.rand(1, 3, 16, 16)


def test_integrated_gradients_are_captums(run, small):
    network, pixels = small
    view = dense(network, pixels, of_class(1))
    expected = captum.attr.IntegratedGradients(view.network).attribute(pixels, view.baseline, n_steps=20)
    found = run("integrated_gradients", view, steps=20)
    assert torch.allclose(found.values, expected.float(), atol=1e-6)
    assert found.score == pytest.approx(float(network(pixels).detach().softmax(1)[0, 1]), abs=1e-6)


def test_steps_double_until_the_attributions_add_up(run):
    steep = nn.Sequential(nn.Flatten(), nn.Linear(1, 1, bias=False), nn.Sigmoid())
    nn.init.constant_(steep[1].weight, 400.0)
    view = dense(steep, torch.ones(1, 1), lambda output: output[:, 0])
    assert run("integrated_gradients", view, steps=4).error > BOUND >= run("integrated_gradients", view).error


@pytest.mark.parametrize("method", ["integrated_gradients", "deep_lift"])
def test_the_half_that_does_not_count_gets_nothing(run, method):
    pixels = torch.full((1, 3, 8, 8), 200.0)
    found = run(method, dense(LeftOrRight(), pixels, lambda logits: logits[:, 0]))
    assert found.values[..., 4:].abs().max() == 0
    assert torch.allclose(found.values[..., :4], torch.full((1, 3, 8, 4), 8 * 200 / 255 / 96), atol=1e-5)


def test_deep_lift_loses_nothing_in_the_softmax(run, small):
    network, pixels = small
    found = run("deep_lift", dense(network, pixels, of_class(2)))
    assert found.error < BOUND


def test_deep_lift_of_an_output_is_captums(run, smooth):
    network, pixels = smooth
    view = dense(network, pixels, lambda logits: logits[:, 2])
    expected = captum.attr.DeepLift(network).attribute(pixels, view.baseline, target=2)
    assert torch.allclose(run("deep_lift", view).values, expected.float(), atol=1e-5)


def test_max_pooling_by_pairs_is_max_pooling():
    for pooling in (nn.MaxPool2d(2), nn.MaxPool2d(3, stride=2, padding=1), nn.MaxPool2d((2, 3), stride=(1, 2))):
        maps = torch.randn(2, 3, 9, 12)
        assert torch.allclose(PairwiseMax(pooling)(maps), pooling(maps), atol=1e-6)


def test_a_sample_of_several_windows_is_explained_by_their_mean(run, small):
    network, pixels = small
    windows = torch.cat([pixels, pixels.flip(3)])
    both = run("deep_lift", dense(network, windows, of_class(0)))
    one = run("deep_lift", dense(network, pixels, of_class(0)))
    assert both.values.shape == windows.shape
    assert torch.allclose(both.values[0], one.values[0] / 2, atol=1e-6) and both.error < BOUND


def test_a_resnets_relus_are_split_and_its_answers_stay():
    torch.manual_seed(0)
    network = torchvision.models.resnet18(num_classes=5).eval()
    copied = split(network)
    pixels = torch.rand(2, 3, 64, 64)
    calls = [node.target for node in copied.graph.nodes if node.op == "call_module"]
    relus = [name for name in calls if isinstance(copied.get_submodule(name), nn.ReLU)]
    assert len(relus) == len(set(relus)) == 17 and not any(copied.get_submodule(name).inplace for name in relus)
    assert torch.allclose(copied(pixels), network(pixels), atol=1e-5)


def test_deep_lift_explains_a_resnet(run):
    torch.manual_seed(0)
    network = torchvision.models.resnet18(num_classes=5)
    assert run("deep_lift", dense(network, torch.rand(1, 3, 64, 64), of_class(0))).error < BOUND


def test_deep_lift_carries_its_error_on_a_network_without_rules(run):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.GELU(), nn.Linear(8, 2))
    nn.init.normal_(network[1].weight, std=0.5)
    assert not run("deep_lift", dense(network, torch.randn(1, 3, 2, 2), lambda logits: logits[:, 0])).is_exact()


def test_gradient_shap_on_a_linear_network_is_the_change_from_the_mean_background(run):
    linear = nn.Linear(6, 1, bias=False)
    view = dense(linear, torch.rand(1, 6), lambda output: output[:, 0], backgrounds=2)
    view = view._replace(backgrounds=view.backgrounds[:1].repeat(2, 1))
    expected = (view.inputs - view.backgrounds[:1]) * linear.weight
    found = run("gradient_shap", view, samples=8)
    assert torch.allclose(found.values, expected, atol=1e-5) and found.baseline == pytest.approx(
        float(linear(view.backgrounds[0]))
    )


def test_deep_lift_shap_is_captums(run, smooth):
    network, pixels = smooth
    view = dense(network, pixels, lambda logits: logits[:, 1])
    found = run("deep_lift_shap", view)
    expected = captum.attr.DeepLiftShap(network).attribute(pixels, view.backgrounds, target=1)
    assert torch.allclose(found.values, expected.float(), atol=1e-4) and found.error < BOUND


@pytest.mark.parametrize("over", ["integrated_gradients", "deep_lift"])
def test_a_noise_tunnel_without_noise_is_the_method_itself(run, small, over):
    network, pixels = small
    view = dense(network, pixels, of_class(0))
    steps = {"steps": 24} if over == "integrated_gradients" else {}
    found = run("noise_tunnel", view, over=over, noise=0.0, samples=2, **steps)
    assert torch.allclose(found.values, run(over, view, **steps).values, atol=1e-5)


def test_the_same_request_gets_the_same_explanation(run, small):
    network, pixels = small
    view = dense(network, pixels, of_class(0))
    one, other = (run("noise_tunnel", view, samples=2, over="deep_lift").values for _ in range(2))
    assert torch.equal(one, other)


def test_rules_are_made_for_functions_too():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, values):
            return torch.relu(self.linear(values)) + self.linear(values).relu()

    network = rule_by_rule(Scored(Rest(Functional()), lambda output: output.sum(1)))
    assert sum(isinstance(module, nn.ReLU) for module in network.modules()) == 2
