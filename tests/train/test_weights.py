"""train/weights.py and head.py: weights are taken exactly or not at all; a head's rows follow their labels."""

import pytest
import safetensors.torch
import torch
from torch import nn

from model_defs.audio import MelCNN
from model_defs.build import SpecError, build
from model_defs.segmentation import UNet
from model_defs.text import NgramTransform
from model_defs.vision import SmallCNN, TorchvisionClassifier
from tests.conftest import path_of
from train.head import head_of
from train.weight_files import Weights, read_weights
from train.weights import load_weights, refuse_other_vocabulary

HEADS = {  # of each family: the head's own tensors
    "resnet18": {"fc.weight", "fc.bias"},
    "mobilenet_v3_small": {"classifier.3.weight", "classifier.3.bias"},
    "regnet_y_400mf": {"fc.weight", "fc.bias"},
    "shufflenet_v2_x0_5": {"fc.weight", "fc.bias"},
    "swin_t": {"head.weight", "head.bias"},
}


def made(kind: type, num_classes: int, **init_args) -> tuple[nn.Module, dict]:
    """A seeded network, and its head."""
    torch.manual_seed(num_classes)
    spec = {"class_path": path_of(kind), "init_args": {"num_classes": num_classes, **init_args}}
    network = build(spec)
    return network, head_of(network, spec)


def copied(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("name", HEADS)
def test_all_but_the_head_comes_from_torchvision_s_weights(name):
    source = TorchvisionClassifier(num_classes=7, name=name).network  # a state_dict as torchvision has it, of other classes
    network, head = made(TorchvisionClassifier, 3, name=name)
    loaded = load_weights(network, Weights(copied(source), "x"), head, ["a", "b", "c"])
    assert set(loaded.new) == {f"network.{key}" for key in HEADS[name]} == set(head)
    state = network.network.state_dict()
    assert all(torch.equal(state[key], value) for key, value in source.state_dict().items() if key not in HEADS[name])


@pytest.mark.parametrize("prefix", ["module.", "model.", "model.module.", "_orig_mod."])
def test_what_is_in_front_of_all_names_is_taken_away(prefix):
    source = TorchvisionClassifier(num_classes=3).network
    given = {f"{prefix}{name}": tensor for name, tensor in copied(source).items()}
    network, head = made(TorchvisionClassifier, 3)
    assert load_weights(network, Weights(given, "x"), head, ["a", "b", "c"]).new == []
    assert torch.equal(network.network.conv1.weight, source.conv1.weight)


def test_a_checkpoint_of_a_training_of_this_project_is_taken():
    source, _ = made(TorchvisionClassifier, 3)
    network, head = made(TorchvisionClassifier, 3)
    given = {f"network.{name}": tensor + 1 for name, tensor in copied(source).items()}
    assert load_weights(network, Weights(given, "x"), head, ["a", "b", "c"]).new == []
    assert torch.equal(network.network.conv1.weight, source.network.conv1.weight + 1)


def test_older_weights_may_lack_the_counters_of_batch_norms():
    source = TorchvisionClassifier(num_classes=3).network
    given = {name: tensor for name, tensor in copied(source).items() if not name.endswith("num_batches_tracked")}
    network, head = made(TorchvisionClassifier, 3)
    assert load_weights(network, Weights(given, "x"), head, ["a", "b", "c"]).new == []
    assert torch.equal(network.network.conv1.weight, source.conv1.weight)


@pytest.mark.parametrize(
    ("given", "own", "said"),
    [
        ("resnet34", "resnet18", r"96 left over, the first is network\.layer1\.2\.conv1\.weight"),
        ("resnet18", "resnet34", r"80 missing, the first is network\.layer1\.2\.conv1\.weight"),
        (
            "resnet50",
            "resnet18",
            r"of another shape, the first is network\.layer1\.0\.conv1\.weight: 64 x 64 x 1 x 1, expected 64",
        ),
        (
            "squeezenet1_0",
            "resnet18",
            r"of this one's 122 tensors 100 missing, the first is network\.conv1\.weight; 52 left over",
        ),
    ],
)
def test_weights_of_another_network_are_refused(given, own, said):
    source = TorchvisionClassifier(num_classes=3, name=given).network
    network, head = made(TorchvisionClassifier, 3, name=own)
    before = copied(network)
    with pytest.raises(SpecError, match=rf"x has another network's weights: .*{said}.*--model\.transfer\.new=\[layer\]"):
        load_weights(network, Weights(copied(source), "x"), head, ["a", "b", "c"])
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_layers_that_are_named_as_new_may_differ():
    source = TorchvisionClassifier(num_classes=3).network
    network, head = made(TorchvisionClassifier, 3, small_pictures=True)
    with pytest.raises(
        SpecError, match=r"1 of another shape, the first is network\.conv1\.weight: 64 x 3 x 7 x 7, expected 64 x 3"
    ):
        load_weights(network, Weights(copied(source), "x"), head, ["a", "b", "c"])
    before = network.network.conv1.weight.clone()
    loaded = load_weights(network, Weights(copied(source), "x"), head, ["a", "b", "c"], ["network.conv1", *head])
    assert loaded.new == ["network.conv1.weight", "network.fc.weight", "network.fc.bias"]
    assert torch.equal(network.network.conv1.weight, before)
    assert torch.equal(network.network.layer1[0].conv1.weight, source.layer1[0].conv1.weight)


@pytest.mark.parametrize("kind", [SmallCNN, MelCNN])
def test_each_label_keeps_its_row_in_another_order(kind):
    source, _ = made(kind, 3)
    network, head = made(kind, 3)
    loaded = load_weights(network, Weights(copied(source), "x", ["a", "b", "c"]), head, ["c", "a", "b"])
    given, own = source.state_dict(), network.state_dict()
    for name in head:
        assert torch.equal(own[name], given[name][[2, 0, 1]])
    assert loaded.new == [] and str(loaded) == "all are taken; the head's rows follow their labels: those of c, a, b are kept"


def test_kept_labels_keep_their_rows_and_new_ones_are_initialised():
    source, _ = made(SmallCNN, 3)
    network, head = made(SmallCNN, 4)
    before = copied(network)
    loaded = load_weights(network, Weights(copied(source), "x", ["a", "b", "c"]), head, ["b", "bee", "c", "d"])
    given, own = source.state_dict(), network.state_dict()
    for name in head:
        assert torch.equal(own[name][[0, 2]], given[name][[1, 2]]) and torch.equal(own[name][[1, 3]], before[name][[1, 3]])
    assert loaded.note == "; the head's rows follow their labels: those of b, c are kept; those of bee, d are new"


def test_the_background_keeps_its_row():
    source, _ = made(UNet, 2, width=4, depth=1)
    network, head = made(UNet, 2, width=4, depth=1)
    load_weights(network, Weights(copied(source), "x", ["road", "sky"]), head, ["sky", "tree"])
    assert torch.equal(network.head.weight[[0, 1]], source.head.weight[[0, 2]])


@pytest.mark.parametrize("labels", [["d", "e", "f"], ["d", "e"]])
def test_a_head_of_other_labels_is_new(labels):
    source, _ = made(SmallCNN, 3)
    network, head = made(SmallCNN, len(labels))
    before = copied(network)
    loaded = load_weights(network, Weights(copied(source), "x", ["a", "b", "c"]), head, labels)
    assert loaded.new == ["head.1.weight", "head.1.bias"] and torch.equal(network.head[1].weight, before["head.1.weight"])
    assert torch.equal(network.features[0].weight, source.features[0].weight)


def test_a_file_that_does_not_name_its_labels_is_taken_in_their_order_and_says_so():
    source, _ = made(SmallCNN, 3)
    network, head = made(SmallCNN, 3)
    loaded = load_weights(network, Weights(copied(source), "x"), head, ["c", "a", "b"])
    assert torch.equal(network.head[1].weight, source.head[1].weight)
    assert str(loaded) == "all are taken; the file does not name its labels: its head's are taken to be c, a, b, in this order"


def test_a_detector_s_head_of_other_labels_is_new():
    from model_defs.detection import SmallDetector

    source, _ = made(SmallDetector, 2)
    network, head = made(SmallDetector, 2)
    loaded = load_weights(network, Weights(copied(source), "x", ["a", "b"]), head, ["b", "a"])
    assert set(loaded.new) == set(head) and all("classification_head" in name for name in head)


def test_finding_the_head_does_not_change_the_random_numbers():
    torch.manual_seed(3)
    spec = {"class_path": path_of(SmallCNN), "init_args": {"num_classes": 3}}
    network = build(spec)
    state = torch.random.get_rng_state()
    assert set(head_of(network, spec)) == {"head.1.weight", "head.1.bias"}
    assert torch.equal(torch.random.get_rng_state(), state)


def test_an_artifact_of_another_vocabulary_is_refused(text_artifact, tmp_path):
    transform = NgramTransform(ngrams=2)
    transform.load(text_artifact)
    refuse_other_vocabulary(str(text_artifact), transform)
    transform.tokens = transform.tokens[::-1]
    with pytest.raises(SpecError, match=r"texts has another vocabulary\.txt than this data gives"):
        refuse_other_vocabulary(str(text_artifact), transform)
    safetensors.torch.save_file({"w": torch.ones(1)}, tmp_path / "w.safetensors")
    refuse_other_vocabulary(str(tmp_path / "w.safetensors"), transform)  # a file does not say of which words it is


def test_an_artifact_s_weights_fit_its_own_network(picture_artifact):
    network, head = made(SmallCNN, 3)
    weights = read_weights(str(picture_artifact))
    assert load_weights(network, weights, head, weights.labels).new == []
    assert all(torch.equal(value, weights.tensors[name]) for name, value in network.state_dict().items())
