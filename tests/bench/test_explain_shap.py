"""bench/explain_shap.py: SHAP's picture of each kind of model, and what is said where there is none."""

import sys

import pytest
from PIL import Image

from bench import explain_shap
from bench.explain_subjects import inputs
from handlers.base import load
from model_defs.json_input import body
from model_defs.table import MLPClassifier, TableTransform
from tests.conftest import write

ALL = 24
ROWS = [{"age": 20 + 5 * index, "job": ("baker", "nurse")[index % 2]} for index in range(6)]
KINDS = {
    "picture": "handlers.vision.ImageClassifier",
    "sound": "handlers.audio.AudioClassifier",
    "text": "handlers.text.TextClassifier",
    "table": "handlers.tables.TableClassifier",
}


@pytest.fixture
def table_artifact(tmp_path):
    columns = TableTransform()
    columns.numbers, columns.categories = {"age": (40.0, 10.0)}, {"job": ["baker", "nurse"]}
    payloads = {f"{index}.json": body(row) for index, row in enumerate(ROWS)}
    return write(tmp_path / "rows", MLPClassifier, columns, payloads)


@pytest.fixture
def handler(request):
    """The loaded handler of a kind."""
    return lambda kind: load(request.getfixturevalue(f"{kind}_artifact"), {"class_path": KINDS[kind], "threads": 1})


def test_without_the_package_a_line_says_what_installs_it(handler, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "shap", None)
    assert "make setup EXTRAS=shap" in explain_shap.write(handler("picture"), [], tmp_path / "shap.png")
    assert not (tmp_path / "shap.png").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_shap_draws_each_kind_of_input(handler, kind, tmp_path):
    pytest.importorskip("shap", reason="make setup EXTRAS=shap")
    file = tmp_path / "shap.png"
    loaded = handler(kind)
    assert explain_shap.write(loaded, inputs(loaded, None, ALL)[1], file) == str(file)
    drawn = Image.open(file).convert("L")
    assert min(drawn.size) > 100 and len(drawn.getcolors()) > 20


def test_pictures_without_training_inputs_get_none(handler, tmp_path):
    pytest.importorskip("shap", reason="make setup EXTRAS=shap")
    pictures = handler("picture")
    pictures.artifact.folder.joinpath("calibration.zip").unlink()
    assert explain_shap.write(pictures, inputs(pictures, None, ALL)[1], tmp_path / "shap.png") == explain_shap.UNSUITED
