"""Files of a model's owner: weights, labels and pictures, made as plain scripts make them, and the import of them."""

import io
import json
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from importers.__main__ import parser, run

LABELS = ["tench", "Golden Retriever", "café crème"]  # not in alphabetical order
NETWORK = "mobilenet_v3_small"


@pytest.fixture(autouse=True)
def the_path_is_restored(monkeypatch):
    """An old handler's process gets a longer path, for good; this one is the tests'."""
    monkeypatch.setattr(sys, "path", [*sys.path])


@pytest.fixture(scope="session")
def network():
    """An owner's trained network, here with random weights whose outputs differ from picture to picture."""
    torch.manual_seed(0)
    made = torchvision.models.get_model(NETWORK, num_classes=len(LABELS))
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the statistics of one batch, without which a deep network answers all inputs alike
    with torch.no_grad():
        made.train()(torch.nn.functional.interpolate(torch.randn(8, 3, 4, 4), 96, mode="bicubic"))
        made.classifier[-1].weight *= 4
    return made.eval()


def picture(seed: int, width: int = 90, height: int = 70) -> bytes:
    small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def owner(tmp_path, network):
    """A folder with model.pth, classes.txt and photos/."""
    folder = tmp_path / "owner"
    (folder / "photos").mkdir(parents=True)
    torch.save(network.state_dict(), folder / "model.pth")
    (folder / "classes.txt").write_text("\n".join(LABELS), encoding="utf-8")
    for seed in range(3):
        (folder / "photos" / f"{seed}.png").write_bytes(picture(seed, 60 + 30 * seed))
    return folder


@pytest.fixture
def project(tmp_path):
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


@pytest.fixture
def imported(owner, project):
    """The import of a file of the owner's, with `make import`'s flags; the artifact's folder."""

    def run_import(source: str = "model.pth", *flags: str, tried: str = "photos", name: str = "pets") -> Path:
        given: Namespace = parser().parse_args([name, str(owner / source), "--try", str(owner / tried), *flags])
        return run(given, project)[0]

    return run_import


def own_answers(network, owner: Path, resize: int = 256, crop: int = 224) -> dict[str, dict[str, float]]:
    """What the owner's own script answers, without a line of the bundle."""
    transforms = torchvision.transforms
    read = transforms.Compose([
        transforms.Resize(resize), transforms.CenterCrop(crop), transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ])  # fmt: skip
    answers = {}
    for file in sorted((owner / "photos").rglob("*.png")):
        with torch.inference_mode():
            scores = network(read(Image.open(file).convert("RGB"))[None]).softmax(1)[0]
        answers[file.relative_to(owner / "photos").as_posix()] = dict(zip(LABELS, scores.tolist(), strict=True))
    return answers


def write_json(file: Path, value) -> str:
    file.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return str(file)
