"""Change settings in a recipe's text; its comments and order stay."""

import io
from pathlib import Path

from ruamel.yaml import YAML

from bench.candidates import Candidate
from handlers.runtimes import RUNTIMES

MARK = "make tune"  # begins the comment of a tuning; the next tuning removes it


def changed(text: str, candidate: Candidate) -> str:
    """The recipe's text with the candidate's settings. `handler:` gets no settings that equal the defaults."""
    yaml = YAML()
    yaml.width, yaml.preserve_quotes = 130, True
    tree = yaml.load(text)
    tree.update(candidate.recipe())
    if "cuda" not in RUNTIMES[candidate.runtime].devices:
        tree["deviceType"] = "cpu"
    for name in ("runtime", "precision", "channels_last", "threads", "lone_threads", "decoders"):
        tree["handler"].pop(name, None)
    tree["handler"].update(candidate.handler())
    file = io.StringIO()
    yaml.dump(tree, file)
    return file.getvalue()


def write(file: Path, candidate: Candidate, reason: str) -> None:
    """Write the candidate's settings into the recipe, with the reason as a comment at the top."""
    text = file.read_text(encoding="utf-8")
    kept = [line for line in text.splitlines(keepends=True) if not line.startswith(f"# {MARK}")]
    file.write_text(f"# {MARK}, {reason}\n" + changed("".join(kept), candidate), encoding="utf-8")
