"""The whole search, with real builds, a real server and real load, on a small network and for seconds only."""

import shutil

import pytest

from archive import recipe
from bench import load, tune, tuning_view
from bench.candidates import Candidate
from bench.goal import Goal
from model_defs.artifact import Artifact

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(shutil.which(load.TOOL) is None, reason="h2load is not installed"),
    pytest.mark.slow,
]


def test_the_best_served_trial_wins_and_a_failed_build_gives_its_reason(picture_artifact, tmp_path, monkeypatch):
    monkeypatch.setattr(
        tune, "networks", lambda has_gpu: [Candidate("eager", "fp32", False), Candidate("onnxruntime", "int8", False)]
    )
    monkeypatch.setattr(tune, "LOAD_SECONDS", 0.4)
    file = tmp_path / "pictures.yaml"
    shutil.copyfile("archive/recipes/digits.yaml", file)
    (picture_artifact / "calibration.zip").unlink()
    tuning = tune.Tuning(Artifact.read(picture_artifact), file, Goal("latency"), 12, tmp_path)
    best = tuning.run()
    served = [trial for trial in tuning.trials if trial.measured]
    assert best in served and best.candidate.runtime == "eager"
    assert best.measured[0].p50 == min(trial.measured[0].p50 for trial in served)
    assert "calibration.zip" in next(trial.reason for trial in tuning.trials if trial.candidate.precision == "int8")
    assert tuning_view.draw(tuning.trials, best, tmp_path / "tuning.png").stat().st_size > 10_000
    tune.rewrite.write(file, best.candidate, tuning_view.comment(best, tuning.goal))
    assert recipe.read(file).minWorkers == best.candidate.workers
    assert file.read_text().startswith("# make tune, 20")
