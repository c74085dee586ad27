"""The configs of tables, series and pictures with texts on a user's CSV: from the command line to an artifact."""

import pytest
from PIL import Image

from train.__main__ import train


def rows(root):
    lines = [f"{20 + index},{'nurse' if index % 2 else 'baker'},{'yes' if index % 2 else 'no'}" for index in range(40)]
    (root / "own.csv").write_text("\n".join(["age,job,bought", *lines]))
    return ["--data.label=bought"]


def numbers(root):
    lines = [f"{index % 7},{3 * (index % 7)}" for index in range(40)]
    (root / "own.csv").write_text("\n".join(["age,target", *lines]))
    return ["--data.label=target"]


def series(root):
    (root / "own.csv").write_text("\n".join(["load", *(str(index % 6) for index in range(300))]))
    return ["--data.value=load", "--data.season=6", "--data.history=12", "--data.horizon=6", "--model.network.cell=LSTM"]


def pictures_with_texts(root):
    lines = []
    for index in range(20):
        Image.new("RGB", (20, 20), "red" if index % 2 else "blue").save(root / f"{index}.png")
        lines.append(f"{index}.png,is it red?,{'yes' if index % 2 else 'no'}")
    (root / "own.csv").write_text("\n".join(["image,text,label", *lines]))
    return ["--model.network.name=mobilenet_v3_small", "--model.transform.init_args.size=32"]


@pytest.mark.parametrize(
    ("name", "write"), [("trips", rows), ("diabetes", numbers), ("demand", series), ("questions", pictures_with_texts)]
)
def test_a_user_s_csv_becomes_an_artifact(name, write, tmp_path):
    given = [*write(tmp_path), f"--data.root={tmp_path / 'own.csv'}", "--trainer.max_epochs=2", "--data.batch_size=8"]
    artifact = train(name, given, tmp_path / "artifacts", tmp_path / "runs")
    assert artifact.metrics and artifact.samples() and artifact.example()
