import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from handlers import explain
from handlers.base import load
from handlers.request import RawRequest


class LeftOrRight(nn.Module):
    """Two logits: how bright the left half of a picture is, and the right."""

    def forward(self, pixels):
        halves = pixels.float().div(255).unflatten(3, (2, -1))  # (B, C, H, 2, W / 2)
        return 8 * halves.mean(dim=(1, 2, 4))


def heatmap(text: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_pixel_that_matters_most_is_white(channels):
    picture = torch.full((channels, 8, 8), 128, dtype=torch.uint8)
    picture[:, 2, 1] = 255
    drawn = heatmap(explain.heatmap(LeftOrRight(), picture, target=0))
    assert drawn.shape == (8, 8)
    assert np.unravel_index(drawn.argmax(), drawn.shape) == (2, 1)
    assert drawn.max() == 255


def test_a_network_that_ignores_its_input_gives_a_black_heatmap():
    class Blind(LeftOrRight):
        def forward(self, pixels):
            return 0 * super().forward(pixels)

    assert heatmap(explain.heatmap(Blind(), torch.zeros(3, 8, 8, dtype=torch.uint8), target=0)).max() == 0


@pytest.mark.parametrize("count", [1, 3, 20])
def test_a_parts_weight_is_what_the_score_loses_without_it(count):
    def score(kept):
        return torch.tensor([float(sum(indices)) for indices in kept])

    assert explain.part_weights(score, count) == [float(index) for index in range(count)]


def explained(handler, payload: bytes, id: str = "r-1"):
    return handler.answer([RawRequest({"body": payload}, id=id, explain=True)]).answers[0]


def body(answer) -> dict:
    import json

    assert answer.code == 200, answer.body
    return json.loads(answer.body)


def test_a_picture_is_explained_by_a_heatmap_of_what_the_network_saw(pictures):
    _, payload = pictures.artifact.samples()[0]
    assert heatmap(body(explained(pictures, payload))["heatmap"]).shape == (16, 16)


def test_a_sound_is_explained_by_the_weight_of_its_moments(sound_artifact):
    handler = load(sound_artifact, {"class_path": "handlers.audio.AudioClassifier", "threads": 1})
    _, payload = handler.artifact.samples()[0]
    moments = body(explained(handler, payload))["moments"]
    assert [moment["start"] for moment in moments[1:]] == [moment["end"] for moment in moments[:-1]]
    assert (moments[0]["start"], moments[-1]["end"]) == (0, handler.transform.seconds)
    assert any(moment["weight"] for moment in moments)


@pytest.fixture
def texts(text_artifact):
    return load(text_artifact, {"class_path": "handlers.text.TextClassifier", "threads": 1})


@pytest.mark.parametrize(
    ("text", "words"), [("A round thing!", ["a", "round", "thing", "!"]), ("five", ["five"]), ("unheard of", ["unheard", "of"])]
)
def test_a_text_is_explained_by_the_weight_of_its_words(texts, text, words):
    given = body(explained(texts, text.encode()))["words"]
    assert [one["word"] for one in given] == words
    weights = {one["word"]: one["weight"] for one in given}
    assert all((weights[word] != 0) is (word in texts.transform.vocabulary) for word in words)


def test_a_text_too_long_to_explain_is_still_classified(texts):
    text = b"round " * 501
    assert texts.answer([RawRequest({"body": text})]).answers[0].code == 200
    answer = explained(texts, text)
    assert answer.code == 413
    assert b"501 words; an explanation takes 500 at most" in answer.body
