"""EXPECT: an import that does not answer as its owner's own code is refused, and the step at which they part is said."""

import shutil

import pytest

from importers.found import ImportRefused
from model_defs.artifact import Artifact
from tests.importers.conftest import LABELS, own_answers, write_json

PREDICT = """
import json
import torch, torchvision
from PIL import Image

network = torchvision.models.mobilenet_v3_small(num_classes=3).eval()
network.load_state_dict(torch.load("model.pth", weights_only=True))
labels = open("classes.txt", encoding="utf-8").read().split("\\n")


def answer(path):
    open("ran", "a").write(".")
    read = torchvision.models.MobileNet_V3_Small_Weights.DEFAULT.transforms()
    scores = network(read(Image.open(path).convert("RGB"))[None]).softmax(1)[0]
    return dict(zip(labels, scores.tolist()))


def nothing(path):
    raise RuntimeError("my own mistake")
"""


@pytest.fixture
def predict(owner):
    (owner / "predict.py").write_text(PREDICT, encoding="utf-8")
    return owner / "predict.py"


def test_own_code_that_answers_the_same_is_written_down(imported, owner, predict, capsys):
    artifact = Artifact.read(imported("model.pth", "--expect", f"{predict}:answer"))
    assert artifact.data["compared"].startswith("with predict.py:answer: 3 of 3 inputs, scores within")
    assert "as your own code answers: 3 inputs" in capsys.readouterr().out
    assert (owner / "ran").read_text() == "..."  # once per input, in one process


def test_own_code_that_fails_is_told_by_its_last_line(imported, predict):
    with pytest.raises(ImportRefused, match="failed: RuntimeError: my own mistake"):
        imported("model.pth", "--expect", f"{predict}:nothing")


@pytest.mark.parametrize("form", [dict, lambda scores: [{"label": name, "score": score} for name, score in scores.items()], list])
def test_a_json_file_of_answers_has_several_forms(imported, owner, network, form):
    own = {name: form(scores.items()) if form is list else form(scores) for name, scores in own_answers(network, owner).items()}
    assert "3 of 3" in Artifact.read(imported("model.pth", "--expect", write_json(owner / "own.json", own))).data["compared"]


def test_other_pixels_are_told_with_the_flag_that_mends_them(imported, owner, network, project):
    own = write_json(owner / "own.json", own_answers(network, owner, resize=224))
    with pytest.raises(ImportRefused, match=r"part at the pictures, before the network: with ARGS='--resize 224' the answers"):
        imported("model.pth", "--expect", own)
    assert not (project / "artifacts").exists()
    imported("model.pth", "--expect", own, "--resize", "224")


def test_labels_in_another_order_are_told(imported, owner, network):
    own = {name: dict(zip(sorted(LABELS), scores.values(), strict=True)) for name, scores in own_answers(network, owner).items()}
    with pytest.raises(ImportRefused, match=r"the import answers .*, your code .*: the labels stand in another order"):
        imported("model.pth", "--expect", write_json(owner / "own.json", own))


def test_another_label_or_score_is_refused_with_both(imported, owner, network):
    own = own_answers(network, owner)
    own["1.png"] = {"tench": 0.98, "Golden Retriever": 0.01, "café crème": 0.01}
    with pytest.raises(ImportRefused, match=r"1\.png: the import answers .*, your code tench 0\.9800.*Neither the labels' order"):
        imported("model.pth", "--expect", write_json(owner / "own.json", own))
    with pytest.raises(ImportRefused, match="the label is"):
        imported("model.pth", "--expect", write_json(owner / "own.json", {"0.png": "no such label"}))


@pytest.mark.parametrize("given", [[], {"other.png": "tench"}, 3, {"0.png": None}])
def test_answers_that_are_none_are_refused(imported, owner, given):
    with pytest.raises(ImportRefused, match=r"EXPECT|yours is"):
        imported("model.pth", "--expect", write_json(owner / "own.json", given))


def test_answers_to_other_inputs_are_said(imported, owner, network, capsys):
    own = own_answers(network, owner) | {"nowhere.png": "tench"}
    imported("model.pth", "--expect", write_json(owner / "own.json", own))
    assert "left out of EXPECT: the answer to nowhere.png, which TRY does not have" in capsys.readouterr().out


def test_a_name_that_two_class_folders_have_is_no_name_of_an_input(imported, owner):
    for label in LABELS[:2]:
        (owner / "classes" / label).mkdir(parents=True)
        shutil.copy(owner / "photos" / "0.png", owner / "classes" / label / "a.png")
    with pytest.raises(ImportRefused, match="has no answer to"):
        imported("model.pth", "--expect", write_json(owner / "own.json", {"a.png": "tench"}), tried="classes")


@pytest.mark.parametrize(
    ("text", "said"),
    [('{"0.png": {"tench": NaN}}', "NaN is no score"), ('{"0.png": "a", "0.png": "b"}', "the key '0.png' twice"),
     ('{"0.png": {"tench": Infinity}}', "Infinity is no score")],
)  # fmt: skip
def test_answers_of_which_a_part_would_be_lost_are_refused(imported, owner, text, said):
    (owner / "own.json").write_text(text)
    with pytest.raises(ImportRefused, match=said):
        imported("model.pth", "--expect", str(owner / "own.json"))


def test_a_label_that_the_model_does_not_have_is_refused(imported, owner, network):
    own = own_answers(network, owner)
    own["1.png"]["tensh"] = 0.001
    with pytest.raises(ImportRefused, match=r"EXPECT: 1\.png: the model has no label 'tensh'; did you mean 'tench'"):
        imported("model.pth", "--expect", write_json(owner / "own.json", own))
