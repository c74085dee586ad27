"""The peers' eager form gives the bundle's answers, so both are measured on the same work."""

import io

import msgspec
import numpy as np
import pytest
import soundfile
from PIL import Image

from bench import eager
from handlers import base
from handlers.request import RawRequest
from model_defs.audio import AudioTransform, MelCNN
from model_defs.text import BagOfWords, NgramTransform
from model_defs.vision import ImageTransform, TorchvisionClassifier
from tests.conftest import png, write


def bundle_answer(folder, handler: str, payload: bytes, content_type: str = "application/octet-stream") -> list[dict]:
    row = RawRequest({"body": payload}, content_type=content_type)
    (answer,) = base.load(folder, {"class_path": handler}).answer([row]).answers
    return msgspec.json.decode(answer.body)


def test_pictures(tmp_path):
    payload = io.BytesIO()
    Image.open(io.BytesIO(png(0))).resize((32, 32)).save(payload, "PNG")  # the network's size, so neither side resizes
    folder = write(tmp_path / "pictures", TorchvisionClassifier, ImageTransform(size=32), {"0.png": payload.getvalue()})
    (found,) = eager.load(folder, threads=1).predict([payload.getvalue()])
    assert_close(found, bundle_answer(folder, "handlers.vision.ImageClassifier", payload.getvalue()))


def test_sounds(tmp_path):
    payload = io.BytesIO()
    soundfile.write(payload, np.random.default_rng(0).uniform(-0.5, 0.5, 8_000), 8_000, format="WAV")
    folder = write(tmp_path / "sounds", MelCNN, AudioTransform(sample_rate=8_000), {"0.wav": payload.getvalue()})
    (found, again) = eager.load(folder, threads=1).predict([payload.getvalue()] * 2)
    assert_close(found, bundle_answer(folder, "handlers.audio.AudioClassifier", payload.getvalue()))
    assert_close(again, found)


@pytest.mark.parametrize("text", ["A round", "a round thing", 'A, round<br />thing; isn\'t (it) "unknown"?', "nothing known"])
def test_texts(text, tmp_path):
    transform = NgramTransform(ngrams=2)
    transform.tokens = ["<unk>", "a", "round", "thing", "a round", "round thing", ",", "'", "isn ' t", "' t", "( it", "?"]
    folder = write(tmp_path / "texts", BagOfWords, transform, {"0.txt": b"a round"})
    found, _ = eager.load(folder, threads=1).predict([text.encode(), b"a round thing"])
    assert_close(found, bundle_answer(folder, "handlers.text.TextClassifier", text.encode(), "text/plain; charset=utf-8"))


def test_a_network_without_an_eager_form_is_refused(picture_artifact):
    with pytest.raises(ValueError, match=r"eager form is of .*TorchvisionClassifier.*; this is model_defs\.vision\.SmallCNN"):
        eager.load(picture_artifact, threads=1)


def assert_close(found: list[dict], expected: list[dict]) -> None:
    assert [entry["label"] for entry in found] == [entry["label"] for entry in expected]
    assert [entry["score"] for entry in found] == pytest.approx([entry["score"] for entry in expected], abs=1e-4)
