"""A torchvision classifier: told by its tensors, exact, with its labels in their order."""

import json

import pytest
import torch
import torchvision

from archive.build import build
from handlers import base
from handlers.request import RawRequest
from importers.found import ImportRefused
from importers.tensor_names import fits, shapes, shapes_of
from importers.torchvision_classifier import CLASSES, names, variants
from model_defs.artifact import Artifact
from tests.importers.conftest import LABELS, own_answers


def scores(answer: list[dict]) -> dict[str, float]:
    return {each["label"]: each["score"] for each in answer}


@pytest.mark.slow
def test_no_two_networks_have_the_same_tensors_and_each_tells_its_classes():
    known = {name: shapes_of(name, tuple(variants(name, {})[0].items())) for name in names()}
    assert len(known) >= 80
    found = {}
    for name, given in known.items():
        for other, wanted in known.items():
            if given.keys() == wanted.keys() and fits(given, wanted, CLASSES):
                found.setdefault(name, []).append(other)
    assert all(found[name] == [name] for name in known)


@pytest.mark.parametrize("name", ["resnet18", "vit_b_32", "googlenet", "regnet_y_400mf", "squeezenet1_1", "densenet121"])
def test_the_number_of_classes_is_told(name):
    options = variants(name, {})[0]
    with torch.device("cpu"):
        made = torchvision.models.get_model(name, num_classes=7, **options)
    assert fits(shapes(made.state_dict()), shapes_of(name, tuple(options.items())), CLASSES) == 7


def test_answers_are_the_owners_own_and_labels_keep_their_order(imported, owner, network):
    artifact = Artifact.read(imported())
    assert artifact.labels == LABELS and artifact.data["source"] == "imported" and artifact.data["compared"] == "not compared"
    own = list(own_answers(network, owner).values())
    for (sample, _), expected in zip(artifact.samples(), own, strict=True):
        assert scores(sample.answer) == pytest.approx(expected, abs=1e-5)


def test_every_form_of_the_file_gives_the_same_model(imported, owner, network):
    inner = network.state_dict()
    torch.save(
        {"model_state_dict": {f"module.{name}": tensor for name, tensor in inner.items()}, "classes": LABELS}, owner / "a.pth"
    )
    lightning = {f"model._orig_mod.{name}": tensor for name, tensor in inner.items()} | {"loss.weight": torch.ones(3)}
    torch.save({"state_dict": lightning, "pytorch-lightning_version": "2.6.6", "hyper_parameters": {"lr": 1}}, owner / "b.ckpt")
    torch.save(network, owner / "c.pth")
    without = {name: tensor for name, tensor in inner.items() if not name.endswith("num_batches_tracked")}
    torch.save(without, owner / "d.pth")
    first = Artifact.read(imported()).samples()
    for source in ("a.pth", "b.ckpt", "c.pth", "d.pth"):
        assert Artifact.read(imported(source)).samples() == first, source


def test_the_artifact_becomes_an_archive_and_its_handler_answers(imported, owner, project, network):
    folder = imported()
    archive = build(folder, project / "archive/recipes/pets.yaml", project / "model_store")
    assert archive.name == "pets-1.0.mar"
    handler = base.load(folder, {"class_path": "handlers.vision.ImageClassifier"})
    payload = (owner / "photos" / "1.png").read_bytes()
    for rows in ([RawRequest({"body": payload})], [RawRequest({"body": payload}), RawRequest({"body": b"no"})]):
        answer = handler.answer(rows).answers[0]
        assert answer.code == 200 and scores(json.loads(answer.body)) == pytest.approx(
            own_answers(network, owner)["1.png"], abs=1e-5
        )


def test_class_folders_give_a_test_set_and_a_calibration(imported, owner):
    photos = owner / "photos"
    for index, file in enumerate(sorted(photos.glob("*.png"))):
        (photos / LABELS[index]).mkdir()
        file.rename(photos / LABELS[index] / file.name)
    artifact = Artifact.read(imported())
    assert {sample.truth for sample, _ in artifact.test_set()} == set(LABELS) and len(artifact.calibration()) == 3
    assert list(artifact.metrics) == ["accuracy"]
    (photos / "no label").mkdir()
    (photos / "no label" / "x.png").write_bytes(b"x")
    with pytest.raises(ImportRefused, match="'no label' is no label of the model; its labels: tench"):
        imported()


def change_missing(state: dict) -> None:
    del state["features.1.block.0.0.weight"]


def change_left_over(state: dict) -> None:
    state["extra.weight"] = torch.ones(1)


def change_shape(state: dict) -> None:
    state["features.0.0.weight"] = torch.ones(16, 1, 3, 3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (change_missing, r"features\.1\.block\.0\.0\.weight is missing"),
        (change_left_over, r"extra\.weight is left over"),
        (change_shape, r"features\.0\.0\.weight is \[16, 1, 3, 3\], not \[16, 3, 3, 3\]"),
    ],
)
def test_one_wrong_tensor_refuses_the_import_and_names_the_nearest(imported, owner, project, network, change, said):
    state = dict(network.state_dict())
    change(state)
    torch.save(state, owner / "changed.pth")
    with pytest.raises(ImportRefused, match=f"nearest is mobilenet_v3_small, with .* tensors: {said}"):
        imported("changed.pth")
    with pytest.raises(ImportRefused, match=f"does not fit mobilenet_v3_small: {said}"):
        imported("changed.pth", "--network", "mobilenet_v3_small")
    assert not (project / "artifacts").exists() and not (project / "archive").exists()


def test_another_network_than_the_tensors_is_refused(imported):
    with pytest.raises(ImportRefused, match="does not fit resnet18"):
        imported("model.pth", "--network", "resnet18")
    with pytest.raises(ImportRefused, match="no such network; did you mean 'resnet50'"):
        imported("model.pth", "--network", "resnet5O")


def test_a_vision_transformer_for_another_picture_size_is_told(imported, owner):
    torch.manual_seed(0)
    made = torchvision.models.vit_b_32(num_classes=3, image_size=64)
    torch.save(made.state_dict(), owner / "vit.pth")
    artifact = Artifact.read(imported("vit.pth"))
    assert artifact.network["init_args"]["options"] == {"image_size": 64}
    assert artifact.transform["init_args"]["crop"] == 64


def test_mean_and_deviation_travel_with_the_weights(imported, owner, network, capsys):
    flags = ("--mean", "0.5", "0.5", "0.5", "--std", "0.25", "0.25", "0.25", "--squash", "32", "--interpolation", "bicubic")
    artifact = Artifact.read(imported("model.pth", *flags))
    pixels = artifact.build_transform()((owner / "photos" / "0.png").read_bytes())
    assert pixels.shape == (3, 32, 32)
    with torch.inference_mode():
        expected = network((pixels[None] / 255 - 0.5) / 0.25)
        assert torch.allclose(artifact.build_network()(pixels[None]), expected, atol=1e-4)
    assert "squashed to 32 x 32, bicubic, mean [0.5, 0.5, 0.5], deviation [0.25, 0.25, 0.25]" in capsys.readouterr().out
