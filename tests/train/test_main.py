"""train/__main__.py: what a training keeps of its command, and what it does not replace."""

import os
import shlex

import pytest

from model_defs.artifact import Artifact
from train import __main__ as command
from train.__main__ import main

SHORT = ["--trainer.max_epochs=1", "--data.batch_size=8"]


@pytest.fixture
def trained(tmp_path, capsys):
    """Trains `trips` on a user's CSV, and returns what was printed."""

    def run(*arguments: str) -> str:
        main(["trips", *arguments], tmp_path / "artifacts", tmp_path / "runs")
        return capsys.readouterr().out

    (tmp_path / "my data's").mkdir()
    rows = [f"{20 + index},{'yes' if index % 2 else 'no'}" for index in range(40)]
    (tmp_path / "my data's" / "own.csv").write_text("\n".join(["age,label", *rows]))
    run.root = f"--data.root={tmp_path}/my data's/own.csv"
    run.artifacts = tmp_path / "artifacts"
    return run


def test_an_artifact_remembers_data_and_arguments_and_is_kept(trained):
    trained(*SHORT, trained.root)
    artifact = Artifact.read(trained.artifacts / "trips")
    assert artifact.data["root"] == "own.csv" and artifact.arguments == SHORT
    before = (artifact.folder / "weights.safetensors").read_bytes()
    said = trained("--if-missing")
    given = f"DATA=own.csv ARGS={shlex.quote(' '.join(SHORT))}"
    assert f"trips/, which was trained with {given}, and the artifact stays as it is" in said
    assert said.endswith(f"to train it again: make train MODEL=trips {given}\n")
    assert (artifact.folder / "weights.safetensors").read_bytes() == before
    with pytest.raises(SystemExit, match=r"was trained with DATA=own\.csv ARGS=.* and now no data is given"):
        trained(*SHORT)


def test_the_data_s_own_folder_has_a_name_in_the_artifact(trained, monkeypatch):
    monkeypatch.setattr(command, "CONFIGS", command.CONFIGS.absolute())
    folder = trained.artifacts.parent / "my data's"
    (folder / "own.csv").rename(folder / "train.csv")
    (folder / "test.csv").write_text((folder / "train.csv").read_text())
    monkeypatch.chdir(folder)
    trained(*SHORT, "--data.root=.")
    assert Artifact.read(trained.artifacts / "trips").data["root"] == "my data's"


def test_a_name_with_a_dash_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "CONFIGS", tmp_path)
    (tmp_path / "digits-2.yaml").touch()
    with pytest.raises(SystemExit, match=r"digits-2\.yaml, 'digits-2': a model's name is a letter, then letters"):
        main(["digits-2"], tmp_path / "artifacts", tmp_path / "runs")


def test_an_unforeseen_error_is_one_line_and_its_traceback_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "train", lambda *_: os.listdir(tmp_path / "gone"))
    with pytest.raises(SystemExit, match=r"error: FileNotFoundError: .*gone.*; its traceback is in .*/runs/errors/train-"):
        main(["trips"], tmp_path / "artifacts", tmp_path / "runs")


def test_a_model_that_learned_nothing_is_said_next_to_chance(trained):
    said = trained(*SHORT, trained.root, "--model.learning_rate=1e-12")
    accuracy = Artifact.read(trained.artifacts / "trips").metrics["accuracy"]
    assert (f"accuracy {accuracy:.4f} is no better than by chance, 0.5000" in said) == (accuracy <= 0.5)


def test_one_example_per_batch_is_too_few_for_a_batch_norm(tmp_path):
    given = ["--data.batch_size=1", "--trainer.max_epochs=1"]
    network = [
        "--model.network=model_defs.segmentation.TorchvisionSegmenter",
        "--model.network.name=deeplabv3_mobilenet_v3_large",
    ]
    with pytest.raises(SystemExit, match=r"error: Expected more than 1 value per channel.*give --data\.batch_size=2 or more"):
        main(["shapes_masks", *given, *network, "--data.pictures=10"], tmp_path / "artifacts", tmp_path / "runs")


def test_a_place_that_takes_no_artifact_is_told_before_the_training(tmp_path, capsys):
    (tmp_path / "artifacts").touch()
    with pytest.raises(SystemExit, match=r"artifacts: File exists; a file is where a folder should be"):
        main(["digits"], tmp_path / "artifacts", tmp_path / "runs")
    assert "training digits" not in capsys.readouterr().out


def test_what_is_no_artifact_is_never_replaced(tmp_path):
    folder = tmp_path / "artifacts" / "digits"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(SystemExit, match=r"artifacts/digits is there and holds no artifact; .* move away what it holds"):
        main(["digits"], tmp_path / "artifacts", tmp_path / "runs")
    assert (folder / "notes.txt").read_text() == "mine"
