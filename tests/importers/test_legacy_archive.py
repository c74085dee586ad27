"""Archives that torch-model-archiver made for TorchServe's stock handlers, whose own code says what they answered."""

import json
import subprocess
import sys
import zipfile

import pytest
import torch
import torchvision

from handlers import base
from handlers.request import RawRequest
from importers.found import ImportRefused
from model_defs.artifact import Artifact
from tests.importers.conftest import LABELS, write_json

DETECTOR = "ssdlite320_mobilenet_v3_large"


@pytest.fixture
def packed(owner):
    """Makes an archive as its owner did, by torch-model-archiver."""

    def pack(weights: str, handler: str, *files: str) -> str:
        command = [
            sys.executable, "-m", "model_archiver.model_packaging", "--model-name", "old", "--version", "1.0",
            "--serialized-file", owner / weights, "--handler", handler, "--export-path", owner, "--force",
        ]  # fmt: skip
        extra = ["--extra-files", ",".join(str(owner / file) for file in files)] if files else []
        subprocess.run([*command, *extra], check=True, capture_output=True, cwd=owner)
        (owner / "classes.txt").unlink(missing_ok=True)
        return "old.mar"

    return pack


def stock_answers(stock, network, owner, mapping: dict | None) -> list:
    """What TorchServe's own handler answers to the photos."""
    handler = stock()
    handler.model, handler.mapping, handler.device, handler.context = network, mapping, "cpu", None
    if hasattr(handler, "topk"):
        handler.topk = 3
    answers = []
    for file in sorted((owner / "photos").iterdir()):
        pixels = stock.image_processing(torchvision.datasets.folder.pil_loader(file))
        with torch.inference_mode():
            post = getattr(stock.postprocess, "__wrapped__", stock.postprocess)
            answers += post(handler, network(pixels[None]))
    return answers


def test_a_classifiers_old_answers_stay(imported, owner, network, packed):
    from ts.torch_handler.image_classifier import ImageClassifier

    mapping = {str(number): ["n0", label] for number, label in enumerate(LABELS)}
    write_json(owner / "index_to_name.json", mapping)
    source = packed("model.pth", "image_classifier", "index_to_name.json")
    own = stock_answers(ImageClassifier, network, owner, dict(zip("012", LABELS, strict=True)))
    artifact = Artifact.read(imported(source, "--answer-as", "torchserve"))
    assert artifact.labels == LABELS and artifact.data["file"] == "old.mar"
    handler = base.load(artifact.folder, {"class_path": "handlers.legacy.ImageClassifier"})
    for (sample, payload), expected in zip(artifact.samples(), own, strict=True):
        assert sample.answer == pytest.approx(expected, abs=1e-5)
        (answer,) = handler.answer([RawRequest({"body": payload})]).answers
        served = json.loads(answer.body)
        assert list(served) == list(expected) and served == pytest.approx(sample.answer, abs=1e-6)


def test_without_names_the_labels_are_the_old_numbers(imported, packed, capsys):
    artifact = Artifact.read(imported(packed("model.pth", "image_classifier")))
    assert artifact.labels == ["0", "1", "2"] and artifact.samples()[0][0].answer[0].keys() == {"label", "score"}
    assert "an archive with TorchServe's image_classifier, taken apart" in capsys.readouterr().out


def test_a_detectors_old_answers_stay(imported, owner, packed):
    from ts.torch_handler.object_detector import ObjectDetector

    torch.manual_seed(0)
    made = torchvision.models.get_model(DETECTOR, weights=None, weights_backbone=None, num_classes=3).eval()
    with torch.no_grad():
        for layer in made.head.classification_head.module_list:
            layer[-1].bias.view(-1, 3)[:, 2] += 3.0  # so that some boxes pass the threshold
    torch.save(made.state_dict(), owner / "model.pth")
    write_json(owner / "index_to_name.json", {"0": "__background__", "1": "cat", "2": "dog"})
    source = packed("model.pth", "object_detector", "index_to_name.json")
    own = stock_answers(ObjectDetector, made, owner, {"1": "cat", "2": "dog"})
    artifact = Artifact.read(imported(source, "--answer-as", "torchserve", "--network", DETECTOR))
    assert artifact.labels == ["cat", "dog"]
    for (sample, _), expected in zip(artifact.samples(), own, strict=True):
        assert sample.answer and len(sample.answer) == min(100, len(expected))
        for given, old in zip(sample.answer, expected, strict=False):
            assert list(given) == list(old) and given["score"] == pytest.approx(old["score"], abs=1e-4)
            label = next(iter(old))
            assert given[label] == pytest.approx(old[label], abs=0.01)


def test_other_handlers_are_refused_with_those_that_are_served(imported, owner, packed):
    with pytest.raises(
        ImportRefused, match="has the handler dali_image_classifier; imported are archives with image_classifier, "
    ):
        imported(packed("model.pth", "dali_image_classifier"))


@pytest.mark.parametrize(
    "given", [b"", b"{", b"[]", b'{"model": 3}', b'{"model": {}}', b'{"model": {"handler": 3}}', b"[" * 99_999]
)
def test_a_damaged_manifest_is_refused_in_one_line(imported, owner, given):
    with zipfile.ZipFile(owner / "bad.mar", "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", given)
    with pytest.raises(ImportRefused, match="a damaged archive"):
        imported("bad.mar")


def test_an_entry_that_would_fill_the_disk_is_refused(imported, owner):
    with zipfile.ZipFile(owner / "bomb.mar", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "MAR-INF/MANIFEST.json", json.dumps({"model": {"handler": "image_classifier", "serializedFile": "x.pt"}})
        )
        archive.writestr("x.pt", bytes(64 << 20))
    data = bytearray((owner / "bomb.mar").read_bytes())
    at = data.rfind(b"PK\x01\x02")
    data[at + 24 : at + 28] = (1 << 31).to_bytes(4, "little")  # the size that it claims
    (owner / "bomb.mar").write_bytes(data)
    with pytest.raises(ImportRefused, match=r"x\.pt would take 2,147,483,648 bytes"):
        imported("bomb.mar")
