"""serving/evaluate.py: every disagreement is found and counted."""

import json
import subprocess
import sys
import zipfile

import pytest

from serving.errors import ServerError
from serving.evaluate import evaluate

pytestmark = pytest.mark.server


def test_set(file, entries):
    file.with_name("model.json").write_text('{"metrics": {"accuracy": 1.0, "f1": 1.0}}')
    with zipfile.ZipFile(file, "w") as archive:
        for entry in entries:
            archive.writestr(entry["file"], entry.pop("body", entry["truth"]))
        archive.writestr("expected.json", json.dumps(entries))
    return file


test_set.__test__ = False


def entry(index: int, **changes) -> dict:
    text = f"text {index}"
    return {"file": f"{index}.bin", "truth": text, "answer": [{"label": text, "score": changes.pop("score", 0.5)}]} | changes


def test_an_agreeing_server_has_no_disagreements(home, tmp_path):
    figures = evaluate(home, "echo", test_set(tmp_path / "test.zip", [entry(index) for index in range(40)]), clients=4)
    assert (figures.inputs, figures.metric, figures.value, figures.offline) == (40, "accuracy", 1.0, 1.0)
    assert figures.disagreements == []
    assert figures.requests_per_second > 0 and figures.p99_ms >= figures.p50_ms > 0


def test_another_label_another_score_and_a_failure_are_each_a_disagreement(home, tmp_path):
    entries = [
        entry(0),
        entry(1, body="other"),
        entry(2, score=0.502),
        entry(3, body=b"\xff"),  # the echo cannot decode it and fails
        entry(4, score=0.5005),
        entry(5, body="environment"),  # answered with an object, not a list
    ]
    figures = evaluate(home, "echo", test_set(tmp_path / "test.zip", entries), clients=2)
    assert [line.partition(":")[0] for line in figures.disagreements] == ["1.bin", "2.bin", "3.bin", "5.bin"]
    assert figures.value == pytest.approx(3 / 6)
    assert figures.failures == 1 and "4 disagreements (1 got no answer) in 6" in str(figures)


@pytest.mark.parametrize(("entries", "status"), [([entry(0)], 0), ([entry(0, body="other")], 1), ([entry(0, body=b"\xff")], 1)])
def test_the_command_ends_with_1_on_any_disagreement(home, tmp_path, entries, status):
    (tmp_path / "echo").mkdir()
    test_set(tmp_path / "echo" / "test.zip", entries)
    command = [sys.executable, "-m", "serving", "evaluate", "echo", "--home", home.folder, "--artifacts", tmp_path]
    assert subprocess.run(command, capture_output=True).returncode == status


def test_without_inputs_or_without_clients_the_message_says_so(home, tmp_path):
    empty = test_set(tmp_path / "test.zip", [])
    with pytest.raises(ServerError, match="the test set is empty"):
        evaluate(home, "echo", empty, clients=1)
    with pytest.raises(ServerError, match="--clients 1 or more"):
        evaluate(home, "echo", empty, clients=0)


def test_no_test_set_says_what_writes_one(home, tmp_path):
    with pytest.raises(ServerError, match="make train MODEL=echo"):
        evaluate(home, "echo", tmp_path / "test.zip", clients=1)
