"""train/fit.py: trainings of several processes, with interruptions, and in lower precision give what a plain one gives."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import safetensors.torch
import torch

from model_defs.artifact import Artifact
from train.__main__ import main, train

SURE = ["--model.network.init_args.dropout=0", "--trainer.max_epochs=2"]
PLAIN = [*SURE, "--model.augment=null"]  # only the order is random


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Artifact:
    """In one process, without an interruption."""
    folder = tmp_path_factory.mktemp("plain")
    return train("intents", PLAIN, folder / "artifacts", folder / "runs")


class Elsewhere:
    """A folder where `python -m train` finds this project's code."""

    def __init__(self, folder: Path):
        self.folder = folder
        for package in ("train", "model_defs", "tests"):
            (folder / package).symlink_to(Path(package).absolute(), target_is_directory=True)

    def start(self, *command: str) -> subprocess.Popen:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        heeding = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore it
        return subprocess.Popen([sys.executable, *command], cwd=self.folder, env=environment, preexec_fn=heeding, **output)

    def run(self, *command: str) -> tuple[int, str, str]:
        """(exit status, stdout, stderr)"""
        process = self.start(*command)
        told, errors = process.communicate()
        return process.returncode, told, errors


@pytest.fixture
def elsewhere(tmp_path):
    return Elsewhere(tmp_path)


def distance(one: Artifact, other: Artifact) -> float:
    first, second = (safetensors.torch.load_file(artifact.folder / "weights.safetensors") for artifact in (one, other))
    return max(float((first[name] - second[name]).abs().max()) for name in first)


@pytest.mark.slow
def test_two_processes_learn_what_one_does_and_one_of_them_writes_it(plain, elsewhere):
    two = ["--data.batch_size=8", "--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.accelerator=cpu"]
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "-m", "train", "intents")
    status, told, errors = elsewhere.run(*launcher, *PLAIN, *two)
    assert status == 0, errors
    assert told.count("artifacts/intents/: accuracy") == told.count("epoch 2/2") == 1
    together = Artifact.read(elsewhere.folder / "artifacts" / "intents")
    assert together.metrics == pytest.approx(plain.metrics, abs=0.01) and together.data == plain.data
    assert distance(plain, together) < 1e-3  # only the sums are in another order
    assert len(list((elsewhere.folder / "runs" / "intents").iterdir())) == 1


@pytest.mark.slow
def test_a_killed_training_resumes_in_the_middle_of_its_epoch(plain, elsewhere):
    """It is killed by signal 9 in the second epoch. In the end its weights are those of an uninterrupted training."""
    killing = '[{"class_path": "tests.train.kill_training.KillTraining", "init_args": {"at": 700}}]'
    command = ("-m", "train", "intents", *SURE, "--last.seconds=0")
    status, told, _ = elsewhere.run(*command, f"--model.augment={killing}")
    assert status == -signal.SIGKILL and "epoch 1/2" in told
    (last,) = elsewhere.folder.rglob("last.ckpt")
    steps = torch.load(last, weights_only=True)["global_step"]
    assert 31 < steps < 62
    assert not (elsewhere.folder / "artifacts").exists() or not list((elsewhere.folder / "artifacts").iterdir())
    status, told, errors = elsewhere.run(*command, "--model.augment=null", "--resume")
    assert status == 0, errors
    assert f"resuming {last.relative_to(elsewhere.folder)}" in told and "epoch 1/2" not in told
    artifact = Artifact.read(elsewhere.folder / "artifacts" / "intents")
    assert distance(plain, artifact) < 1e-3 and artifact.metrics == pytest.approx(plain.metrics, abs=0.01)
    assert not last.exists()
    kept = [file.name for file in last.parents[1].iterdir()]
    assert {"metrics.csv", "metrics-0.csv"} <= set(kept) and len(list(last.parents[2].iterdir())) == 1


@pytest.mark.slow
@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_training_says_so_and_fails(signal_number, elsewhere):
    process = elsewhere.start("-m", "train", "intents", "--trainer.max_epochs=10000", "--early_stopping.patience=10000")
    for line in process.stdout:
        if line.startswith("epoch 2/"):
            break
    process.send_signal(signal_number)
    told, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and "interrupted: no artifact was written" in errors
    assert "Traceback" not in told + errors and not list((elsewhere.folder).glob("artifacts/*"))


def test_there_is_nothing_to_resume_if_no_training_was_interrupted(tmp_path, capsys):
    short = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=2"]
    train("intents", [*short, "--resume"], tmp_path / "artifacts", tmp_path / "runs")
    assert "nothing to resume" in capsys.readouterr().out


def test_gradients_of_several_batches_add_up_to_those_of_a_large_one(tmp_path):
    large = train("intents", [*PLAIN, "--data.batch_size=10"], tmp_path / "artifacts", tmp_path / "large")
    several = ["--data.batch_size=5", "--trainer.accumulate_grad_batches=2"]
    small = train("intents", [*PLAIN, *several], tmp_path / "artifacts", tmp_path / "small")
    steps = [{file.stem.partition("step=")[2] for file in (tmp_path / runs).rglob("*.ckpt")} for runs in ("large", "small")]
    assert steps == [{"100"}, {"100"}] and small.metrics == pytest.approx(large.metrics, abs=0.03)


def test_mixed_precision_learns_and_the_artifact_is_fp32(tmp_path):
    options = ["--trainer.max_epochs=2", "--trainer.precision=bf16-mixed"]
    artifact = train("intents", options, tmp_path / "artifacts", tmp_path / "runs")
    weights = safetensors.torch.load_file(artifact.folder / "weights.safetensors")
    assert {value.dtype for value in weights.values() if value.is_floating_point()} == {torch.float32}
    assert artifact.metrics["accuracy"] > 0.3


def test_a_decoding_process_that_dies_is_one_line(tmp_path):
    killing = '[{"class_path": "tests.train.kill_training.KillTraining", "init_args": {"at": 20}}]'
    options = ["--trainer.max_epochs=1", "--data.num_workers=1", "--data.cache=false", f"--model.augment={killing}"]
    with pytest.raises(SystemExit, match=r"^error: DataLoader worker .*give --data\.num_workers=0"):
        main(["intents", *options], tmp_path / "artifacts", tmp_path / "runs")


def test_a_training_that_diverges_says_so(tmp_path):
    options = ["--trainer.max_epochs=2", "--model.learning_rate=1e30"]
    with pytest.raises(SystemExit, match=r"^error: val_loss is (inf|nan): the training diverged; give a lower --model\.learning"):
        main(["diabetes", *options], tmp_path / "artifacts", tmp_path / "runs")
    assert not list((tmp_path / "artifacts").glob("*"))
