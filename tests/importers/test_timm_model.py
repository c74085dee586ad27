"""Folders of timm: its own config says how pictures are read, and the pixels are equal."""

import json
import shutil

import pytest
import torch
from PIL import Image

from handlers import base
from importers.__main__ import parser, run
from importers.found import ImportRefused
from model_defs.artifact import Artifact
from model_defs.build import SpecError
from tests.handlers.explain.asking import good, signed
from tests.importers.conftest import LABELS, picture

timm = pytest.importorskip("timm", reason="make setup EXTRAS=timm")
NAME = "test_vit"  # timm's own smallest networks
CONFIGS = {
    "center": {"crop_pct": 0.95, "crop_mode": "center", "interpolation": "bicubic"},
    "squash": {"crop_pct": 1.0, "crop_mode": "squash", "interpolation": "bilinear"},
    "plain": {"crop_pct": 0.875, "mean": [0.5, 0.4, 0.3], "std": [0.5, 0.5, 0.25]},
}


@pytest.fixture
def saved(tmp_path):
    """A folder as timm's own `save_for_hf` leaves it, made of its parts, and pictures."""

    def save(name: str = NAME, **changes):
        torch.manual_seed(0)
        network = timm.create_model(name, num_classes=3).eval()
        with torch.no_grad():
            network.get_classifier().weight.mul_(30)
        folder = tmp_path / "saved"
        timm.models.save_for_hf(
            network, folder, model_config={"pretrained_cfg": network.pretrained_cfg | changes, "label_names": LABELS}
        )
        (tmp_path / "photos").mkdir(exist_ok=True)
        for seed in range(3):
            (tmp_path / "photos" / f"{seed}.png").write_bytes(picture(seed, 200 + 30 * seed, 190))
        Image.open(tmp_path / "photos" / "0.png").convert("RGBA").save(tmp_path / "photos" / "rgba.png")
        return folder, network

    return save


@pytest.fixture
def imported(tmp_path, project):
    def run_import(source, *flags: str) -> Artifact:
        return Artifact.read(
            run(parser().parse_args(["pets", str(source), "--try", str(tmp_path / "photos"), *flags]), project)[0]
        )

    return run_import


@pytest.mark.parametrize("kind", CONFIGS)
def test_pixels_and_answers_are_timms_own(imported, saved, tmp_path, kind, capsys):
    folder, network = saved(**CONFIGS[kind])
    own_config = network.pretrained_cfg | CONFIGS[kind]
    own = timm.data.create_transform(**timm.data.resolve_data_config({}, pretrained_cfg=own_config))
    expected = {}
    for file in sorted((tmp_path / "photos").iterdir()):
        with torch.inference_mode():
            scores = network(own(Image.open(file).convert("RGB"))[None]).softmax(1)[0]
        expected[file.name] = dict(zip(LABELS, scores.tolist(), strict=True))
    (tmp_path / "own.json").write_text(json.dumps(expected))
    artifact = imported(folder, "--expect", str(tmp_path / "own.json"), "--tolerance", "1e-4")
    assert artifact.labels == LABELS and artifact.data["compared"].startswith("with own.json: 4 of 4 inputs")
    assert "as timm itself computes them: 4 inputs" in capsys.readouterr().out
    payload = (tmp_path / "photos" / "1.png").read_bytes()
    built = artifact.build_network()
    theirs = own(Image.open(tmp_path / "photos" / "1.png").convert("RGB"))
    assert torch.allclose(built.normalize(artifact.build_transform()(payload)[None])[0], theirs, atol=1e-6)


@pytest.mark.parametrize(("name", "method"), [("test_vit", "integrated_gradients"), ("test_resnet", "deep_lift")])
def test_a_network_of_timm_is_explained_by_the_first_method_that_adds_up(imported, saved, name, method):
    folder, _ = saved(name)
    handler = base.load(imported(folder).folder, {"class_path": "handlers.vision.ImageClassifier", "threads": 1})
    answer = good(handler, picture(1, 230, 190), show=True)
    assert answer["method"] == method and answer["error"] < 0.05
    assert signed(answer).std() > 0 and answer["picture"]


def test_a_file_of_weights_needs_the_networks_name(imported, saved, tmp_path):
    folder, network = saved()
    torch.save(network.state_dict(), tmp_path / "model.pth")
    shutil.rmtree(folder)
    (tmp_path / "classes.txt").write_text("\n".join(LABELS), encoding="utf-8")
    assert imported(tmp_path / "model.pth", "--network", f"timm/{NAME}").network["init_args"]["architecture"] == NAME
    with pytest.raises(ImportRefused, match=r"--network timm/tst_vit: no such network; did you mean 'test_vit'"):
        imported(tmp_path / "model.pth", "--network", "timm/tst_vit")
    with pytest.raises(ImportRefused, match=r"does not fit timm's test_resnet: .* is missing"):
        imported(tmp_path / "model.pth", "--network", "timm/test_resnet")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"architecture": "no_such"}, "has no network 'no_such'"),
        ({"architecture": "hf_hub:x/y"}, "has no network 'hf_hub:x/y'"),
        ({"model_args": {"depth": 10**9}}, "depth is 1,000,000,000, and the weights are"),
        ({"model_args": {"embed_dim": 10**9}}, "embed_dim is 1,000,000,000"),
        ({"model_args": {"embed_dim": 32}}, "does not fit timm's test_vit: "),
        ({"model_args": {"no_such": 3}}, "cannot be made with"),
        ({"pretrained_cfg": {"input_size": [3, 100, 200]}}, "served are square ones in RGB"),
        ({"pretrained_cfg": {"input_size": "x"}}, "its pretrained_cfg is damaged"),
        ({"pretrained_cfg": {"crop_mode": "border"}}, "'border'; served are square ones"),
        ({"pretrained_cfg": {"crop_pct": 0, "mean": "x"}}, "its pretrained_cfg is damaged"),
        ({"label_names": ["a", "b"]}, "2 labels for 3 outputs"),
        ({"label_names": None}, "3 outputs and no names for them"),
    ],
)
def test_a_config_that_is_not_the_models_is_refused(imported, saved, changes, said):
    folder, _ = saved()
    config = json.loads((folder / "config.json").read_bytes())
    (folder / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises((ImportRefused, SpecError), match=said):
        imported(folder)
