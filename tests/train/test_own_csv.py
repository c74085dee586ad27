"""The configs of rows, series and pairs, each on a CSV as one would have it: from the command line to an artifact."""

import pytest
from PIL import Image

from train.__main__ import train


def rows(root):
    lines = [f"{20 + place},{'nurse' if place % 2 else 'baker'},{'yes' if place % 2 else 'no'}" for place in range(40)]
    (root / "own.csv").write_text("\n".join(["age,job,bought", *lines]))
    return ["--data.label=bought"]


def numbers(root):
    lines = [f"{place % 7},{3 * (place % 7)}" for place in range(40)]
    (root / "own.csv").write_text("\n".join(["age,target", *lines]))
    return ["--data.label=target"]


def series(root):
    (root / "own.csv").write_text("\n".join(["load", *(str(place % 6) for place in range(300))]))
    return ["--data.value=load", "--data.season=6", "--data.history=12", "--data.horizon=6", "--model.network.cell=LSTM"]


def pairs(root):
    lines = []
    for place in range(20):
        Image.new("RGB", (20, 20), "red" if place % 2 else "blue").save(root / f"{place}.png")
        lines.append(f"{place}.png,is it red?,{'yes' if place % 2 else 'no'}")
    (root / "own.csv").write_text("\n".join(["image,text,label", *lines]))
    return ["--model.network.name=mobilenet_v3_small", "--model.transform.init_args.size=32"]


@pytest.mark.parametrize(("name", "write"), [("trips", rows), ("diabetes", numbers), ("demand", series), ("questions", pairs)])
def test_a_csv_of_ones_own_becomes_an_artifact(name, write, tmp_path):
    given = [*write(tmp_path), f"--data.root={tmp_path / 'own.csv'}", "--trainer.max_epochs=2", "--data.batch_size=8"]
    artifact = train(name, given, tmp_path / "artifacts", tmp_path / "runs")
    assert artifact.metrics and artifact.samples() and artifact.example()
