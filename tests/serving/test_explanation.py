"""serving/explanation.py: the body that is sent, the files that are written, what a person reads."""

import base64
import json
from email import message_from_bytes

import msgspec
import pytest
from rich.console import Console

from handlers.request import RawRequest, parse_request
from handlers.tables import ROW
from handlers.text import TEXT as WORDS_OF
from handlers.vision import PICTURE
from serving import explanation
from serving.client import BYTES
from serving.commands import JSON, TEXT
from serving.errors import ServerError

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
    ("payload", "content_type", "kind", "expected"),
    [
        (b"\x89PNG", BYTES, PICTURE, b"\x89PNG"),
        ("wake me, José".encode(), TEXT, WORDS_OF, "wake me, José"),
        ("wake me, José".encode(), BYTES, WORDS_OF, "wake me, José"),  # a file notes.md
        (b'{"inputs": {"age": 3}, "parameters": {"target": "yes"}}', JSON, ROW, {"age": 3}),
    ],
)
def test_every_kind_of_input_is_sent_with_its_parameters(payload, content_type, kind, expected):
    body, content_type = explanation.body_of(payload, content_type, {"steps": 8, "show": True})
    # As TorchServe hands it over: the fields of a form, or the value of a body of JSON.
    raw = RawRequest(form(body, content_type) if content_type != JSON else {"body": json.loads(body)}, content_type)
    request = parse_request(raw, kind, Parameters)
    payload = request.payload.decode() if isinstance(expected, str) and isinstance(request.payload, bytes) else request.payload
    assert payload == expected and request.parameters.steps == 8 and request.parameters.show is True
    assert request.parameters.target == ("yes" if content_type == JSON else None)


@pytest.mark.parametrize(
    "payload", [b"[1, 2]", b"{", b'{"inputs": 1, "parameters": [2]}', b'{"inputs": 1, "inputs": 2}', b"\xff"]
)
def test_a_file_of_json_that_is_no_request_is_one_line(payload):
    with pytest.raises(ServerError, match="the file is no body of a request"):
        explanation.body_of(payload, JSON, {"show": True})


class Parameters(msgspec.Struct):
    steps: int
    show: bool
    target: str | None = None


def form(body: bytes, content_type: str) -> dict[str, bytes]:
    parts = message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body).get_payload()
    return {part.get_param("name", header="content-disposition"): part.get_payload(decode=True) for part in parts}


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
