"""handlers/audio.py: sounds in several windows, timelines, and batches of different lengths."""

import json

import pytest
import torch

from handlers.base import load
from handlers.request import RawRequest
from tests.conftest import wav

CLASS_PATH = "handlers.audio.AudioClassifier"


@pytest.fixture
def sounds(long_sound_artifact):
    return load(long_sound_artifact, {"class_path": CLASS_PATH, "threads": 1})


def asked(handler, *payloads: bytes, explain: bool = False, **parameters) -> list[tuple[int, dict]]:
    """Send the payloads in one batch. Returns the status and the body of each answer."""
    rows = [RawRequest({"data": payload, "parameters": json.dumps(parameters)}, explain=explain) for payload in payloads]
    return [(answer.code, json.loads(answer.body)) for answer in handler.answer(rows).answers]


def test_the_answer_is_the_mean_of_the_windows_scores(sounds):
    payload = wav(0, length=10_000)
    ((code, body),) = asked(sounds, payload, top_k=3)
    windows = sounds.transform(payload).unfold(0, 4_000, 2_000)
    with torch.inference_mode():
        scores = sounds.eager(windows).softmax(-1).mean(0)
    assert code == 200
    assert {one["label"]: pytest.approx(one["score"], abs=1e-5) for one in body} == dict(
        zip(sounds.labels, scores.tolist(), strict=True)
    )


def test_a_timeline_has_every_window_and_its_best_label(sounds):
    ((code, body),) = asked(sounds, wav(0, length=9_000), timeline=True)
    assert code == 200 and set(body) == {"labels", "timeline"}
    assert [(one["start"], one["end"]) for one in body["timeline"]] == [(0, 0.5), (0.25, 0.75), (0.5, 1), (0.625, 1.125)]
    assert {one["label"] for one in body["timeline"]} <= {*sounds.labels}
    assert body["labels"] == asked(sounds, wav(0, length=9_000))[0][1]


def test_a_sound_that_is_too_long_is_refused_alone(sounds):
    short, longest, longer = wav(1, length=4_000), wav(2, length=12_000), wav(3, length=12_001)
    answers = asked(sounds, short, longer, b"no sound", longest, short)
    assert [code for code, _ in answers] == [200, 413, 400, 200, 200]
    assert "more than 1.5 s of sound" in answers[1][1]["message"]
    for index, payload in ((0, short), (3, longest)):
        ((_, alone),) = asked(sounds, payload)
        for one, other in zip(answers[index][1], alone, strict=True):
            assert one["label"] == other["label"] and one["score"] == pytest.approx(other["score"], abs=1e-5)


def test_a_model_with_one_window_refuses_a_timeline(sound_artifact):
    handler = load(sound_artifact, {"class_path": CLASS_PATH, "threads": 1})
    ((code, body),) = asked(handler, wav(0), timeline=True)
    assert code == 422 and "timeline: this model hears one window of a sound" in body["message"]
    assert asked(handler, wav(0), timeline=False)[0][0] == 200


def test_an_explanation_covers_the_whole_sound(sounds):
    ((code, body),) = asked(sounds, wav(0, length=12_000), explain=True)
    assert code == 200 and body["moments"][-1]["end"] == 1.5
    assert body["label"] == asked(sounds, wav(0, length=12_000), top_k=1)[0][1][0]["label"]


def test_the_samples_get_their_recorded_answers(sounds):
    sounds.warm_up(3)
