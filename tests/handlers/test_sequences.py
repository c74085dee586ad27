"""handlers/sequences.py: batches of series of different lengths, wrong series, and horizons."""

import json
import math

import pytest

from archive.export import export
from handlers.base import load
from handlers.request import RawRequest
from handlers.settings import Settings
from model_defs import postprocess
from model_defs.artifact import Artifact
from model_defs.json_input import body
from model_defs.sequence import RecurrentForecaster, SeriesTransform
from tests.conftest import write

SECTION = {"class_path": "handlers.sequences.Forecaster", "threads": 1}
KNOWN = [[float(value % 5) for value in range(length)] for length in (4, 9, 6)]


@pytest.fixture
def artifact(tmp_path):
    series = SeriesTransform()
    series.mean, series.deviation, series.season, series.history, series.horizon = 2.0, 1.5, 4, 8, 6
    files = {f"{index}.json": body(known) for index, known in enumerate(KNOWN)}
    return write(tmp_path / "series", RecurrentForecaster, series, files, lambda output, _: postprocess.forecast(output), width=8)


def answers(handler, *bodies, **options) -> list[tuple[int, dict]]:
    given = handler.answer([RawRequest({"body": one}, "application/json", **options) for one in bodies]).answers
    return [(answer.code, json.loads(answer.body)) for answer in given]


def test_a_worker_gives_the_recorded_answers(artifact):
    load(artifact, SECTION).warm_up(4)


def test_wrong_series_of_a_batch_are_refused_alone(artifact):
    bodies = [
        *({"inputs": known} for known in KNOWN),
        {"inputs": [1.0, 2.0, math.nan, 3.0]},
        {"inputs": [1, 2]},
        {"inputs": KNOWN[0], "parameters": {"horizon": 7}},
        {"inputs": KNOWN[0], "parameters": {"horizon": 0}},
        {"inputs": KNOWN[0], "parameters": {"horizon": "3"}},
        {"inputs": KNOWN[0], "parameters": {"steps": 3}},
    ]
    found = answers(load(artifact, SECTION), *bodies)
    assert [code for code, _ in found] == [200] * 3 + [422] * 6
    assert all(len(answer["forecast"]) == 6 for _, answer in found[:3])
    assert "horizon 7; this model forecasts 6 steps at most" in found[5][1]["message"]


def test_a_caller_chooses_the_horizon(artifact):
    (_, whole), (_, part) = answers(
        load(artifact, SECTION), {"inputs": KNOWN[1]}, {"inputs": KNOWN[1], "parameters": {"horizon": 2}}
    )
    assert part["forecast"] == whole["forecast"][:2]


@pytest.mark.parametrize("runtime", ["torchscript", "onnxruntime", "openvino"])
def test_other_runtimes_give_the_same_forecasts(artifact, runtime):
    section = SECTION | {"runtime": runtime}
    export(Artifact.read(artifact), Settings(**section), artifact)
    load(artifact, section).warm_up(4)
