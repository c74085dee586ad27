"""archive/runtime_check.py: a runtime is measured beside the eager network, and one that answers otherwise is not archived."""

import json
import zipfile
from pathlib import Path

import pytest
import yaml

from archive import runtime_check
from archive.build import build
from archive.errors import ArchiveError
from handlers import base, comparison_report
from handlers.comparison_report import Comparison
from model_defs.artifact import Artifact

SECTION = {"class_path": "handlers.vision.ImageClassifier", "threads": 1}


@pytest.fixture
def recipe(tmp_path):
    """A recipe with these handler settings."""

    def write(device: str = "cpu", **settings):
        file = tmp_path / "recipe.yaml"
        bundled = yaml.safe_load(Path("archive/recipes/digits.yaml").read_text())
        file.write_text(yaml.safe_dump(bundled | {"deviceType": device, "batchSize": 2, "handler": SECTION | settings}))
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
    (tmp_path / "unpacked" / comparison_report.FILE).unlink()
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


def test_without_a_test_set_nothing_is_compared_and_the_error_says_what_writes_one(picture_artifact):
    (picture_artifact / "test.zip").unlink()
    with pytest.raises(ArchiveError, match=r"no test\.zip with inputs .*make train MODEL=pictures"):
        measured(picture_artifact, precision="bf16")


def test_a_runtime_of_the_cpu_needs_a_recipe_of_the_cpu(picture_artifact, recipe, tmp_path):
    with pytest.raises(ArchiveError, match="runs on the CPU only; write deviceType: cpu"):
        build(picture_artifact, recipe("gpu", runtime="onnxruntime"), tmp_path / "store")


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
    assert runtime_check.difference(one, other) == pytest.approx(apart)
