"""train/transfer.py: where weights come from, what learns and how fast."""

import pytest
import safetensors.torch
import torch
from torch import nn

from model_defs.artifact import Artifact
from model_defs.build import SpecError, build
from model_defs.vision import SmallCNN, TorchvisionClassifier
from tests.conftest import LABELS
from train.__main__ import train
from train.transfer import freeze, head_of_others, load_weights, parameter_groups

HEADS = {  # of each family: the head's own tensors
    "resnet18": {"fc.weight", "fc.bias"},
    "mobilenet_v3_small": {"classifier.3.weight", "classifier.3.bias"},
    "shufflenet_v2_x0_5": {"fc.weight", "fc.bias"},
    "swin_t": {"head.weight", "head.bias"},
}


@pytest.mark.parametrize("name", HEADS)
def test_all_but_the_head_comes_from_torchvisions_weights(name, tmp_path):
    torch.manual_seed(0)
    source = TorchvisionClassifier(num_classes=7, name=name).network  # a state_dict as torchvision has it, of other classes
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    network = TorchvisionClassifier(num_classes=3, name=name)
    new = load_weights(network, str(tmp_path / "weights.pth"), name)
    assert set(new) - {"normalize.mean", "normalize.std"} == {f"network.{key}" for key in HEADS[name]}
    state = network.network.state_dict()
    assert all(torch.equal(state[key], value) for key, value in source.state_dict().items() if key not in HEADS[name])


def test_weights_come_from_an_artifact_s_folder(tmp_path):
    source = SmallCNN(num_classes=7, width=4)
    safetensors.torch.save_file(source.state_dict(), tmp_path / "weights.safetensors")
    network = SmallCNN(num_classes=3, width=4)
    assert load_weights(network, str(tmp_path), None) == ["head.1.weight", "head.1.bias"]
    assert torch.equal(network.features[0].weight, source.features[0].weight)


def test_of_an_artifact_of_other_classes_the_head_is_new_though_there_are_as_many(picture_artifact):
    spec = Artifact.read(picture_artifact).network
    assert head_of_others(str(picture_artifact), LABELS, spec) == set()
    new = head_of_others(str(picture_artifact), ["car", "ship", "horse"], spec)
    assert new == {"head.1.weight", "head.1.bias"}
    network = build(spec)
    assert set(load_weights(network, str(picture_artifact), None, new)) == new
    assert head_of_others("weights.safetensors", ["car", "ship", "horse"], spec) == set()  # a file does not say of what


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nowhere.safetensors", "nowhere.safetensors: no such file"),
        ("DEFAULT", "networks that torchvision knows by name"),
        ("{folder}/broken.safetensors", "no file of weights"),
        ("{folder}/other.safetensors", "has 0 of the network's"),
    ],
)
def test_weights_that_are_none_say_so(source, said, tmp_path):
    (tmp_path / "broken.safetensors").write_bytes(b"PK not weights")
    safetensors.torch.save_file(nn.Linear(3, 3).state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(SpecError, match=said):
        load_weights(SmallCNN(num_classes=3, width=4), source.format(folder=tmp_path), None)


@pytest.mark.parametrize(
    ("name", "train_from", "learning"),
    [
        ("resnet18", "head", {"fc"}),
        ("resnet18", "layer4", {"layer4", "fc"}),
        ("vgg11", "head", {"classifier"}),
        ("mobilenet_v3_small", "features.11", {"features", "classifier"}),
    ],
)
def test_what_stands_before_the_named_layer_does_not_learn(name, train_from, learning):
    network = TorchvisionClassifier(num_classes=3, name=name)
    freeze(network, train_from)
    learns = {key.split(".")[1] for key, parameter in network.named_parameters() if parameter.requires_grad}
    assert learns == learning
    first = next(key for key, parameter in network.named_parameters() if parameter.requires_grad)
    assert train_from == "head" or first.startswith(f"network.{train_from}.")


def test_a_layer_that_is_not_there_names_the_nearest():
    with pytest.raises(SpecError, match="no layer 'layer5'; did you mean 'layer"):
        freeze(TorchvisionClassifier(num_classes=3), "layer5")


def test_each_layer_learns_at_its_own_rate_and_biases_do_not_decay():
    network = TorchvisionClassifier(num_classes=3)
    groups = parameter_groups(network, 0.1, 0.01, {"layer4": 0.5, "layer4.0": 0.25})
    given = {id(parameter): (group["lr"], group["weight_decay"]) for group in groups for parameter in group["params"]}
    assert len(given) == len(list(network.parameters()))
    inner = network.network
    assert given[id(inner.fc.weight)] == (0.1, 0.01) and given[id(inner.fc.bias)] == (0.1, 0.0)
    assert given[id(inner.layer4[1].conv1.weight)] == (0.05, 0.01)
    assert given[id(inner.layer4[0].conv1.weight)] == (0.025, 0.01) and given[id(inner.layer4[0].bn1.weight)] == (0.025, 0.0)


def test_what_is_frozen_comes_out_of_training_as_it_went_in_statistics_included(tmp_path):
    """Digits 0 to 4, then the network's features for 5 to 9."""
    few = ["--trainer.max_epochs=1", "--model.network.init_args.width=4"]
    first = train("digits", [*few, '--data.classes=["0","1","2","3","4"]'], tmp_path / "artifacts", tmp_path / "runs")
    first = first.folder.rename(tmp_path / "first")
    transfer = [f"--model.transfer.weights={first}", "--model.transfer.train_from=head", "--model.mix.mixup=0.2"]
    second = train("digits", [*few, *transfer, '--data.classes=["5","6","7","8","9"]'], tmp_path / "artifacts", tmp_path / "runs")
    assert second.labels == ["5", "6", "7", "8", "9"]
    before, after = (safetensors.torch.load_file(folder / "weights.safetensors") for folder in (first, second.folder))
    assert {key for key in before if not torch.equal(before[key], after[key])} == {"head.1.weight", "head.1.bias"}
