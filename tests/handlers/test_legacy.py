"""The answers of TorchServe's stock handlers, for callers who knew a model before."""

import json

import pytest

from handlers import legacy
from handlers.base import load
from handlers.request import RawRequest
from model_defs.postprocess import by_label, corners_by_label


def test_a_classifier_answers_a_score_per_label_best_first(picture_artifact):
    old = load(picture_artifact, {"class_path": "handlers.legacy.ImageClassifier"})
    new = load(picture_artifact, {"class_path": "handlers.vision.ImageClassifier"})
    payload = old.artifact.samples()[0][1]
    one, other = (json.loads(handler.answer([RawRequest({"body": payload})]).answers[0].body) for handler in (old, new))
    assert one == by_label(other) and list(one.values()) == sorted(one.values(), reverse=True)


def test_parameters_and_refusals_are_those_of_the_bundle(picture_artifact):
    old = load(picture_artifact, {"class_path": "handlers.legacy.ImageClassifier"})
    payload = old.artifact.samples()[0][1]
    rows = [RawRequest({"data": payload, "top_k": b"1"}), RawRequest({"body": payload[:40]})]
    best, refused = old.answer(rows).answers
    assert len(json.loads(best.body)) == 1 and refused.code == 400


def test_a_detector_answers_corners_under_the_label():
    box = {"xmin": 1.0, "ymin": 2.0, "xmax": 3.0, "ymax": 4.0}
    assert corners_by_label([{"label": "cat", "score": 0.9, "box": box}]) == [{"cat": [1.0, 2.0, 3.0, 4.0], "score": 0.9}]
    assert issubclass(legacy.ObjectDetector, legacy.vision.ObjectDetector)


@pytest.mark.parametrize("answer", [[], [{"label": "a", "score": 1.0}]])
def test_an_empty_answer_stays_empty(answer):
    assert len(by_label(answer)) == len(answer)
