"""Boxes and masks from a real server: a detector and two segmenters, each trained for a few epochs.

`huggingface_hub.InferenceClient` reads both, unchanged.
"""

import base64
import io

import pytest
from huggingface_hub import InferenceClient
from PIL import Image

from model_defs.answer_diff import pixels
from serving.evaluate import evaluate
from tests.bundle import serving, trained

pytestmark = [pytest.mark.server, pytest.mark.slow]
OVERRIDES = {
    "shapes": ["--trainer.max_epochs=20", "--data.pictures=400", "--model.learning_rate=0.005"],
    "shapes_masks": ["--trainer.max_epochs=5", "--data.pictures=150"],
    "instances": [
        "--trainer.max_epochs=10",
        "--data.pictures=800",
        "--data.classes=[circle]",  # one picture in 18 holds nothing else
        "--data.batch_size=2",
        "--model.learning_rate=0.003",
    ],
}
THRESHOLDS = {"shapes": 0.5, "shapes_masks": 0, "instances": 0.5}  # the defaults


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """A server of its own, so that the tests of classifiers do not wait for these trainings."""
    folder = tmp_path_factory.mktemp("scenes")
    with serving(trained(OVERRIDES, folder), folder, {}, OVERRIDES) as bundle:
        yield bundle


def seen(scenes, model: str) -> tuple[dict, bytes]:
    """The first sample in which something was found."""
    return next((sample, payload) for sample, payload in scenes.samples(model) if sample["answer"])


@pytest.mark.parametrize("protocol", ["native", "v1", "v2"])
def test_what_is_served_is_what_was_trained(scenes, protocol):
    # Random boxes have a precision below 0.001. After a few epochs few answers pass the default threshold, but good ones.
    for name, metric, chance in (
        ("shapes", "mean_average_precision", 0.003),
        ("shapes_masks", "mean_iou", 0.02),
        ("instances", "mask_average_precision", 0.02),
    ):
        figures = evaluate(scenes.home, name, scenes.artifacts / name / "test.zip", clients=8, protocol=protocol)
        assert figures.disagreements == [] and figures.metric == metric
        assert figures.value == pytest.approx(figures.offline, abs=1e-6) and figures.value > chance


def test_hugging_face_finds_objects(scenes):
    _, payload = scenes.samples("shapes")[0]
    client = InferenceClient(model=scenes.url("shapes"), token=scenes.key)
    found = client.object_detection(payload, threshold=0.05)
    width, height = Image.open(io.BytesIO(payload)).size
    assert found and all(0.05 <= one.score <= 1 and 0 <= one.box.xmin < one.box.xmax <= width for one in found)
    assert all(0 <= one.box.ymin < one.box.ymax <= height for one in found)


def test_hugging_face_segments_a_picture(scenes):
    sample, payload = seen(scenes, "shapes_masks")
    client = InferenceClient(model=scenes.url("shapes_masks"), token=scenes.key)
    found = client.image_segmentation(payload)
    assert [one.label for one in found] == [one["label"] for one in sample["answer"]]
    assert all(one.mask.size == Image.open(io.BytesIO(payload)).size and one.mask.mode == "L" for one in found)


@pytest.mark.parametrize("model", OVERRIDES)
def test_every_body_form_of_a_picture_gets_the_same_answer(scenes, model):
    _, payload = scenes.samples(model)[0]
    raw = scenes.post(model, data=payload, headers={"Content-Type": "image/png"}).json()
    body = {"inputs": base64.b64encode(payload).decode(), "parameters": {"threshold": THRESHOLDS[model]}}
    assert scenes.post(model, json=body).json() == raw
    assert scenes.post(model, files={"data": payload}).json() == raw


@pytest.mark.parametrize("model", OVERRIDES)
def test_a_bad_picture_gets_its_own_4xx(scenes, model):
    _, payload = scenes.samples(model)[0]
    bad = scenes.post(model, data=payload[:100], headers={"Content-Type": "image/png"})
    assert bad.status_code == 400 and "the PNG ends after 100 bytes" in bad.json()["message"]
    wrong = scenes.post(model, files={"data": payload}, data={"threshold": "2"})
    assert wrong.status_code == 422 and "threshold" in wrong.json()["message"]


@pytest.mark.parametrize("model", ["shapes_masks", "instances"])
def test_a_mask_is_of_the_size_of_a_photograph_held_upright(scenes, model):
    _, payload = seen(scenes, model)
    turned, exif = Image.open(io.BytesIO(payload)).resize((1_200, 900)).rotate(90, expand=True), Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    turned.save(file, "JPEG", exif=exif)
    found = scenes.post(model, data=file.getvalue(), headers={"Content-Type": "image/jpeg"}).json()
    assert found and all(pixels(one["mask"]).shape == (900, 1_200) for one in found)
