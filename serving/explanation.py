"""`make explain`: ask why a model answers as it does; write the picture, colour the words, draw the bars."""

import argparse
import base64
import json
from pathlib import Path
from typing import Any

import requests
from rich.console import Console
from rich.table import Table
from rich.text import Text
from urllib3.filepost import encode_multipart_formdata

from model_defs.errors import InputError
from model_defs.json_keys import without_duplicates
from serving.client import BYTES, Client
from serving.commands import JSON, chosen_input
from serving.errors import ServerError
from serving.state import StateDir

PARAMETERS = ("method", "target", "baseline", "steps", "samples", "noise", "over", "layer")
NUMBERS = {"steps": int, "samples": int, "noise": float}
BAR = 24  # characters of the longest bar
MAX_ROWS = 20  # of a table; the strongest ones
RED, BLUE = (214, 39, 40), (31, 119, 180)
SAID = ("label", "word", "entity_group", "value")  # the fields of an answer that say what was predicted
LISTS = ("columns", "moments", "bands", "stretches", "parts", "edges")  # what is shown as bars


def explain(home: StateDir, arguments: argparse.Namespace) -> int | None:
    """ask why a model answers one input as it does; write the picture to a file and print the weights"""
    given, content_type = chosen_input(arguments)
    payload = given.read_bytes() if isinstance(given, Path) else given.encode()
    chosen = {name: getattr(arguments, name) for name in PARAMETERS if getattr(arguments, name) is not None}
    body, content_type = body_of(payload, content_type, chosen | {"show": True})
    answer = Client.of(home).predict(arguments.model, body, content_type, arguments.version, "explanations")
    if answer.status_code != requests.codes.ok:
        print(answer.text)
        return 1
    show(arguments.model, answer.json(), write(arguments.out, arguments.model, answer.json()))
    return None


def body_of(payload: bytes, content_type: str, parameters: dict[str, Any]) -> tuple[bytes, str]:
    """An input with its parameters as one body, and the body's content type. A file that does not say what it is goes as a form's
    field, which the model reads as it reads the file alone.

    Raises:
        ServerError: a file of JSON that is none, or not the body of a request.
    """
    if content_type == JSON:
        try:
            given = json.loads(payload, object_pairs_hook=without_duplicates)
            both = given | {"parameters": (given.get("parameters") or {}) | parameters}
        except (ValueError, InputError, TypeError, AttributeError) as error:
            raise ServerError(f'the file is no body of a request, {{"inputs": ..., "parameters": {{...}}}}: {error}') from None
        return json.dumps(both).encode(), JSON
    fields = {name: json.dumps(value) if isinstance(value, bool) else str(value) for name, value in parameters.items()}
    return encode_multipart_formdata({"data": ("input", payload, BYTES), **fields})


def write(folder: Path, model: str, answer: dict[str, Any]) -> list[Path]:
    """Write what the answer has to look at, and the answer itself. Returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / f"{model}.json"]
    written[0].write_text(json.dumps(answer, indent=1, ensure_ascii=False), encoding="utf-8")
    if "picture" in answer:
        written.insert(0, folder / f"{model}.png")
        written[0].write_bytes(base64.b64decode(answer["picture"]))
    if "html" in answer:
        written.insert(0, folder / f"{model}.html")
        written[0].write_text(f'<meta charset="utf-8">{answer["html"]}', encoding="utf-8")
    return written


def show(model: str, answer: dict[str, Any], written: list[Path]) -> None:
    console = Console(width=None)
    console.print(headline(model, answer), highlight=False, soft_wrap=True)
    if "words" in answer:
        console.print(coloured(answer["words"]), soft_wrap=True)
    for name in LISTS:
        if answer.get(name):
            console.print(bars(name, answer[name]))
    for file in written:
        print(file)


def headline(model: str, answer: dict[str, Any]) -> str:
    """What is explained, how, and how exactly."""
    said = next((answer[name] for name in SAID if name in answer), "")
    target = answer.get("target")
    about = f", why {target!r}" if target not in (None, said) else ""
    error = "" if answer["error"] is None else f", error {answer['error']:.1%}"
    change = f"{answer['baseline_score']:.4g} without the input, {answer['target_score']:.4g} with it"
    return f"{model}: {said}{about}: {change}; {answer['method']}{error}"


def coloured(words: list[dict[str, Any]]) -> Text:
    """The words in their order, red if they raise the score and blue if they lower it."""
    strongest = max((abs(word["weight"]) for word in words), default=0) or 1
    text = Text()
    for word in words:
        share = abs(word["weight"]) / strongest
        red, green, blue = (round(share * level) for level in (RED if word["weight"] > 0 else BLUE))
        text.append(word["word"], style=f"white on rgb({red},{green},{blue})" if share > 0.05 else "")
        text.append(" ")
    return text


def bars(name: str, entries: list[dict[str, Any]]) -> Table:
    """A table of the entries with a bar for each weight. Of a long list, only the strongest."""
    strongest = max(abs(entry["weight"]) for entry in entries) or 1
    if len(entries) > MAX_ROWS:
        entries = sorted(entries, key=lambda entry: -abs(entry["weight"]))[:MAX_ROWS]
    table = Table(name, "weight", "")
    for entry in entries:
        said = [str(value) for key, value in entry.items() if key != "weight"]
        length = round(BAR * abs(entry["weight"]) / strongest)
        table.add_row(
            " ".join(said), f"{entry['weight']:+.4f}", Text("█" * length, style="red" if entry["weight"] > 0 else "blue")
        )
    return table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    for name in PARAMETERS:
        parser.add_argument(f"--{name}", type=NUMBERS.get(name, str), help="of the explanation; see docs/explanations.md")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/explanations"), help="folder of the pictures (default: %(default)s)"
    )
