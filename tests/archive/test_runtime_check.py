"""archive/runtime_check.py: a runtime is compared with the eager network, and one that answers otherwise is not archived."""

import json
import zipfile
from pathlib import Path

import msgspec
import pytest
import yaml

from archive import runtime_check
from archive.build import build
from archive.errors import ArchiveError
from handlers import base, comparison_report
from handlers.comparison_report import Comparison
from model_defs.artifact import TEST, Artifact, write_test_set
from model_defs.bundle_format import COMPARISON
from model_defs.json_input import body
from model_defs.postprocess import forecast
from model_defs.sequence import RecurrentForecaster, SeriesTransform
from tests.conftest import write

SECTION = {"class_path": "handlers.vision.ImageClassifier", "threads": 1}


@pytest.fixture
def recipe(tmp_path):
    """A recipe with these handler settings."""

    def write(device: str = "cpu", **settings):
        file = tmp_path / "recipe.yaml"
        file.write_text(yaml.safe_dump({"deviceType": device, "batchSize": 2, "handler": SECTION | settings}))
        return file

    return write


def measured(folder, **settings) -> Comparison:
    return runtime_check.compare(Artifact.read(folder), base.load(folder, SECTION | settings), batch_size=3)


def test_another_runtime_in_fp32_answers_the_same(picture_artifact):
    made = measured(picture_artifact, runtime="torchscript")
    assert made.agreement == 1 and made.largest_difference < 1e-5 and made.eager == made.served
    assert (made.samples, made.held_out) == (4, 4)
    assert set(made.libraries) == {"torch"}


def test_what_was_measured_stands_in_the_archive(picture_artifact, recipe, tmp_path):
    made = build(picture_artifact, recipe(precision="bf16"), tmp_path / "store")
    compared = comparison_report.read_packed(made)
    assert compared.precision == "bf16" and 0 < compared.largest_difference < 0.05
    assert "eager bf16 against eager fp32" in str(compared)


def test_the_eager_network_has_nothing_to_be_compared_with(picture_artifact, recipe, tmp_path):
    assert comparison_report.read_packed(build(picture_artifact, recipe(), tmp_path / "store")) is None


def test_the_tolerance_of_the_samples_follows_what_was_measured(picture_artifact, recipe, tmp_path):
    """Nobody has to raise it by hand for a lower precision; without the comparison the same worker refuses to serve."""
    with zipfile.ZipFile(build(picture_artifact, recipe(precision="bf16", tolerance=1e-6), tmp_path / "store")) as archive:
        archive.extractall(tmp_path / "unpacked")
    section = SECTION | {"precision": "bf16", "tolerance": 1e-6}
    base.load(tmp_path / "unpacked", section).warm_up(1)
    (tmp_path / "unpacked" / COMPARISON).unlink()
    with pytest.raises(base.WrongAnswer):
        base.load(tmp_path / "unpacked", section).warm_up(1)


def test_fp32_that_changes_a_score_is_refused_with_the_figures(picture_artifact):
    handler = base.load(picture_artifact, SECTION | {"runtime": "torchscript"})
    runtime = handler.runtime
    handler.runtime = lambda inputs: 1.5 * runtime(inputs)
    with pytest.raises(ArchiveError, match=r"same first label in .*scores at most .* apart, .*; fp32 may change no"):
        runtime_check.compare(Artifact.read(picture_artifact), handler, batch_size=4)


def test_a_lower_precision_may_lose_as_much_of_the_metric_as_the_recipe_says(picture_artifact):
    handler = base.load(picture_artifact, SECTION | {"precision": "bf16", "metric_loss": 0.25})
    runtime = handler.runtime
    handler.runtime = lambda inputs: -runtime(inputs)  # the least likely label comes first
    with pytest.raises(ArchiveError, match=r"accuracy 0\.0000 against 1\.0000 .*may lose 0\.25 of the metric"):
        runtime_check.compare(Artifact.read(picture_artifact), handler, batch_size=4)
    handler.settings.metric_loss = 1.0
    assert runtime_check.compare(Artifact.read(picture_artifact), handler, batch_size=4).served == 0


def test_without_a_test_set_the_error_says_what_writes_one(picture_artifact):
    (picture_artifact / "test.zip").unlink()
    with pytest.raises(ArchiveError, match=r"no test\.zip with inputs .*make train MODEL=pictures"):
        measured(picture_artifact, precision="bf16")


def test_a_test_input_that_is_refused_ends_the_comparison(picture_artifact):
    broken = picture_artifact / "test.zip"
    with zipfile.ZipFile(broken) as file:
        expected = json.loads(file.read("expected.json"))
    with zipfile.ZipFile(broken, "w") as file:
        file.writestr("expected.json", json.dumps(expected))
        for entry in expected:
            file.writestr(entry["file"], b"no picture")
    with pytest.raises(ArchiveError, match="of the artifact got 400"):
        measured(picture_artifact, precision="bf16")


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        ([{"label": "a", "score": 0.5}], [{"label": "a", "score": 0.25}], 0.25),
        ([], [], 0.0),
        ([], [{"label": "a", "score": 0.5}], 1.0),
        ({"value": 200.0}, {"value": 201.0}, 0.005),
        ({"forecast": [0.5, 0.25]}, {"forecast": [0.5, 0.5]}, 0.25),
        ({"forecast": [0.5]}, {"forecast": [0.5, 0.5]}, 1.0),
        ([{"text": "a"}], [{"text": "b"}], 1.0),
    ],
)
def test_answers_of_any_shape_are_apart_by_their_numbers(one, other, apart):
    assert runtime_check.distance(one, other) == pytest.approx(apart)


@pytest.fixture
def forecaster(tmp_path) -> Path:
    """An artifact whose answers have no labels."""
    series = SeriesTransform()
    series.mean, series.deviation, series.season, series.history, series.horizon = 2.0, 1.5, 4, 8, 6
    payloads = {f"{length}.json": body([float(value % 5) for value in range(length)]) for length in (4, 6, 9, 11)}
    folder = write(tmp_path / "series", RecurrentForecaster, series, payloads, lambda output, _: forecast(output), width=8)
    artifact = Artifact.read(folder)
    artifact.metrics = {"mean_absolute_error": 0.0}
    artifact.write(artifact.build_network(), artifact.build_transform())
    test_set = [(msgspec.structs.replace(sample, truth=sample.answer), payload) for sample, payload in artifact.test_set()]
    write_test_set(folder / TEST, test_set)
    return folder


def test_answers_without_labels_agree_if_their_numbers_do(forecaster):
    section = {"class_path": "handlers.sequences.Forecaster", "threads": 1, "runtime": "torchscript"}
    made = runtime_check.compare(Artifact.read(forecaster), base.load(forecaster, section), batch_size=4)
    assert made.agreement == 1 and made.within == 1e-3 and made.largest_difference < 1e-5
    assert "the same within 0.001 in 100.00% of 8 answers, numbers at most" in str(made)


def test_numbers_that_are_apart_do_not_agree(forecaster):
    section = {"class_path": "handlers.sequences.Forecaster", "threads": 1, "runtime": "torchscript"}
    handler = base.load(forecaster, section)
    runtime = handler.runtime
    handler.runtime = lambda inputs: 1.5 * runtime(inputs)
    with pytest.raises(ArchiveError, match=r"the same within 0\.001 in 0\.00% of 8 answers, numbers at most 0\.\d+ apart"):
        runtime_check.compare(Artifact.read(forecaster), handler, batch_size=4)


@pytest.mark.parametrize(
    ("one", "other", "within", "is_alike"),
    [
        ([{"label": "a", "score": 0.5}], [{"label": "a", "score": 0.1}], None, True),
        ([{"label": "a", "score": 0.5}], [{"label": "b", "score": 0.5}], None, False),
        ([], [], None, True),
        ([], [{"label": "a", "score": 0.5}], None, False),
        ({"value": 1.0}, {"value": 1.0005}, 1e-3, True),
        ({"value": 1.0}, {"value": 1.5}, 1e-3, False),
        ([0.25, 0.5], [0.25, 0.75], 1e-3, False),
    ],
)
def test_alike_is_the_first_label_or_all_numbers(one, other, within, is_alike):
    assert runtime_check.is_alike(one, other, within) == is_alike
