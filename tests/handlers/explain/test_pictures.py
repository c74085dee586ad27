"""Explanations of pictures: classifiers, segmenters, detectors, and networks that DeepLift does not suit."""

import io

import numpy as np
import pytest
from PIL import Image

from handlers.base import load
from handlers.explain.methods import METHODS
from handlers.request import RawRequest
from model_defs import postprocess
from model_defs.detection import SmallDetector, SmallMaskRCNN
from model_defs.exact_image import ExactImageTransform
from model_defs.segmentation import UNet
from model_defs.vision import ImageTransform, LetterboxTransform, TorchvisionClassifier
from tests.conftest import LABELS, png, write
from tests.handlers.explain.asking import good, opened, refused, signed

FILES = {f"{seed}.png": png(seed) for seed in range(2)}  # 30 x 40 pixels each
SLOW = {"deep_lift_shap", "gradient_shap", "noise_tunnel", "layer_conductance"}


def sideways(payload: bytes) -> bytes:
    """The same pixels as a file that must be turned by 90 degrees."""
    picture, file, exif = Image.open(io.BytesIO(payload)), io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    picture.rotate(90, expand=True).save(file, "PNG", exif=exif)
    return file.getvalue()


@pytest.mark.parametrize("method", [None, *METHODS])
def test_a_picture_is_explained_by_every_method(pictures, method):
    answer = good(pictures, png(0), **({"method": method} if method else {}))
    assert answer["method"] == method or method is None
    assert signed(answer).shape == (16, 16) and np.abs(signed(answer)).max() > 0
    assert answer["size"] == {"width": 30, "height": 40}
    assert answer["region"] == {"xmin": 0, "ymin": 5, "xmax": 30, "ymax": 35}
    assert answer["label"] == answer["target"] and answer["target_score"] == pytest.approx(answer["score"], abs=1e-5)
    if method in METHODS and METHODS[method].is_complete:
        assert answer["error"] <= 0.05


def test_the_maps_sum_is_the_scores_change(pictures):
    """Within the map's 8 bits and its clipped two per cent."""
    answer = good(pictures, png(0), method="kernel_shap", samples=200)
    assert signed(answer).sum() == pytest.approx(answer["target_score"] - answer["baseline_score"], rel=0.1)


def test_the_target_is_a_label_or_its_index(pictures):
    by_name, by_index, by_text = (good(pictures, png(0), target=target) for target in ("star", 2, "2"))
    assert by_name == by_index == by_text and by_name["target"] == "star"
    assert "is not a label; did you mean 'star'?, or its index" in refused(pictures, png(0), target="stra")
    assert "target 3" in refused(pictures, png(0), target=3)


@pytest.mark.parametrize("baseline", ["grey", "black", "white", "blur"])
def test_the_baseline_is_the_callers_choice(pictures, baseline):
    answer = good(pictures, png(0), baseline=baseline, method="deep_lift")
    scores = {
        good(pictures, png(0), baseline=other, method="deep_lift")["baseline_score"] for other in ("grey", "black", "white")
    }
    assert (answer["baseline_score"] in scores) is (baseline != "blur") and len(scores) == 3


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"top_k": 3}, "no parameter 'top_k'"),
        ({"method": "deeplift"}, "'integrated_gradients'"),
        ({"steps": 8}, "steps: name a method too"),
        ({"method": "deep_lift", "steps": 8}, "steps means nothing to deep_lift, which takes no options"),
        ({"method": "occlusion", "layer": "x"}, "layer means nothing to occlusion"),
        ({"method": "integrated_gradients", "steps": 3}, ">= 4"),
        ({"method": "integrated_gradients", "steps": 10**9}, "<= 256"),
        ({"method": "noise_tunnel", "over": "deep_lift", "steps": 8}, "steps means nothing to noise_tunnel over deep_lift"),
        ({"method": "grad_cam", "layer": "heads"}, "layer: the network has no layer 'heads'; did you mean 'head"),
        ({"method": "layer_activation", "layer": "head.1"}, "has no height and width; name a convolution"),
        ({"baseline": "pink"}, "'grey'"),
    ],
)
def test_parameters_that_mean_nothing_are_refused(pictures, parameters, said):
    assert said in refused(pictures, png(0), **parameters)


def test_show_lays_the_map_over_the_picture_that_was_sent(pictures):
    upright, turned = (good(pictures, payload, show=True) for payload in (png(0), sideways(png(0))))
    drawn = opened(upright["picture"])
    assert drawn.width / drawn.height == pytest.approx(30 / 40, abs=0.02) and drawn.mode == "RGB"
    assert turned["region"] == upright["region"] and turned["picture"] == upright["picture"]
    assert "picture" not in good(pictures, png(0))


def test_eight_explanations_of_a_batch_stay_apart_from_predictions_and_bad_requests(pictures):
    rows = [RawRequest({"body": png(seed)}, explain=True) for seed in range(8)]
    rows[3:3] = [RawRequest({"body": png(9)}), RawRequest({"body": b"x"}, explain=True), RawRequest({"body": b"x"})]
    rows.append(RawRequest({"data": png(1), "method": "nothing"}, "multipart/form-data; boundary=x", explain=True))
    answers = pictures.answer(rows).answers
    assert [answer.code for answer in answers] == [200] * 4 + [400, 400] + [200] * 5 + [422]
    (alone,) = pictures.answer([rows[-2]]).answers
    assert alone.body == answers[-2].body


def test_without_training_inputs_a_background_is_refused(pictures):
    pictures.artifact.folder.joinpath("calibration.zip").unlink()
    assert "no training inputs" in refused(pictures, png(0), method="gradient_shap")


def test_a_network_that_deep_lift_does_not_suit_falls_back_and_says_what_to_take(tmp_path):
    folder = write(tmp_path / "pictures", TorchvisionClassifier, ImageTransform(size=64), FILES, name="convnext_tiny")
    handler = load(folder, {"class_path": "handlers.vision.ImageClassifier", "threads": 1})
    assert good(handler, png(0), target=0)["method"] == "integrated_gradients"
    said = refused(handler, png(0), target=0, method="deep_lift")
    assert "take occlusion" in said


@pytest.mark.parametrize(
    ("options", "region"),
    [
        ({"resize": 32, "crop": 16}, (7.5, 12.5, 22.5, 27.5)),
        ({"resize": [16, 16], "crop": 0}, (0, 0, 30, 40)),
        ({"resize": None, "crop": 64}, (-17, -12, 47, 52)),
    ],
)
def test_the_region_of_a_transform_from_elsewhere(options, region):
    assert ExactImageTransform(**options).region(30, 40) == region


@pytest.fixture
def segmenter(tmp_path):
    folder = write(
        tmp_path / "masks", UNet, LetterboxTransform(size=64), FILES, lambda *found: postprocess.masks(*found, LABELS), width=4
    )
    return load(folder, {"class_path": "handlers.vision.ImageSegmenter", "threads": 1})


@pytest.mark.parametrize("method", [None, "integrated_gradients", "grad_cam", "occlusion", "kernel_shap"])
def test_a_label_of_a_segmentation_is_explained(segmenter, method):
    answer = good(segmenter, png(0), **({"method": method} if method else {}), target="circle", show=True)
    assert answer["method"] == (method or "grad_cam")
    assert answer["label"] == "circle" and answer["target_score"] == pytest.approx(answer["score"], abs=1e-4)
    assert signed(answer).shape == (64, 48)  # the frame's padding is left out
    assert answer["region"] == {"xmin": 0, "ymin": 0, "xmax": 30, "ymax": 40}


@pytest.fixture(params=["boxes", "instances"])
def detector(request, tmp_path):
    """It takes every box for one; so there is something to explain."""
    network, name, answer = {
        "boxes": (SmallDetector, "ObjectDetector", postprocess.boxes),
        "instances": (SmallMaskRCNN, "InstanceSegmenter", postprocess.instances),
    }[request.param]
    folder = write(
        tmp_path / "things", network, LetterboxTransform(size=64), FILES, lambda *found: answer(*found, LABELS), width=4
    )
    return load(folder, {"class_path": f"handlers.vision.{name}", "threads": 1})


def test_a_picture_without_objects_has_nothing_to_explain(detector):
    assert "nothing was found" in refused(detector, png(0))


@pytest.mark.parametrize("method", [None, "d_rise", "occlusion"])
def test_an_object_is_explained(detector, monkeypatch, method):
    monkeypatch.setattr(postprocess, "THRESHOLD", 0.0)
    monkeypatch.setattr(postprocess.boxes, "__defaults__", (0.0, 100))
    chosen = {None: {}, "d_rise": {"method": "d_rise", "samples": 20}, "occlusion": {"method": "occlusion"}}[method]
    answer = good(detector, png(0), show=True, **chosen)
    assert answer["method"] == method or (method is None and answer["method"] == "d_rise")
    assert answer["target"] == 0 and set(answer["box"]) == {"xmin", "ymin", "xmax", "ymax"}
    assert signed(answer).shape == (64, 48) and answer["target_score"] == pytest.approx(answer["score"], abs=1e-3)
    assert "objects were found" in refused(detector, png(0), target="nothing")
    assert "method" in refused(detector, png(0), method="deep_lift")
