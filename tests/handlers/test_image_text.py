"""handlers/image_text.py: a picture and a text as JSON or as a form, and errors in either."""

import base64
import json

import pytest

from archive.export import export
from handlers.base import load
from handlers.request import RawRequest
from handlers.settings import Settings
from model_defs.artifact import Artifact
from model_defs.image_text import ImageTextTransform, LateFusion
from model_defs.json_input import body
from tests.conftest import png, write

SECTION = {"class_path": "handlers.image_text.ImageTextClassifier", "threads": 1}
TEXTS = ["what colour", "how many", "what"]
FORM = "multipart/form-data; boundary=x"


@pytest.fixture
def artifact(tmp_path):
    transform = ImageTextTransform(size=224)
    transform.words.tokens = ["<unk>", "what", "colour", "how", "many"]
    files = {
        f"{seed}.json": body({"image": base64.b64encode(png(seed)).decode(), "text": text}) for seed, text in enumerate(TEXTS)
    }
    return write(tmp_path / "pairs", LateFusion, transform, files, width=8, name="mobilenet_v3_small")


def test_a_worker_gives_the_recorded_answers(artifact):
    load(artifact, SECTION).warm_up(2)


def test_a_form_and_json_get_the_same_answer_and_errors_stay_alone(artifact):
    image = base64.b64encode(png(0)).decode()
    rows = [
        RawRequest({"body": {"inputs": {"image": image, "text": TEXTS[0]}, "parameters": {"top_k": 2}}}, "application/json"),
        RawRequest({"image": bytearray(png(0)), "text": bytearray(TEXTS[0].encode()), "top_k": b"2"}, FORM),
        RawRequest({"image": bytearray(png(0))}, FORM),
        RawRequest({"image": bytearray(png(0)[:50]), "text": b"what"}, FORM),
        RawRequest({"body": {"inputs": {"image": "!", "text": "what"}}}, "application/json"),
        RawRequest({"body": bytearray(png(0))}, "image/png"),
    ]
    given = load(artifact, SECTION).answer(rows).answers
    found = [(answer.code, json.loads(answer.body)) for answer in given]
    assert [code for code, _ in found] == [200, 200, 422, 400, 400, 415]
    assert found[0] == found[1] and len(found[0][1]) == 2
    assert "lacks 'text'" in found[2][1]["message"] and "-F image=@picture.jpg" in found[5][1]["message"]


def test_an_explanation_weighs_the_picture_and_the_text(artifact):
    _, payload = Artifact.read(artifact).samples()[0]
    (answer,) = load(artifact, SECTION).answer([RawRequest({"body": payload}, explain=True)]).answers
    assert [entry["part"] for entry in json.loads(answer.body)["parts"]] == ["image", "text"]


@pytest.mark.parametrize("runtime", ["torchscript", "onnxruntime", pytest.param("openvino", marks=pytest.mark.slow)])
def test_other_runtimes_give_the_same_answers(artifact, runtime):
    section = SECTION | {"runtime": runtime}
    export(Artifact.read(artifact), Settings(**section), artifact)
    load(artifact, section).warm_up(2)
