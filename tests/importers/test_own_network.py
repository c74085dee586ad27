"""A network of somebody's own: its file is named, runs, and is the only code of theirs in the archive."""

import json
import re
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

from archive.build import build
from handlers import base
from handlers.request import RawRequest
from importers.__main__ import parser, run
from importers.found import ImportRefused
from model_defs.artifact import Artifact
from tests.handlers.explain.asking import good, signed
from tests.importers.conftest import LABELS

MY_NET = """
import torch
from torch import nn


class MyNet(nn.Module):
    def __init__(self, n_classes, width=8):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.head = nn.Linear(4 * width, n_classes)

    def forward(self, x):
        return 9 * self.head(self.net(x))


class Pair(MyNet):
    def forward(self, x):
        return super().forward(x), x


class Words(nn.Module):  # whose answers depend on their neighbours, as torchaudio's AmplitudeToDB(top_db=80) makes them
    def __init__(self, n_classes=2):
        super().__init__()
        self.fc = nn.Linear(40, n_classes)

    def forward(self, waveform):
        power = torch.stft(waveform, 78, return_complex=True, window=torch.ones(78)).abs().mean(2)
        return 3 * self.fc((power / power.max()).log10().clamp(-2))
"""
PREDICT = """
import sys, torch, torchvision
from PIL import Image
from my_net import MyNet

torch.manual_seed(0)
network = torch.nn.DataParallel(MyNet(n_classes=3)).eval()
network.load_state_dict(torch.load("own.pth", weights_only=True)["state_dict"])
labels = open("classes.txt", encoding="utf-8").read().split("\\n")
T = torchvision.transforms
read = T.Compose([T.Resize(40), T.CenterCrop(32), T.ToTensor(), T.Normalize([0.5] * 3, [0.5] * 3)])


def answer(path):
    scores = network(read(Image.open(path).convert("RGB"))[None]).softmax(1)[0]
    return dict(zip(labels, scores.tolist()))
"""
FLAGS = ("--resize", "40", "--crop", "32", "--mean", "0.5", "0.5", "0.5", "--std", "0.5", "0.5", "0.5")


@pytest.fixture
def own(owner, monkeypatch):
    """The owner's folder, with my_net.py, predict.py and own.pth."""
    (owner / "my_net.py").write_text(MY_NET)
    (owner / "predict.py").write_text(PREDICT, encoding="utf-8")
    names: dict = {"__name__": "my_net"}
    exec(MY_NET, names)
    torch.manual_seed(0)
    torch.save({"state_dict": torch.nn.DataParallel(names["MyNet"](3)).state_dict()}, owner / "own.pth")
    yield owner
    sys.modules.pop("model_defs.own.pets", None)


def test_answers_are_those_of_the_owners_own_code(imported, own, project, capsys):
    flags = ("--network", f"{own}/my_net.py:MyNet(n_classes=3)", "--expect", f"{own}/predict.py:answer", "--tolerance", "1e-4")
    artifact = Artifact.read(imported("own.pth", *flags, *FLAGS))
    assert artifact.labels == LABELS and artifact.data["compared"].startswith("with predict.py:answer: 3 of 3 inputs")
    assert "MyNet(n_classes=3); its 28 lines run now, and on the server" in capsys.readouterr().out
    assert (project / "model_defs/own/pets.py").read_text() == MY_NET


@pytest.mark.parametrize("method", [None, "deep_lift", "integrated_gradients", "grad_cam", "occlusion"])
def test_an_owners_network_is_explained(imported, own, method):
    folder = imported("own.pth", "--network", f"{own}/my_net.py:MyNet(n_classes=3)", *FLAGS)
    handler = base.load(folder, {"class_path": "handlers.vision.ImageClassifier", "threads": 1})
    (sample, payload), *_ = Artifact.read(folder).samples()
    answer = good(handler, payload, **({"method": method} if method else {}))
    assert answer["label"] == sample.answer[0]["label"] and answer["method"] == (method or "deep_lift")
    assert signed(answer).shape == (32, 32) and answer["scale"] > 0


def test_the_archive_holds_the_file_and_no_other_code_of_theirs(imported, own, project):
    """Imported into this project itself, since an archive's code is taken from there."""
    name = "own_network_of_a_test"
    module = Path(f"model_defs/own/{name}.py")
    given = [name, f"{own}/own.pth", "--try", f"{own}/photos", "--network", f"{own}/my_net.py:MyNet(3)", *FLAGS]
    try:
        folder = run(parser().parse_args(given), project)[0]
        module.write_bytes((project / module).read_bytes())
        sys.modules.pop(f"model_defs.own.{name}")
        archive = build(folder, project / f"archive/recipes/{name}.yaml", project / "store")
        handler = base.load(folder, {"class_path": "handlers.vision.ImageClassifier"})
    finally:
        module.unlink(missing_ok=True)
    with zipfile.ZipFile(archive) as packed:
        inside = packed.namelist()
    assert str(module) in inside and [entry for entry in inside if "own/" in entry] == ["model_defs/own/__init__.py", str(module)]
    for sample, payload in Artifact.read(folder).samples():
        (answer,) = handler.answer([RawRequest({"body": payload})]).answers
        assert json.loads(answer.body) == sample.answer


def test_a_sound_network_whose_answers_depend_on_neighbours_gets_batches_of_one(imported, own, project, capsys):
    names: dict = {"__name__": "my_net"}
    exec(MY_NET, names)
    torch.manual_seed(0)
    torch.save(names["Words"](2).state_dict(), own / "words.pth")
    (own / "sounds").mkdir()
    (own / "classes.txt").write_text("yes\nno")
    for seed in range(4):
        noise = np.random.default_rng(seed).uniform(-1, 1, 4_000) * 0.1 ** (3 - seed)
        soundfile.write(own / "sounds" / f"{seed}.wav", np.convolve(noise, [1, 1, 1]) / 3, 8_000)
    flags = ("--network", f"{own}/my_net.py:Words()", "--sample-rate", "8000")
    artifact = Artifact.read(imported("words.pth", *flags, tried="sounds"))
    assert artifact.labels == ["yes", "no"]
    said = capsys.readouterr().out
    assert "an answer depends on its neighbours in a batch" in said and "the recipe says batchSize: 1" in said
    assert yaml.safe_load((project / "archive/recipes/pets.yaml").read_text())["batchSize"] == 1


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("MyNet", "missing a required argument: 'n_classes'; it takes MyNet(n_classes, width=8), with plain values"),
        ("MyNet(3, depth=2)", "unexpected keyword argument 'depth'"),
        ("MyNet(n_classes=open('x'))", "it takes MyNet(n_classes, width=8), with plain values"),
        ("MyNet(n_classes={1, 2})", "with plain values"),
        ("Mynet(3)", "no network 'Mynet' of its own in it; did you mean 'MyNet'"),
        ("nn", "no network 'nn' of its own in it"),
        ("MyNet(3).eval()", "is no class with its arguments; give ARGS='--network my_net.py:MyNet(n_classes=4)'"),
        ("MyNet(", "is no class with its arguments"),
        ("MyNet(4)", "does not fit {own}/my_net.py:MyNet(4): head.weight is [3, 32], not [4, 32]; are its arguments right?"),
        ("MyNet(3, width=4)", "net.0.weight is [8, 3, 3, 3], not [4, 3, 3, 3]"),
        ("Words(3)", "fc.bias is missing, and 1 more"),
        ("Pair(3)", "it answers a tuple to a picture of 224 x 224 pixels"),
        ("MyNet(-1)", "fails: RuntimeError"),
    ],
)
def test_a_call_that_does_not_fit_is_refused_with_the_way_out(imported, own, project, call, said):
    with pytest.raises(ImportRefused, match=re.escape(said.format(own=own))):
        imported("own.pth", "--network", f"{own}/my_net.py:{call}")
    assert not (project / "model_defs").exists() and not (project / "artifacts").exists()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "import blocks",
            "imports blocks, which is not installed; an archive takes in one file of yours: put its code into my_net",
        ),
        ("from .blocks import Block", "imports a module next to it, which is not installed"),
        ("class", "cannot be read (invalid syntax"),
        ("\0", "cannot be read"),
        ("1 / 0", "fails: ZeroDivisionError in my_net.py:"),
    ],
)
def test_a_file_that_an_archive_cannot_bring_is_refused(imported, own, code, said):
    (own / "my_net.py").write_text(code)
    with pytest.raises(ImportRefused, match=re.escape(said)):
        imported("own.pth", "--network", f"{own}/my_net.py:MyNet(3)")
    with pytest.raises(ImportRefused, match="cannot be read"):
        imported("own.pth", "--network", f"{own}/nowhere.py:MyNet(3)")


def test_grey_pictures_have_one_channel(imported, own):
    (own / "my_net.py").write_text(MY_NET.replace("Conv2d(3,", "Conv2d(1,"))
    names: dict = {"__name__": "my_net"}
    exec((own / "my_net.py").read_text(), names)
    torch.save(names["MyNet"](3).state_dict(), own / "grey.pth")
    artifact = Artifact.read(imported("grey.pth", "--network", f"{own}/my_net.py:MyNet(3)", "--grey", "--squash", "28"))
    sample = artifact.build_transform()((own / "photos" / "0.png").read_bytes())
    assert sample.shape == (1, 28, 28) and artifact.network["init_args"]["mean"] == [0.0]
