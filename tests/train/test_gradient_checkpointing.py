"""train/gradient_checkpointing.py: the same gradients from less memory."""

import pytest
import torch
from torchvision.models import VisionTransformer

from model_defs.vision import TorchvisionClassifier
from train.__main__ import main, train
from train.gradient_checkpointing import checkpoint_layers
from train.transfer import parameter_groups

NETWORKS = {  # how it is built, the layers to checkpoint, and how many these are
    "convolutions": (lambda: TorchvisionClassifier(3, "resnet18"), ["layer1", "layer2"], 4),
    "transformer": (
        lambda: VisionTransformer(image_size=64, patch_size=8, num_layers=4, num_heads=2, hidden_dim=32, mlp_dim=64),
        ["encoder.layers"],
        4,
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_checkpointed_layers_give_the_same_gradients_from_less_memory(name):
    build, layers, count = NETWORKS[name]
    plain, frugal = build().train(), build().train()
    assert len(checkpoint_layers(frugal, layers)) == count
    frugal.load_state_dict(plain.state_dict())  # the names are still those of the plain network
    assert list(frugal.state_dict()) == list(plain.state_dict())
    pixels = torch.rand(4, 3, 64, 64)
    kept = [kept_bytes(network, pixels) for network in (plain, frugal)]
    for one, other in zip(plain.parameters(), frugal.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, atol=1e-5)
    state = frugal.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in plain.state_dict().items())  # statistics included
    assert kept[1] < 0.75 * kept[0]
    with torch.inference_mode():
        assert torch.equal(plain.eval()(pixels), frugal.eval()(pixels))


def kept_bytes(network, pixels) -> int:
    """What a training step keeps for its gradients, without the weights."""
    weights, kept = {value.data_ptr() for value in network.parameters()}, 0

    def keep(tensor):
        nonlocal kept
        kept += 0 if tensor.data_ptr() in weights else tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = network(pixels).square().mean()
    loss.backward()
    return kept


def test_one_layer_alone_can_be_checkpointed():
    network = TorchvisionClassifier(3, "resnet18")
    assert checkpoint_layers(network, ["layer3.1"]) == ["network.layer3.1"]
    assert len(parameter_groups(network, 0.1, 0.01, {})) == 2  # every parameter is still found
    assert network(torch.rand(2, 3, 32, 32)).shape == (2, 3)


def test_gradient_checkpointing_is_a_key_of_the_config(tmp_path):
    options = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=3", "--model.network.init_args.width=4"]
    options += ['--data.classes=["0","1"]']
    plain = train("digits", options, tmp_path / "one", tmp_path / "runs")
    options += ["--model.gradient_checkpointing=[features]"]
    frugal = train("digits", options, tmp_path / "two", tmp_path / "runs")
    one, other = (artifact.build_network().state_dict() for artifact in (plain, frugal))
    assert all(torch.allclose(one[name], other[name], atol=1e-4) for name in one)


def test_a_layer_that_is_not_there_names_the_nearest(tmp_path):
    with pytest.raises(SystemExit, match="no layer 'feature'; did you mean 'features'"):
        main(["digits", "--model.gradient_checkpointing=[feature]"], tmp_path / "artifacts", tmp_path / "runs")
