"""train/regression.py, train/forecasting.py: a short training is better than answering the mean, or the last season."""

import pytest

from train.__main__ import train


@pytest.mark.parametrize(
    ("name", "overrides", "is_learned"),
    [
        ("diabetes", ["--trainer.max_epochs=15"], lambda metrics: metrics["r2"] > 0.3),
        (
            "demand",
            ["--trainer.max_epochs=6", "--data.count=8", "--model.network.width=16", "--model.learning_rate=0.01"],
            lambda metrics: metrics["relative_error"] < 0.95,
        ),
    ],
)
def test_a_short_training_learns_something(name, overrides, is_learned, tmp_path):
    artifact = train(name, overrides, tmp_path / "artifacts", tmp_path / "runs")
    assert is_learned(artifact.metrics), artifact.metrics
    report = {file.name for file in (tmp_path / "artifacts" / name / "report").iterdir()}
    assert "curves.png" in report and report & {"values.png", "forecasts.png"}
    assert all(sample.file.endswith(".json") for sample, _ in artifact.samples())
