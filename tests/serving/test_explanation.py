"""serving/explanation.py: the body that is sent, the files that are written, what a person reads."""

import base64
import json

import pytest
from rich.console import Console

from serving import explanation

WORDS = [{"word": "wake", "start": 0, "end": 4, "weight": 0.5}, {"word": "me", "start": 5, "end": 7, "weight": -0.25}]
ANSWER = {
    "label": "alarm",
    "score": 0.9,
    "target": "alarm",
    "target_score": 0.9,
    "baseline_score": 0.1,
    "method": "kernel_shap",
    "error": 0.012,
}


@pytest.mark.parametrize(
    ("payload", "content_type", "inputs"),
    [
        (b"\x89PNG", "application/octet-stream", base64.b64encode(b"\x89PNG").decode()),
        ("wake me, José".encode(), explanation.TEXT, "wake me, José"),
        (b'{"inputs": {"age": 3}, "parameters": {"top_k": 1}}', explanation.JSON, {"age": 3}),
    ],
)
def test_every_kind_of_input_is_sent_with_its_parameters(payload, content_type, inputs):
    assert explanation.as_json(payload, content_type, {"show": True}) == {"inputs": inputs, "parameters": {"show": True}}


def test_what_there_is_to_look_at_is_written_and_named_first(tmp_path):
    answer = ANSWER | {"picture": base64.b64encode(b"png").decode(), "html": "<p>wake</p>"}
    written = explanation.write(tmp_path / "new", "intents", answer)
    assert [file.name for file in written] == ["intents.html", "intents.png", "intents.json"]
    assert written[1].read_bytes() == b"png" and "<p>wake</p>" in written[0].read_text()
    assert json.loads(written[2].read_text()) == answer


def printed(given, colours: bool = False) -> str:
    console = Console(width=100, force_terminal=colours, color_system="truecolor" if colours else None)
    with console.capture() as captured:
        console.print(given)
    return captured.get()


def test_the_words_are_coloured_by_sign_and_strength():
    given = printed(explanation.coloured(WORDS), colours=True)
    assert "48;2;214;39;40mwake" in given and "48;2;16;60;90mme" in given


def test_bars_are_as_long_as_the_weights():
    columns = [{"column": "age", "value": 31, "weight": 0.4}, {"column": "job", "value": "nurse", "weight": -0.1}]
    age, job = [line for line in printed(explanation.bars("columns", columns)).splitlines() if "age" in line or "job" in line]
    assert "age 31" in age and "+0.4000" in age and age.count("█") == explanation.BAR and job.count("█") == explanation.BAR // 4


def test_the_headline_says_what_is_explained_and_how_exactly():
    assert explanation.headline("intents", ANSWER) == (
        "intents: alarm: 0.1 without the input, 0.9 with it; kernel_shap, error 1.2%"
    )
    assert ", why 'music'" in explanation.headline("intents", ANSWER | {"target": "music"})
    assert "error" not in explanation.headline("rows", {"value": 3} | ANSWER | {"label": 3, "error": None})
