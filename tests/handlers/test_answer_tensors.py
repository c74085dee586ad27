"""handlers/answer_tensors.py: which tensors a model's answers are, and what is in them."""

from typing import Any

import pytest

from handlers import audio, embeddings, legacy, sequences, tables, tokens, vision, zero_shot
from handlers.answer_tensors import outputs_of, tensors_of
from handlers.classifier import Classifier
from handlers.tensors import Tensor

BOX = {"xmin": 1.0, "ymin": 2.0, "xmax": 3.0, "ymax": 4.0}


def label(name: str, score: float = 0.5, **more) -> dict:
    return {"label": name, "score": score, **more}


@pytest.mark.parametrize(
    ("handler", "names"),
    [
        (Classifier, ["labels", "scores"]),
        (audio.AudioClassifier, ["labels", "scores"]),
        (vision.ObjectDetector, ["labels", "scores", "boxes", "counts"]),
        (vision.InstanceSegmenter, ["labels", "scores", "masks", "counts"]),
        (vision.ImageSegmenter, ["labels", "scores", "masks", "counts"]),
        (tables.TableClassifier, ["labels", "scores"]),
        (embeddings.FeatureExtractor, ["embeddings"]),
        (zero_shot.ZeroShotImageClassifier, ["labels", "scores"]),
        (tokens.TokenClassifier, ["answers"]),
        (tables.TableRegressor, ["value"]),
        (sequences.Forecaster, ["forecast"]),
        (legacy.ImageClassifier, ["answers"]),
        (legacy.ObjectDetector, ["answers"]),
    ],
)
def test_each_handler_says_which_tensors_its_answers_are(handler, names):
    assert [output.name for output in outputs_of(handler.Prediction)] == names


def test_a_handler_that_does_not_say_answers_in_json():
    assert [output.name for output in outputs_of(Any)] == ["answers"]
    assert tensors_of([{"a": 1}, None], outputs_of(Any)) == [Tensor("answers", "BYTES", [2], ['{"a":1}', ""])]


def test_labels_have_an_axis_of_inputs_and_one_of_entries():
    found = tensors_of([[label("a", 0.75), label("b", 0.25)], [label("b"), label("a")]], outputs_of(Classifier.Prediction))
    assert found == [
        Tensor("labels", "BYTES", [2, 2], ["a", "b", "b", "a"]),
        Tensor("scores", "FP32", [2, 2], [0.75, 0.25, 0.5, 0.5]),
    ]


def test_fewer_objects_than_another_picture_has_are_filled_up_and_counted():
    answers = [[label("cat", box=BOX)], [], [label("dog", box=BOX), label("cat", box=BOX)]]
    found = {one.name: one for one in tensors_of(answers, outputs_of(vision.ObjectDetector.Prediction))}
    assert found["counts"].values == [1, 0, 2] and found["labels"].values == ["cat", "", "", "", "dog", "cat"]
    assert found["boxes"].shape == [3, 2, 4] and found["boxes"].values[:8] == [1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0]


def test_a_picture_without_objects_has_empty_tensors():
    found = {one.name: one for one in tensors_of([[]], outputs_of(vision.ObjectDetector.Prediction))}
    assert {name: one.shape for name, one in found.items()} == {
        "labels": [1, 0], "scores": [1, 0], "boxes": [1, 0, 4], "counts": [1],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "answers", "expected"),
    [
        (tables.TableRegressor, [{"value": 1.5}, None], Tensor("value", "FP32", [2], [1.5, 0.0])),
        (embeddings.FeatureExtractor, [None, [1.0, 2.0]], Tensor("embeddings", "FP32", [2, 2], [0.0, 0.0, 1.0, 2.0])),
        (sequences.Forecaster, [None, {"forecast": [1.0, 2.0]}], Tensor("forecast", "FP32", [2, 2], [0.0, 0.0, 1.0, 2.0])),
    ],
)
def test_a_refused_input_has_zeros(kind, answers, expected):
    assert tensors_of(answers, outputs_of(kind.Prediction)) == [expected]


def test_an_answer_of_another_form_puts_all_into_json():
    timeline = {"labels": [label("a")], "timeline": []}
    (found,) = tensors_of([timeline], outputs_of(audio.AudioClassifier.Prediction))
    assert found.name == "answers" and found.values == ['{"labels":[{"label":"a","score":0.5}],"timeline":[]}']
