"""handlers/tables.py: batches of rows, wrong rows, and explanations by column."""

import json

import pytest

from archive.export import export
from handlers.base import load
from handlers.request import RawRequest
from handlers.settings import Settings
from model_defs import postprocess
from model_defs.artifact import Artifact
from model_defs.json_input import body
from model_defs.table import MLPClassifier, MLPRegressor, TableTransform
from tests.conftest import write

ROWS = [{"age": 25 + 10 * index, "job": job} for index, job in enumerate(["baker", "nurse", None])]
SECTIONS = {
    "TableClassifier": {"class_path": "handlers.tables.TableClassifier", "threads": 1},
    "TableRegressor": {"class_path": "handlers.tables.TableRegressor", "threads": 1},
}


@pytest.fixture
def handler(tmp_path):
    def make(name: str, **settings):
        columns = TableTransform()
        columns.numbers, columns.categories, columns.target = {"age": (40.0, 10.0)}, {"job": ["baker", "nurse"]}, (100.0, 20.0)
        files = {f"{index}.json": body(row) for index, row in enumerate(ROWS)}
        network, answer = (
            (MLPClassifier, None) if name == "TableClassifier" else (MLPRegressor, lambda output, _: postprocess.value(output))
        )
        return load(write(tmp_path / "rows", network, columns, files, answer), SECTIONS[name] | settings)

    return make


def answers(handler, *bodies, **options) -> list[tuple[int, dict]]:
    given = handler.answer([RawRequest({"body": one}, "application/json", **options) for one in bodies]).answers
    return [(answer.code, json.loads(answer.body)) for answer in given]


@pytest.mark.parametrize("name", SECTIONS)
def test_a_worker_gives_the_recorded_answers(handler, name):
    handler(name).warm_up(4)


def test_a_row_with_an_unknown_category_is_refused_alone(handler):
    bodies = [{"inputs": ROWS[index % 3]} for index in range(7)] + [{"inputs": {"age": 30, "job": "nurze"}}]
    *good, (code, refused) = answers(handler("TableClassifier"), *bodies)
    assert [code for code, _ in good] == [200] * 7 and len(good[0][1]) == 3
    assert code == 422 and "did you mean 'nurse'?" in refused["message"]


def test_a_regressor_answers_one_number_and_takes_no_parameters(handler):
    served = handler("TableRegressor")
    (code, answer), (refused, _) = answers(served, {"inputs": ROWS[0]}, {"inputs": ROWS[0], "parameters": {"top_k": 1}})
    assert code == 200 and 50 < answer["value"] < 150
    assert refused == 422


def test_an_explanation_weighs_each_column(handler):
    ((code, answer),) = answers(handler("TableClassifier"), {"inputs": ROWS[2]}, explain=True)
    weights = {entry["column"]: entry["weight"] for entry in answer["columns"]}
    assert code == 200 and list(weights) == ["age", "job"]
    assert weights["age"] != 0 and weights["job"] == 0  # it was unknown already


@pytest.mark.parametrize("runtime", ["torchscript", "onnxruntime", "openvino"])
def test_other_runtimes_give_the_same_answers(handler, runtime):
    folder, section = handler("TableClassifier").artifact.folder, SECTIONS["TableClassifier"] | {"runtime": runtime}
    export(Artifact.read(folder), Settings(**section), folder)
    load(folder, section).warm_up(4)
