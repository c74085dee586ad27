"""Trainings of several processes, in small memory, and with interruptions: each gives what a plain one gives."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torchvision.models import VisionTransformer

from model_defs.artifact import Artifact
from model_defs.vision import TorchvisionClassifier
from train.__main__ import main
from train.__main__ import train as run
from train.gradient_checkpointing import recompute

PLAIN = ["--model.network.init_args.dropout=0", "--model.augment=null", "--trainer.max_epochs=2"]  # nothing random but the order


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Artifact:
    """In one process, without an interruption."""
    folder = tmp_path_factory.mktemp("plain")
    return run("intents", PLAIN, folder / "artifacts", folder / "runs")


@pytest.fixture
def elsewhere(tmp_path):
    """A folder where `python -m train` finds the code of this one."""
    for package in ("train", "model_defs", "tests"):
        (tmp_path / package).symlink_to(Path(package).absolute(), target_is_directory=True)

    def call(*command: str) -> subprocess.CompletedProcess:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.run([sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True)

    call.folder = tmp_path
    return call


def distance(one: Artifact, other: Artifact) -> float:
    first, second = (safetensors.torch.load_file(artifact.folder / "weights.safetensors") for artifact in (one, other))
    return max(float((first[name] - second[name]).abs().max()) for name in first)


def test_two_processes_learn_what_one_does_and_one_of_them_writes_it(plain, elsewhere):
    two = ["--data.batch_size=8", "--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.accelerator=cpu"]
    done = elsewhere("-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "-m", "train", "intents", *PLAIN, *two)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("artifacts/intents/: accuracy") == done.stdout.count("epoch 2/2") == 1
    together = Artifact.read(elsewhere.folder / "artifacts" / "intents")
    assert together.metrics == pytest.approx(plain.metrics, abs=0.01) and together.data == plain.data
    assert distance(plain, together) < 1e-3  # only sums in another order
    assert len(list((elsewhere.folder / "runs" / "intents").iterdir())) == 1


def test_a_killed_training_goes_on_in_the_middle_of_its_epoch(plain, elsewhere):
    """Killed by signal 9 in the second epoch; afterwards its weights are those of one that nobody killed."""
    killing = '[{"class_path": "tests.train.killing.Kill", "init_args": {"at": 700}}]'
    command = ("-m", "train", "intents", *PLAIN, "--last.seconds=0")
    killed = elsewhere(*command, f"--model.augment={killing}")
    assert killed.returncode == -signal.SIGKILL and "epoch 1/2" in killed.stdout
    (last,) = elsewhere.folder.rglob("last.ckpt")
    steps = torch.load(last, weights_only=True)["global_step"]
    assert 31 < steps < 62
    assert not (elsewhere.folder / "artifacts").exists() or not list((elsewhere.folder / "artifacts").iterdir())
    resumed = elsewhere(*command, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert f"resuming {last.relative_to(elsewhere.folder)}" in resumed.stdout and "epoch 1/2" not in resumed.stdout
    artifact = Artifact.read(elsewhere.folder / "artifacts" / "intents")
    assert distance(plain, artifact) < 1e-3 and artifact.metrics == pytest.approx(plain.metrics, abs=0.01)
    assert not last.exists()
    kept = [file.name for file in last.parents[1].iterdir()]
    assert {"metrics.csv", "metrics-0.csv"} <= set(kept) and len(list(last.parents[2].iterdir())) == 1


def test_there_is_nothing_to_resume_where_none_was_interrupted(tmp_path, capsys):
    run("intents", [*PLAIN, "--trainer.max_epochs=1", "--resume"], tmp_path / "artifacts", tmp_path / "runs")
    assert "nothing to resume" in capsys.readouterr().out


def test_gradients_of_several_batches_add_up_to_those_of_a_large_one(tmp_path):
    large = run("intents", [*PLAIN, "--data.batch_size=10"], tmp_path / "artifacts", tmp_path / "large")
    several = ["--data.batch_size=5", "--trainer.accumulate_grad_batches=2"]
    small = run("intents", [*PLAIN, *several], tmp_path / "artifacts", tmp_path / "small")
    steps = [{file.stem.partition("step=")[2] for file in (tmp_path / runs).rglob("*.ckpt")} for runs in ("large", "small")]
    assert steps == [{"100"}, {"100"}] and small.metrics == pytest.approx(large.metrics, abs=0.03)


def test_mixed_precision_learns_and_the_artifact_is_fp32(tmp_path):
    options = ["--trainer.max_epochs=1", "--trainer.precision=bf16-mixed"]
    artifact = run("digits", options, tmp_path / "artifacts", tmp_path / "runs")
    weights = safetensors.torch.load_file(artifact.folder / "weights.safetensors")
    assert {value.dtype for value in weights.values() if value.is_floating_point()} == {torch.float32}
    assert artifact.metrics["accuracy"] > 0.3


NETWORKS = {  # and the layers that compute again, and how many these are
    "convolutions": (lambda: TorchvisionClassifier(3, "resnet18"), 64, ["layer1", "layer2"], 4),
    "transformer": (
        lambda: VisionTransformer(image_size=64, patch_size=8, num_layers=4, num_heads=2, hidden_dim=32, mlp_dim=64),
        64,
        ["encoder.layers"],
        4,
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_that_compute_again_give_the_same_gradients_from_less_memory(name):
    build, size, layers, count = NETWORKS[name]
    plain, frugal = build().train(), build().train()
    frugal.load_state_dict(plain.state_dict())
    assert len(recompute(frugal, layers)) == count
    pixels = torch.rand(4, 3, size, size)
    kept = [kept_bytes(network, pixels) for network in (plain, frugal)]
    for one, other in zip(plain.parameters(), frugal.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, atol=1e-5)
    state = frugal.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in plain.state_dict().items())  # statistics included
    assert kept[1] < 0.75 * kept[0]


def kept_bytes(network, pixels) -> int:
    """What a step keeps for its gradients beside the weights."""
    weights, kept = {value.data_ptr() for value in network.parameters()}, 0

    def keep(tensor):
        nonlocal kept
        kept += 0 if tensor.data_ptr() in weights else tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = network(pixels).square().mean()
    loss.backward()
    return kept


def test_recompute_is_a_key_of_the_config(tmp_path):
    options = ["--trainer.max_epochs=1", "--model.network.init_args.width=4"]
    plain = run("digits", options, tmp_path / "one", tmp_path / "runs")
    frugal = run("digits", [*options, "--model.recompute=[features]"], tmp_path / "two", tmp_path / "runs")
    assert distance(plain, frugal) < 1e-4


def test_a_layer_to_compute_again_that_is_not_there_names_the_nearest():
    with pytest.raises(SystemExit, match="no layer 'feature'; did you mean 'features'"):
        main(["digits", "--model.recompute=[feature]", "--trainer.max_epochs=1"])


def test_tensorboard_and_csv_are_always_written(plain):
    (version,) = (plain.folder.parents[1] / "runs" / "intents").iterdir()
    assert list(version.glob("events.out.tfevents.*"))
    header = (version / "metrics.csv").read_text().splitlines()[0]
    assert {"epoch", "lr-AdamW/pg1", "train_loss", "val_loss", "val_accuracy"} <= set(header.split(","))


@pytest.mark.parametrize(("logger", "package"), [("MLFlowLogger", "mlflow"), ("WandbLogger", "wandb")])
def test_a_logger_whose_package_is_missing_says_what_installs_it(logger, package):
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises(SystemExit, match=f"{logger} needs {package}, .*pip install {package}"):
        main(["intents", f"--trainer.logger={logger}"])


def test_another_logger_of_lightning_s_is_one_key(tmp_path):
    own = {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": str(tmp_path / "own"), "name": "x"}}
    options = [*PLAIN, "--trainer.max_epochs=1", f"--trainer.logger={json.dumps(own)}"]
    run("intents", options, tmp_path / "artifacts", tmp_path / "runs")
    assert (tmp_path / "own/x/version_0/metrics.csv").exists() and list((tmp_path / "runs").rglob("metrics.csv"))
