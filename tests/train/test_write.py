"""train/write.py: from a config to an artifact that holds all that serving needs."""

import json
import zipfile

import pytest
import torch

from model_defs.artifact import Artifact
from train.__main__ import train

FEW = ["--trainer.max_epochs=2", "--model.network.init_args.width=8", "--model.learning_rate=0.02"]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    return train("digits", FEW, folder / "artifacts", folder / "runs")


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


def test_the_test_set_has_the_answers_of_the_written_weights(artifact):
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


def test_the_samples_are_correct_answers_of_different_labels(artifact):
    samples = [sample for sample, _ in artifact.samples()]
    assert len({sample.truth for sample in samples}) == len(samples) > 1
    assert all(sample.answer[0]["label"] == sample.truth for sample in samples)


def test_training_twice_gives_the_same_weights_and_calibration_inputs(artifact, tmp_path):
    again = train("digits", FEW, tmp_path / "artifacts", tmp_path / "runs")
    for file in ("weights.safetensors", "calibration.zip"):
        assert (again.folder / file).read_bytes() == (artifact.folder / file).read_bytes()


def test_the_best_epoch_is_kept(artifact):
    runs = artifact.folder.parents[1] / "runs"
    best = next(runs.rglob("*.ckpt"))
    weights = torch.load(best, weights_only=True)["state_dict"]
    assert all(torch.equal(weights[f"network.{name}"], value) for name, value in artifact.build_network().state_dict().items())


def test_a_label_may_hold_dollar_signs(tmp_path):
    """matplotlib would read them as mathematics."""
    (tmp_path / "prices.csv").write_text("label,text\n" + "$0-$50,cheap\nBa$$in,dear\n" * 8)
    short = [f"--data.root={tmp_path / 'prices.csv'}", "--trainer.max_epochs=1"]
    artifact = train("intents", short, tmp_path / "artifacts", tmp_path / "runs")
    assert artifact.labels == ["$0-$50", "Ba$$in"] and (artifact.folder / "report" / "confusion.png").exists()
