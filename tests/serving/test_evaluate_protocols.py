"""serving/evaluate_protocols.py: a native body in another protocol gets the native answer, from real handlers."""

import base64
import json

import pytest
import requests

from handlers.base import load
from handlers.description import describe
from handlers.request import RawRequest
from model_defs import postprocess
from model_defs.detection import SmallDetector
from model_defs.json_input import body
from model_defs.segmentation import UNet
from model_defs.sequence import RecurrentForecaster, SeriesTransform
from model_defs.table import MLPClassifier, TableTransform
from model_defs.vision import LetterboxTransform
from serving.client import BYTES, TYPES
from serving.evaluate_protocols import HEADER, PROTOCOLS, native, tensor, tensors_of
from tests.conftest import LABELS, png, write
from tests.handlers.conftest import CLASSES

JSON = TYPES[".json"]


def played(handler, protocol: str, content: bytes, kind: str):
    """The answer to a native body, sent in the protocol."""
    speak = PROTOCOLS[protocol](describe(handler)["v2"]["inputs"])
    asked, content_type, _, api, headers = speak.ask(content, kind)
    length = headers.get(HEADER)
    row = RawRequest({"body": asked}, content_type, protocol=api, json_bytes=length and int(length))
    (given,) = handler.answer([row]).answers
    assert given.code == 200, given.body
    answer = requests.Response()
    answer._content = given.body
    answer.headers.update(given.headers)
    return speak.hear(answer)


def alone(handler, content: bytes, kind: str):
    (given,) = handler.answer([RawRequest({"body": content}, kind)]).answers
    return json.loads(given.body)


def nearly(value):
    """The value with numbers that may differ by the rounding of fp32."""
    if isinstance(value, dict):
        return {key: nearly(one) for key, one in value.items()}
    if isinstance(value, list):
        return [nearly(one) for one in value]
    return pytest.approx(value, rel=1e-6) if isinstance(value, float) else value


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", CLASSES)
def test_files_and_texts_get_their_native_answer(protocol, kind, request):
    handler = load(request.getfixturevalue(f"{kind}_artifact"), {"class_path": CLASSES[kind], "threads": 1})
    content_type = TYPES[".txt"] if kind == "text" else BYTES
    for _, payload in handler.artifact.samples():
        assert played(handler, protocol, payload, content_type) == nearly(alone(handler, payload, content_type))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_rows_with_unknown_values_get_their_native_answer(protocol, tmp_path):
    columns = TableTransform()
    columns.numbers, columns.categories = {"age": (40.0, 10.0)}, {"job": ["baker", "nurse"]}
    files = {f"{index}.json": body(row) for index, row in enumerate([{"age": 31, "job": "nurse"}, {"age": None, "job": None}])}
    handler = load(write(tmp_path / "rows", MLPClassifier, columns, files), {"class_path": "handlers.tables.TableClassifier"})
    for payload in files.values():
        assert played(handler, protocol, payload, JSON) == nearly(alone(handler, payload, JSON))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_series_and_parameters_get_their_native_answer(protocol, tmp_path):
    transform = SeriesTransform()
    transform.mean, transform.deviation, transform.season, transform.history, transform.horizon = 10.0, 2.0, 3, 9, 4
    files = {"0.json": body([float(value % 3 + 9) for value in range(12)])}
    folder = write(
        tmp_path / "series", RecurrentForecaster, transform, files, lambda output, _: postprocess.forecast(output), width=4
    )
    handler = load(folder, {"class_path": "handlers.sequences.Forecaster"})
    content = json.dumps(json.loads(files["0.json"]) | {"parameters": {"horizon": 2}}).encode()
    given = played(handler, protocol, content, JSON)
    assert len(given["forecast"]) == 2 and given == nearly(alone(handler, content, JSON))


@pytest.mark.parametrize(
    ("metadata", "given", "shape", "data"),
    [
        ({"name": "inputs", "datatype": "FP64", "shape": [-1, -1]}, [1.0, 2.0], [1, 2], [1.0, 2.0]),
        ({"name": "age", "datatype": "FP64", "shape": [-1]}, {"age": None}, [1], [None]),
        ({"name": "nodes", "datatype": "FP64", "shape": [-1, 2]}, {"nodes": [[1.0, 2.0]]}, [1, 2], [1.0, 2.0]),
        ({"name": "edges", "datatype": "INT64", "shape": [-1, 2]}, {"edges": []}, [0, 2], []),
    ],
)
def test_a_tensor_has_the_axes_of_the_models_metadata(metadata, given, shape, data):
    found = tensor(metadata, given)
    assert (found["shape"], found["data"]) == (shape, data)


def test_boxes_masks_and_counts_become_entries():
    tensors = {
        "labels": ([1, 2], ["cat", ""]), "scores": ([1, 2], [0.5, 0.0]), "boxes": ([1, 2, 4], [1, 2, 3, 4, 0, 0, 0, 0]),
        "counts": ([1], [1]),
    }  # fmt: skip
    assert native(tensors) == [{"label": "cat", "score": 0.5, "box": {"xmin": 1, "ymin": 2, "xmax": 3, "ymax": 4}}]


SCENES = {
    "ObjectDetector": (SmallDetector, postprocess.boxes, ("label", "score", "box")),
    "ImageSegmenter": (UNet, postprocess.masks, ("label", "score", "mask")),
}


@pytest.mark.parametrize("name", SCENES)
def test_what_a_picture_holds_comes_back_from_tensors(name, tmp_path):
    """Two pictures in one request: the tensors are filled up to the one with more."""
    network, answer, keys = SCENES[name]
    files = {f"{seed}.png": png(seed) for seed in range(2)}
    folder = write(
        tmp_path / "scenes", network, LetterboxTransform(size=64), files, lambda *found: answer(*found, LABELS), width=4
    )
    handler = load(folder, {"class_path": f"handlers.vision.{name}", "threads": 1})
    encoded = [base64.b64encode(content).decode() for content in files.values()]
    options = {"threshold": 0}
    tensor = {"name": "inputs", "datatype": "BYTES", "shape": [2], "data": encoded}
    rows = [
        RawRequest({"body": json.dumps({"inputs": encoded, "parameters": options}).encode()}, JSON),
        RawRequest({"body": json.dumps({"inputs": [tensor], "parameters": options}).encode()}, JSON, protocol="v2"),
    ]
    plain, given = handler.answer(rows).answers
    (first, _), answered = json.loads(plain.body), requests.Response()
    answered._content = given.body
    assert first and first[0].keys() == {*keys}
    assert native(tensors_of(answered)) == nearly(first)
