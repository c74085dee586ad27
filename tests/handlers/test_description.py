"""handlers/description.py: what a model says of itself, in its archive and from its handler."""

import base64
import json
import zipfile
from pathlib import Path

import jsonschema
import pytest

from archive.build import build
from handlers.base import load
from handlers.description import describe, input_tensors
from handlers.graphs import GRAPH
from handlers.image_text import PICTURE_AND_TEXT
from handlers.request import RawRequest
from handlers.sequences import SERIES
from handlers.tables import ROW
from model_defs.bundle_format import DESCRIPTION
from model_defs.graph import GraphTransform
from model_defs.image_text import ImageTextTransform
from model_defs.json_input import body
from model_defs.sequence import SeriesTransform
from model_defs.table import MLPClassifier, TableTransform
from tests.conftest import write

RECIPE = Path("archive/recipes/digits.yaml")


@pytest.fixture
def table():
    columns = TableTransform()
    columns.numbers, columns.categories = {"age": (40.0, 10.0)}, {"job": ["baker", "nurse"]}
    return columns


@pytest.fixture
def rows(table, tmp_path):
    files = {f"{index}.json": body({"age": 30 + index, "job": None}) for index in range(3)}
    return load(write(tmp_path / "rows", MLPClassifier, table, files), {"class_path": "handlers.tables.TableClassifier"})


def test_the_example_is_a_real_input_with_its_recorded_answer(handler):
    found = describe(handler)
    body = {"inputs": found["input"]["example"], "parameters": found["defaults"]}
    (answer,) = handler.answer([RawRequest({"body": json.dumps(body).encode()}, "application/json")]).answers
    given, wanted = json.loads(answer.body), found["answer"]["example"]
    assert answer.code == 200 and [entry["label"] for entry in given] == [entry["label"] for entry in wanted]


def test_the_examples_fit_their_schemas(handler, rows):
    for one in (handler, rows):
        found = describe(one)
        for schema, example in [
            (found["input"]["schema"], found["input"]["example"]),
            (found["parameters"], found["defaults"]),
            (found["answer"]["schema"], found["answer"]["example"]),
            (found["error"]["schema"], found["error"]["example"]),
        ]:
            jsonschema.Draft202012Validator.check_schema(schema)
            jsonschema.validate(example, schema)


def test_a_row_that_the_model_refuses_fits_no_schema(rows):
    schema = describe(rows)["input"]["schema"]
    for wrong in ({"age": "x", "job": None}, {"age": 3}, {"age": 3, "job": "pilot"}, {"age": 3, "job": None, "x": 1}, [3]):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def test_the_archive_holds_the_description_that_its_worker_gives(picture_artifact, tmp_path):
    with zipfile.ZipFile(build(picture_artifact, RECIPE, tmp_path / "store", "2.1")) as archive:
        archive.extractall(tmp_path / "unpacked")
    found = json.loads((tmp_path / "unpacked" / DESCRIPTION).read_bytes())
    assert (found["name"], found["version"], found["v2"]["versions"]) == ("pictures", "2.1", ["2.1"])
    assert found["accepts"] == "a picture" and found["labels"] == ["circle", "square", "star"]
    assert base64.b64decode(found["input"]["example"]).startswith(b"\x89PNG")
    handler = load(tmp_path / "unpacked", {"class_path": "handlers.vision.ImageClassifier"})
    assert json.loads(handler.description()) == found
    assert (handler.model.name, handler.model.version) == ("pictures", "2.1")


def test_a_runtime_is_described_with_how_it_compares(picture_artifact, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"{RECIPE.read_text()}\n  runtime: torchscript\n")
    with zipfile.ZipFile(build(picture_artifact, recipe, tmp_path / "store")) as archive:
        found = json.loads(archive.read(DESCRIPTION))
    assert found["runtime"] == "torchscript" and found["comparison"]["agreement"] == 1.0


def test_an_artifact_is_described_without_a_version(handler):
    found = json.loads(handler.description())
    assert found["version"] == "" and found["v2"]["versions"] == [] and found["media_types"] == [*handler.accepts.media]


@pytest.mark.parametrize(
    ("kind", "transform", "expected"),
    [
        (ROW, None, [("age", "FP64", [-1]), ("job", "BYTES", [-1])]),
        (SERIES, SeriesTransform(), [("inputs", "FP64", [-1, -1])]),
        (GRAPH, GraphTransform(), [("nodes", "FP64", [-1, 1]), ("edges", "INT64", [-1, 2])]),
        (PICTURE_AND_TEXT, ImageTextTransform(), [("image", "BYTES", [-1]), ("text", "BYTES", [-1])]),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_v2_says_which_tensors_an_input_is(kind, transform, expected, table):
    found = input_tensors(kind, (transform or table).schema())
    assert [(one["name"], one["datatype"], one["shape"]) for one in found] == expected
