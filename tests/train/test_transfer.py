"""train/transfer.py: which layers learn, and how fast; and a training that begins with another one's artifact."""

import pytest
import safetensors.torch
import torch

from model_defs.build import SpecError
from model_defs.vision import TorchvisionClassifier
from train.__main__ import train
from train.gradient_checkpointing import checkpoint_layers
from train.transfer import freeze, parameter_groups


@pytest.mark.parametrize(
    ("name", "train_from", "learning"),
    [
        ("resnet18", "head", {"fc"}),
        ("resnet18", "layer4", {"layer4", "fc"}),
        ("squeezenet1_0", "head", {"classifier"}),
        ("mobilenet_v3_small", "features.11", {"features", "classifier"}),
    ],
)
def test_layers_before_the_named_one_do_not_learn(name, train_from, learning):
    network = TorchvisionClassifier(num_classes=3, name=name)
    freeze(network, train_from)
    learns = {key.split(".")[1] for key, parameter in network.named_parameters() if parameter.requires_grad}
    assert learns == learning
    first = next(key for key, parameter in network.named_parameters() if parameter.requires_grad)
    assert train_from == "head" or first.startswith(f"network.{train_from}.")


def test_a_layer_that_is_not_there_names_the_nearest():
    with pytest.raises(SpecError, match="no layer 'layer5'; did you mean 'layer"):
        freeze(TorchvisionClassifier(num_classes=3), "layer5")


def test_each_layer_has_its_own_learning_rate_and_biases_do_not_decay():
    network = TorchvisionClassifier(num_classes=3)
    groups = parameter_groups(network, 0.1, 0.01, {"layer4": 0.5, "layer4.0": 0.25})
    given = {id(parameter): (group["lr"], group["weight_decay"]) for group in groups for parameter in group["params"]}
    assert len(given) == len(list(network.parameters()))
    inner = network.network
    assert given[id(inner.fc.weight)] == (0.1, 0.01) and given[id(inner.fc.bias)] == (0.1, 0.0)
    assert given[id(inner.layer4[1].conv1.weight)] == (0.05, 0.01)
    assert given[id(inner.layer4[0].conv1.weight)] == (0.025, 0.01) and given[id(inner.layer4[0].bn1.weight)] == (0.025, 0.0)


def test_rates_are_found_inside_layers_with_gradient_checkpointing():
    network = TorchvisionClassifier(num_classes=3)
    checkpoint_layers(network, ["layer4"])
    groups = parameter_groups(network, 0.1, 0.0, {"layer4.1.conv1": 0.5})
    (slow,) = [group["params"] for group in groups if group["lr"] == 0.05]
    assert [parameter.shape for parameter in slow] == [(512, 512, 3, 3)]


SMALL = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=3", "--model.network.init_args.width=4"]


@pytest.fixture(scope="module")
def first_half(tmp_path_factory):
    """An artifact of the digits 0 to 4."""
    folder = tmp_path_factory.mktemp("first")
    return train("digits", [*SMALL, '--data.classes=["0","1","2","3","4"]'], folder / "artifacts", folder / "runs")


def weights_of(artifact) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(artifact.folder / "weights.safetensors")


def test_frozen_layers_come_out_of_training_unchanged(first_half, tmp_path, capsys):
    """Digits 5 to 9 by the features of 0 to 4; batch-norm statistics stay too."""
    transfer = [f"--model.transfer.weights={first_half.folder}", "--model.transfer.train_from=head", "--model.mix.mixup=0.2"]
    second = train(
        "digits", [*SMALL, *transfer, '--data.classes=["5","6","7","8","9"]'], tmp_path / "artifacts", tmp_path / "runs"
    )
    assert second.labels == ["5", "6", "7", "8", "9"]
    before, after = weights_of(first_half), weights_of(second)
    assert {key for key in before if not torch.equal(before[key], after[key])} == {"head.1.weight", "head.1.bias"}
    assert f"weights of {first_half.folder}: new are head.1.weight, head.1.bias\n" in capsys.readouterr().out


def test_a_fine_tuned_head_keeps_the_rows_of_its_labels(first_half, tmp_path, capsys):
    """Labels 0, 3, 4 and 7: at a learning rate of nearly nothing, the rows of 0, 3 and 4 are those of the first training."""
    options = [f"--model.transfer.weights={first_half.folder}", "--model.learning_rate=1e-12", "--model.weight_decay=0"]
    second = train("digits", [*SMALL, *options, '--data.classes=["0","3","4","7"]'], tmp_path / "artifacts", tmp_path / "runs")
    before, after = weights_of(first_half), weights_of(second)
    for name in ("head.1.weight", "head.1.bias"):
        assert torch.allclose(after[name][:3], before[name][[0, 3, 4]], atol=1e-6)
    said = "all are taken; the head's rows follow their labels: those of 0, 3, 4 are kept; those of 7 are new"
    assert said in capsys.readouterr().out


def test_an_artifact_of_another_width_is_refused(first_half, tmp_path):
    given = [f"--model.transfer.weights={first_half.folder}", "--model.network.init_args.width=8", "--trainer.max_epochs=1"]
    with pytest.raises(
        SpecError, match=r"of another shape, the first is features\.0\.weight: 4 x 1 x 3 x 3, expected 8 x 1 x 3 x 3"
    ):
        train("digits", given, tmp_path / "artifacts", tmp_path / "runs")


def test_a_head_that_is_named_as_new_is_not_taken(first_half, tmp_path, capsys):
    given = [
        f"--model.transfer.weights={first_half.folder}",
        "--model.transfer.new=[head]",
        '--data.classes=["0","1","2","3","4"]',
    ]
    train("digits", [*SMALL, *given], tmp_path / "artifacts", tmp_path / "runs")
    assert "new are head.1.weight, head.1.bias\n" in capsys.readouterr().out
