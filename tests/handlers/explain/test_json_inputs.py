"""Explanations of rows, series, graphs, and a picture with a text."""

import base64

import pytest

from bench.explain_subjects import Asked, subject_of
from handlers.base import load
from model_defs import postprocess
from model_defs.graph import GraphNet, GraphTransform
from model_defs.image_text import ImageTextTransform, LateFusion
from model_defs.json_input import body
from model_defs.sequence import RecurrentForecaster, SeriesTransform
from model_defs.table import MLPClassifier, MLPRegressor, TableTransform
from tests.conftest import png, write
from tests.handlers.explain.asking import good, is_additive, opened, refused, signed

ROWS = [{"age": 25 + 10 * index, "job": job} for index, job in enumerate(["baker", "nurse", None])]


@pytest.fixture(params=["TableClassifier", "TableRegressor"])
def tables(request, tmp_path):
    columns = TableTransform()
    columns.numbers, columns.categories, columns.target = {"age": (40.0, 10.0)}, {"job": ["baker", "nurse"]}, (100.0, 20.0)
    files = {f"{index}.json": body(row) for index, row in enumerate(ROWS)}
    network, answer = {
        "TableClassifier": (MLPClassifier, None),
        "TableRegressor": (MLPRegressor, lambda output, _: postprocess.value(output)),
    }[request.param]
    folder = write(tmp_path / "rows", network, columns, files, answer)
    return load(folder, {"class_path": f"handlers.tables.{request.param}", "threads": 1})


@pytest.mark.parametrize(
    "method", [None, "integrated_gradients", "deep_lift", "deep_lift_shap", "gradient_shap", "kernel_shap", "feature_ablation"]
)
def test_each_column_has_its_value_and_weight(tables, method):
    answer = good(tables, ROWS[0], **({"method": method} if method else {}))
    assert [(one["column"], one["value"]) for one in answer["columns"]] == [("age", 25), ("job", "baker")]
    assert answer["columns"][0]["weight"] != 0
    if method in (None, "kernel_shap", "deep_lift", "deep_lift_shap"):
        within = 0.05 * abs(answer["target_score"] - answer["baseline_score"]) + 1e-5
        assert is_additive(answer, [one["weight"] for one in answer["columns"]], within)


def test_a_value_that_is_unknown_already_weighs_nothing(tables):
    assert good(tables, ROWS[2])["columns"][1] == {"column": "job", "value": None, "weight": 0}


def test_show_draws_a_waterfall(tables):
    assert opened(good(tables, ROWS[0], show=True)["picture"]).mode == "RGB"


def test_a_regressor_has_no_target(tmp_path, tables):
    said = refused(tables, ROWS[0], target="x")
    assert ("no parameter 'target'" in said) is (type(tables).__name__ == "TableRegressor")


SERIES = [float(value % 5) + 0.1 * value for value in range(13)]


@pytest.fixture
def forecaster(tmp_path):
    series = SeriesTransform()
    series.mean, series.deviation, series.season, series.history, series.horizon = 2.0, 1.5, 4, 8, 6
    known = {f"{index}.json": body(SERIES[: 6 + index]) for index in range(2)}
    folder = write(
        tmp_path / "series", RecurrentForecaster, series, known, lambda output, _: postprocess.forecast(output), width=8
    )
    return load(folder, {"class_path": "handlers.sequences.Forecaster", "threads": 1})


@pytest.mark.parametrize("method", [None, "integrated_gradients", "occlusion", "kernel_shap"])
def test_a_forecast_is_explained_by_the_seasons_behind_it(forecaster, method):
    answer = good(forecaster, SERIES, show=True, **({"method": method} if method else {}))
    assert [(one["start"], one["end"]) for one in answer["stretches"]] == [(5, 9), (9, 13)]  # the 8 values that it sees
    assert len(answer["forecast"]) == 6 and answer["target"] is None
    assert subject_of(forecaster, Asked("0.json", body(SERIES))).names() == ["5 to 8", "9 to 12"]
    assert answer["target_score"] == pytest.approx(sum(answer["forecast"]) / 6, abs=1e-4)
    if method != "occlusion":
        assert is_additive(answer, [one["weight"] for one in answer["stretches"]], within=0.05)


def test_an_untrained_forecast_rests_on_the_last_season_alone(forecaster):
    """It repeats that season, so the step after the last value is the one four values back."""
    answer = good(forecaster, SERIES, target=1)
    assert answer["target_score"] == pytest.approx(SERIES[-4], abs=1e-4)
    assert answer["stretches"][0]["weight"] == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("target", [0, 7, "x"])
def test_a_step_beyond_the_horizon_is_refused(forecaster, target):
    assert "is not a step of the forecast; give 1 to 6" in refused(forecaster, SERIES, target=target)


def test_nodes_and_edges_of_a_graph_are_explained(tmp_path):
    pytest.importorskip("torch_geometric", reason="make setup EXTRAS=graphs")
    transform = GraphTransform()
    transform.mean, transform.deviation = [0.0, 0.0], [1.0, 1.0]
    graphs = [{"nodes": [[1.0, index], [0.5, 2.0], [1.0, 1.0]], "edges": [[0, 1], [1, 2]]} for index in range(2)]
    files = {f"{index}.json": body(graph) for index, graph in enumerate(graphs)}
    handler = load(
        write(tmp_path / "graphs", GraphNet, transform, files), {"class_path": "handlers.graphs.GraphClassifier", "threads": 1}
    )
    answer = good(handler, graphs[0], show=True)
    assert len(answer["nodes"]) == 3 and [edge["nodes"] for edge in answer["edges"]] == [[0, 1], [1, 2]]
    assert is_additive(answer, [*answer["nodes"], *(edge["weight"] for edge in answer["edges"])], within=0.01)
    assert opened(answer["picture"]).size == (480, 480)
    names = subject_of(handler, Asked("0.json", body(graphs[0]))).names()
    assert names == ["node 0", "node 1", "node 2", "edge 0 to 1", "edge 1 to 2"]


def test_a_picture_with_a_text_is_explained_by_regions_and_words(tmp_path):
    transform = ImageTextTransform(size=224)
    transform.words.tokens = ["<unk>", "what", "colour", "how", "many"]
    pairs = [
        {"image": base64.b64encode(png(seed)).decode(), "text": text} for seed, text in enumerate(["What colour", "how many"])
    ]
    files = {f"{index}.json": body(pair) for index, pair in enumerate(pairs)}
    folder = write(tmp_path / "pairs", LateFusion, transform, files, width=8, name="mobilenet_v3_small")
    handler = load(folder, {"class_path": "handlers.image_text.ImageTextClassifier", "threads": 1})
    answer = good(handler, pairs[0], show=True)
    assert [part["part"] for part in answer["parts"]] == ["image", "text"]
    assert is_additive(answer, [part["weight"] for part in answer["parts"]], within=0.01)
    assert [word["word"] for word in answer["words"]] == ["What", "colour"] and signed(answer).shape == (224, 224)
    assert opened(answer["picture"]).width and "<span" in answer["html"]
    names = subject_of(handler, Asked("0.json", body(pairs[0]))).names()
    assert names[0] == "row 1, column 1" and names[15:] == ["row 4, column 4", "What", "colour"]
