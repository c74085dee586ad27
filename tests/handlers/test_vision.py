"""handlers/vision.py: answers in pixels of the sent picture, and classifiers of every torchvision family."""

import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from handlers.base import load
from handlers.request import RawRequest
from model_defs import postprocess
from model_defs.answer_diff import pixels
from model_defs.detection import SmallDetector, SmallMaskRCNN
from model_defs.segmentation import UNet
from model_defs.vision import ImageTransform, LetterboxTransform, TorchvisionClassifier
from tests.conftest import LABELS, png, write

SIDEWAYS = 6  # an EXIF orientation: the file is rotated by 90 degrees
FAMILIES = {  # one network of each, with the smallest pictures that it takes
    "resnet18": (64, {}),
    "vgg11": (64, {}),
    "densenet121": (64, {}),
    "efficientnet_b0": (64, {}),
    "convnext_tiny": (64, {}),
    "vit_b_16": (32, {"image_size": 32}),
    "swin_t": (64, {}),
    "mobilenet_v3_small": (64, {}),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_classifier_of_every_family_is_served(name, tmp_path):
    size, options = FAMILIES[name]
    files = {f"{seed}.png": png(seed) for seed in range(2)}
    artifact = write(tmp_path / "pictures", TorchvisionClassifier, ImageTransform(size=size), files, name=name, options=options)
    handler = load(artifact, {"class_path": "handlers.vision.ImageClassifier", "threads": 1})
    handler.warm_up(2)
    shutil.rmtree(artifact)  # half a gigabyte, some of them


def jpeg(width: int, height: int, orientation: int = 1) -> bytes:
    """A black picture with a white square in the upper left, seen after EXIF rotation."""
    upright = np.zeros((height, width, 3), np.uint8)
    upright[5 : height // 2, 5 : width // 2] = 255
    stored = np.rot90(upright) if orientation == SIDEWAYS else upright
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(file, "JPEG", exif=exif, quality=95)
    return file.getvalue()


PICTURES = {f"{index}.jpg": jpeg(*size) for index, size in enumerate([(40, 30), (30, 90), (200, 64), (64, 64)])}


@pytest.fixture
def detector(tmp_path):
    transform = LetterboxTransform(size=64)
    folder = write(
        tmp_path / "boxes", SmallDetector, transform, PICTURES, lambda *found: postprocess.boxes(*found, LABELS), width=4
    )
    return load(folder, {"class_path": "handlers.vision.ObjectDetector", "threads": 1})


@pytest.fixture
def segmenter(tmp_path):
    transform = LetterboxTransform(size=64)
    folder = write(tmp_path / "masks", UNet, transform, PICTURES, lambda *found: postprocess.masks(*found, LABELS), width=4)
    return load(folder, {"class_path": "handlers.vision.ImageSegmenter", "threads": 1})


def ask(handler, bodies: list[bytes], **parameters) -> list:
    fields = {name: str(value) for name, value in parameters.items()}
    answered = handler.answer([RawRequest({"data": body, **fields}, "multipart/form-data; boundary=x") for body in bodies])
    assert all(answer.code == 200 for answer in answered.answers), answered.answers
    return [json.loads(answer.body) for answer in answered.answers]


def test_pictures_of_different_sizes_in_a_batch_are_answered_as_if_alone(detector, segmenter):
    for handler in (detector, segmenter):
        handler.warm_up(5)
        together = ask(handler, [*PICTURES.values()], threshold=0)
        alone = [ask(handler, [body], threshold=0)[0] for body in PICTURES.values()]
        assert [len(one) for one in together] == [len(one) for one in alone]
        assert any(together)


def test_boxes_lie_within_the_picture_that_was_sent(detector):
    for answer, (width, height) in zip(
        ask(detector, [*PICTURES.values()], threshold=0), [(40, 30), (30, 90), (200, 64), (64, 64)], strict=True
    ):
        assert answer and [one["score"] for one in answer] == sorted((one["score"] for one in answer), reverse=True)
        for one in answer:
            box = one["box"]
            assert (
                one["label"] in LABELS and 0 <= box["xmin"] <= box["xmax"] <= width and 0 <= box["ymin"] <= box["ymax"] <= height
            )


def test_masks_have_the_size_of_the_picture_that_was_sent(segmenter):
    for answer, size in zip(ask(segmenter, [*PICTURES.values()]), [(30, 40), (90, 30), (64, 200), (64, 64)], strict=True):
        masks = [pixels(one["mask"]) for one in answer]
        assert all(mask.shape == size and set(np.unique(mask)) <= {0, 255} for mask in masks)
        assert sum((mask > 0).astype(int) for mask in masks).max() <= 1  # a pixel has one label


@pytest.mark.parametrize("size", [(64, 48), (1000, 752)])  # the latter's JPEG is decoded smaller than it is
def test_a_rotated_picture_is_answered_after_exif_rotation(detector, segmenter, size):
    (upright, turned) = ask(detector, [jpeg(*size), jpeg(*size, SIDEWAYS)], threshold=0)
    assert upright[0]["label"] == turned[0]["label"]
    for corner, value in upright[0]["box"].items():
        assert turned[0]["box"][corner] == pytest.approx(value, abs=0.03 * max(size))
    (upright, turned) = ask(segmenter, [jpeg(*size), jpeg(*size, SIDEWAYS)])
    assert pixels(upright[0]["mask"]).shape == pixels(turned[0]["mask"]).shape == size[::-1]
    assert (pixels(upright[0]["mask"]) != pixels(turned[0]["mask"])).mean() < 0.05


def test_fewer_detections_are_the_best_ones(detector):
    body = PICTURES["0.jpg"]
    (every,), (best,) = ask(detector, [body], threshold=0), ask(detector, [body], threshold=0, max_detections=3)
    middle = every[len(every) // 2]["score"]
    (above,) = ask(detector, [body], threshold=middle)
    assert best == every[:3] and above == [one for one in every if one["score"] >= middle]


@pytest.mark.parametrize(
    ("parameters", "said"),
    [({"threshold": 2}, "threshold"), ({"max_detections": 0}, "max_detections"), ({"treshold": 0}, "did you mean 'threshold'")],
)
def test_parameters_out_of_range_are_refused(detector, parameters, said):
    fields = {name: str(value) for name, value in parameters.items()}
    (answer,) = detector.answer([RawRequest({"data": PICTURES["0.jpg"], **fields}, "multipart/form-data; boundary=x")]).answers
    assert answer.code == 422 and said in json.loads(answer.body)["message"]


def test_each_instance_has_a_mask_of_the_pictures_size(tmp_path):
    transform = LetterboxTransform(size=64)
    files = {"0.jpg": PICTURES["0.jpg"], "1.jpg": PICTURES["1.jpg"]}
    answer = lambda *found: postprocess.instances(*found, LABELS)  # noqa: E731
    folder = write(tmp_path / "things", SmallMaskRCNN, transform, files, answer)
    handler = load(folder, {"class_path": "handlers.vision.InstanceSegmenter", "threads": 1})
    handler.warm_up(2)
    first, second = ask(handler, [*files.values()], threshold=0, max_detections=2)
    assert len(first) == len(second) == 2
    assert all(pixels(one["mask"]).shape == (30, 40) for one in first) and all(
        pixels(one["mask"]).shape == (90, 30) for one in second
    )
