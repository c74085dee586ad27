"""train/fit.py and train/write.py: from a config to an artifact that holds all that serving needs."""

import json
import zipfile

import pytest
import torch

from model_defs.artifact import Artifact
from train.__main__ import main, train


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    """The digits config after two epochs."""
    folder = tmp_path_factory.mktemp("digits")
    return train("digits", ["--trainer.max_epochs=2"], folder / "artifacts", folder / "runs")


def test_an_artifact_holds_what_the_contract_says(artifact):
    assert {file.name for file in artifact.folder.iterdir()} == {
        "model.json", "weights.safetensors", "samples", "test.zip", "calibration.zip", "report"
    }  # fmt: skip
    assert {file.name for file in (artifact.folder / "report").iterdir()} == {"curves.png", "confusion.png", "examples.png"}
    read = Artifact.read(artifact.folder)
    assert read.labels == [str(digit) for digit in range(10)]
    assert read.metrics["accuracy"] > 0.5
    assert len(read.data["sha256"]) == 64 and set(read.data["examples"]) >= {"train", "test"}
    assert read.versions["torch"] == torch.__version__.partition("+")[0]


def test_the_test_set_travels_with_the_answers_of_the_written_weights(artifact):
    network, transform = artifact.build_network(), artifact.build_transform()
    with zipfile.ZipFile(artifact.folder / "test.zip") as file:
        expected = json.loads(file.read("expected.json"))
        for entry in expected[:20]:
            with torch.inference_mode():
                scores = network(*transform.collate([transform(file.read(entry["file"]))]))[0].softmax(-1)
            best = entry["answer"][0]
            assert artifact.labels[int(scores.argmax())] == best["label"]
            assert float(scores.max()) == pytest.approx(best["score"], abs=1e-5)
    assert len(expected) == artifact.data["examples"]["test"]
    accuracy = sum(entry["answer"][0]["label"] == entry["truth"] for entry in expected) / len(expected)
    assert artifact.metrics["accuracy"] == pytest.approx(accuracy)


def test_calibration_inputs_are_spread_over_the_training_split(artifact):
    inputs, transform = artifact.calibration(), artifact.build_transform()
    assert 128 < len(inputs) <= 256
    assert not set(inputs) & {payload for _, payload in artifact.test_set()}
    assert transform.collate([transform(payload) for payload in inputs])[0].shape[0] == len(inputs)


def test_the_samples_are_right_answers_of_different_labels(artifact):
    samples = [sample for sample, _ in artifact.samples()]
    assert len({sample.truth for sample in samples}) == len(samples) > 1
    assert all(sample.answer[0]["label"] == sample.truth for sample in samples)


def test_training_twice_gives_the_same_weights_and_calibration_inputs(artifact, tmp_path):
    again = train("digits", ["--trainer.max_epochs=2"], tmp_path / "artifacts", tmp_path / "runs")
    for file in ("weights.safetensors", "calibration.zip"):
        assert (again.folder / file).read_bytes() == (artifact.folder / file).read_bytes()


def test_the_best_epoch_is_what_is_kept(tmp_path):
    """A learning rate that ruins the network late leaves the earlier epoch's weights."""
    kept = train("digits", ["--trainer.max_epochs=3", "--model.learning_rate=0.02"], tmp_path / "artifacts", tmp_path / "runs")
    best = next((tmp_path / "runs").rglob("*.ckpt"))
    weights = torch.load(best, weights_only=True)["state_dict"]  # a checkpoint loads with unpickling forbidden
    assert all(torch.equal(weights[f"network.{name}"], value) for name, value in kept.build_network().state_dict().items())


def test_any_key_can_be_given_on_the_command_line(tmp_path):
    overrides = ["--trainer.max_epochs=1", "--model.network.init_args.width=4", "--model.transform.init_args.size=8"]
    small = train("digits", overrides, tmp_path / "artifacts", tmp_path / "runs")
    assert small.network["init_args"]["width"] == 4 and small.transform["init_args"]["size"] == 8


def test_an_unknown_config_says_which_there_are():
    with pytest.raises(SystemExit, match=r"no config 'digit' in train/configs/.*digits"):
        main(["digit"])


def test_an_unknown_key_is_an_error(capsys):
    with pytest.raises(SystemExit):
        main(["digits", "--trainer.max_epocs=1"])
    assert "max_epocs" in capsys.readouterr().err
