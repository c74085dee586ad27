"""train/cli.py and __main__.py: configs by name, keys on the command line, loggers."""

import importlib
import importlib.util
import json
from pathlib import Path

import pytest
import torch

from train.__main__ import main, train
from train.cli import build_cli, cpu_has_bf16, newest_interrupted

SHORT = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=3"]


def test_any_key_can_be_given_on_the_command_line(tmp_path):
    overrides = [*SHORT, '--data.classes=["0","1"]', "--model.network.init_args.width=4", "--model.transform.init_args.size=8"]
    small = train("digits", overrides, tmp_path / "artifacts", tmp_path / "runs")
    assert small.network["init_args"]["width"] == 4 and small.transform["init_args"]["size"] == 8


def test_an_unknown_config_says_which_there_are():
    with pytest.raises(SystemExit, match=r"no config 'digit' in train/configs/.*digits"):
        main(["digit"])


@pytest.mark.parametrize(
    ("key", "package"), [("--data", "train.data"), ("--model.network", "model_defs"), ("--model.transform", "model_defs")]
)
def test_a_module_of_ones_own_that_fails_names_its_line(key, package, tmp_path, monkeypatch):
    (tmp_path / "broken_here.py").write_text("import torch\nfrom no_such_package import Net\n")
    extend(monkeypatch, package, tmp_path)
    said = (
        rf"{package}\.broken_here cannot be imported: ModuleNotFoundError in broken_here\.py:2: No module named 'no_such_package'"
    )
    with pytest.raises(SystemExit, match=rf"{said}; its traceback is in .*/errors/train-"):
        main(["digits", f"{key}={package}.broken_here.Own"], tmp_path / "artifacts", tmp_path / "runs")


def test_a_data_class_of_ones_own_that_fails_names_its_line(tmp_path, monkeypatch):
    code = (
        "from train.data.vision import Digits\n\nclass Own(Digits):\n    def __init__(self):\n        super().__init__(roots)\n"
    )
    (tmp_path / "failing_here.py").write_text(code)
    extend(monkeypatch, "train.data", tmp_path)
    with pytest.raises(SystemExit, match=r"NameError in failing_here\.py:5: name 'roots' is not defined; its traceback is in "):
        main(["digits", "--data=train.data.failing_here.Own"], tmp_path / "artifacts", tmp_path / "runs")


def extend(monkeypatch, package: str, folder: Path) -> None:
    """Let the folder's modules be the package's, too."""
    module = importlib.import_module(package)
    monkeypatch.setattr(module, "__path__", [*module.__path__, str(folder)])


def test_help_lists_the_keys(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["digits", "--help"])
    assert ended.value.code == 0 and "--trainer.max_epochs" in capsys.readouterr().out


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """A training with a logger of the config's own."""
    folder = tmp_path_factory.mktemp("logged")
    own = {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": str(folder / "own"), "name": "x"}}
    options = [*SHORT, "--trainer.log_every_n_steps=1", f"--trainer.logger={json.dumps(own)}"]
    train("intents", options, folder / "artifacts", folder / "runs")
    return folder


def test_tensorboard_and_csv_are_always_written(logged):
    (version,) = (logged / "runs" / "intents").iterdir()
    assert list(version.glob("events.out.tfevents.*"))
    header = (version / "metrics.csv").read_text().splitlines()[0]
    assert {"epoch", "lr-AdamW/pg1", "train_loss", "val_loss", "val_accuracy"} <= set(header.split(","))


def test_another_logger_of_lightning_s_is_one_key(logged):
    assert (logged / "own/x/version_0/metrics.csv").exists()


@pytest.mark.parametrize(("logger", "package"), [("MLFlowLogger", "mlflow"), ("WandbLogger", "wandb")])
def test_a_logger_whose_package_is_missing_says_what_installs_it(logger, package, tmp_path):
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises(SystemExit, match=f"{logger} needs {package}, .*pip install {package}"):
        main(["intents", f"--trainer.logger={logger}"], tmp_path, tmp_path)


def test_an_artifact_of_the_user_s_data_is_not_replaced_by_the_config_s(tmp_path, capsys):
    (tmp_path / "moods.csv").write_text("label,text\n" + "up,good day\ndown,bad day\n" * 10)
    given = (tmp_path / "artifacts", tmp_path / "runs")
    own = train("intents", [*SHORT, f"--data.root={tmp_path / 'moods.csv'}"], *given)
    assert own.data["root"] == "moods.csv" and own.labels == ["down", "up"]
    assert f"training intents on {tmp_path / 'moods.csv'}; its log" in capsys.readouterr().out
    with pytest.raises(Exception, match=r"intents/ was trained with DATA=moods\.csv .*, and now no data is given"):
        train("intents", SHORT, *given)
    assert json.loads((own.folder / "model.json").read_text())["labels"] == ["down", "up"]
    again = train("intents", [*SHORT, f"--data.root={tmp_path / 'moods.csv'}"], *given)
    assert again.data == own.data


def test_bfloat16_is_for_hardware_that_has_it_or_for_who_insists(tmp_path):
    config = Path("train/configs/cifar10.yaml")
    is_fast = torch.cuda.is_available() or cpu_has_bf16()
    assert build_cli(config, tmp_path, []).trainer.precision == ("bf16-mixed" if is_fast else "32-true")
    assert build_cli(config, tmp_path, ["--trainer.precision=bf16-mixed"]).trainer.precision == "bf16-mixed"


def test_only_the_newest_training_is_resumed(tmp_path):
    def write(version, *files):
        (tmp_path / version / "checkpoints").mkdir(parents=True)
        for file in files:
            (tmp_path / version / "checkpoints" / file).touch()

    assert newest_interrupted(tmp_path) is None
    write("version_9", "last.ckpt", "epoch=1.ckpt")
    write("version_10")  # it ended before it began: its data could not be read
    assert newest_interrupted(tmp_path) == tmp_path / "version_9/checkpoints/last.ckpt"
    write("version_11", "epoch=4.ckpt")  # it was finished, so the one before it is abandoned
    assert newest_interrupted(tmp_path) is None


def test_a_training_cannot_resume_with_another_network(tmp_path):
    given, last = (tmp_path / "artifacts", tmp_path / "runs"), tmp_path / "runs/intents/version_0/checkpoints/last.ckpt"
    train("intents", [*SHORT, "--last.seconds=0"], *given)
    saved = next(last.parent.glob("epoch*.ckpt"))
    saved.rename(last)
    with pytest.raises(
        SystemExit, match=r"last\.ckpt is of another network; give the config and data of that training, or no --re"
    ):
        main(["intents", *SHORT, "--resume", "--model.network.init_args.dim=8"], *given)
