"""train/network.py: a network that does not suit the data or the task is refused before the first epoch."""

import pytest
import torch
from torch import nn
from torchvision.transforms import v2

from model_defs.audio import AudioTransform, MelCNN
from model_defs.build import SpecError
from model_defs.text import BagOfWords
from model_defs.transform import Transform
from model_defs.vision import SmallCNN
from train.data.synthetic.sounds import clip
from train.network import build_network, try_augmentation, try_network
from train.targets import ClassTargets

CLASSIFIER = "model_defs.vision.TorchvisionClassifier"
SAMPLES = [torch.zeros(3, 16, 16, dtype=torch.uint8)] * 2


@pytest.mark.parametrize(
    ("class_path", "init_args", "said"),
    [
        (CLASSIFIER, {"name": "resnet19"}, r"torchvision\.models has no network 'resnet19'; did you mean 'resnet18'"),
        (CLASSIFIER, {"name": "fasterrcnn_resnet50_fpn"}, r"is a network of torchvision\.models\.detection\.faster_rcnn; "),
        (CLASSIFIER, {"name": "fcn_resnet50"}, r"is a network of torchvision\.models\.segmentation\.fcn; "),
        (CLASSIFIER, {"name": "r3d_18"}, r"is a network of torchvision\.models\.video\.resnet; "),
        ("model_defs.detection.TorchvisionDetector", {"name": "resnet18"}, "TorchvisionDetector takes those of .*detection"),
        (CLASSIFIER, {"options": {"foo": 1}}, r"cannot be built: TypeError in resnet\.py:\d+: .*'foo'"),
        ("model_defs.vision.SmallCNN", {"width": -4}, r"cannot be built: RuntimeError in conv\.py:\d+: .*negative dimension -4"),
        ("model_defs.vision.SmallCNN", {"dropout": 7.0}, r"cannot be built: ValueError in dropout\.py:\d+: .*between 0 and 1"),
    ],
)
def test_a_network_that_cannot_be_built_says_why(class_path, init_args, said):
    with pytest.raises(SpecError, match=said) as refused:
        build_network({"class_path": class_path, "init_args": {"num_classes": 3, **init_args}})
    assert "\n" not in str(refused.value)


class Pair(nn.Module):
    def forward(self, pixels):
        return [{"boxes": pixels}] * len(pixels)


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (SmallCNN(4), "SmallCNN gives 4 values per sample, expected 3"),
        (BagOfWords(3), "BagOfWords cannot take a sample of Transform: TypeError in .*'offsets'"),
        (SmallCNN(3, channels=1), r"cannot take a sample of Transform: RuntimeError in conv\.py.*expected input.*1 channel"),
        (nn.Identity(), "Identity gives 3 values per sample, expected 7"),
    ],
)
def test_a_network_of_other_inputs_or_outputs_is_refused(network, said):
    with pytest.raises(SpecError, match=said):
        try_network(network, Transform(), SAMPLES, 7 if isinstance(network, nn.Identity) else 3)


def test_an_output_that_is_not_a_tensor_is_refused():
    with pytest.raises(SpecError, match="Pair gives dict, expected a tensor per sample"):
        try_network(Pair(), Transform(), SAMPLES, None)


def test_a_sound_of_several_windows_is_tried_as_one_window():
    transform = AudioTransform(sample_rate=16000, seconds=1.0, windows=7)
    try_network(MelCNN(3), transform, [transform(clip("siren", 0, seconds)) for seconds in (2, 3.5)], 3)


def test_a_trial_changes_neither_the_mode_nor_the_statistics():
    network = SmallCNN(3).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    try_network(network, Transform(), SAMPLES, 3)
    assert network.training and all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_an_augmentation_that_does_not_suit_the_samples_is_refused():
    targets = ClassTargets(["a"], v2.RandomCrop(99))
    with pytest.raises(SpecError, match=r"augment: ValueError in \w+\.py:\d+: Required crop size \(99, 99\) is larger"):
        try_augmentation(targets, SAMPLES, ["a", "a"])


def test_a_trial_of_the_augmentation_does_not_change_the_random_numbers():
    state = torch.random.get_rng_state()
    try_augmentation(ClassTargets(["a"], v2.RandomCrop(9)), SAMPLES, ["a", "a"])
    assert torch.equal(torch.random.get_rng_state(), state)
