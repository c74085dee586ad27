"""A recipe with other settings, its comments and order kept.

Knows nothing of why they change.
"""

import io
from pathlib import Path

from ruamel.yaml import YAML

from bench.candidates import Candidate
from handlers.runtimes import RUNTIMES

MARK = "make tune"  # a comment that begins so is the last tuning's, and goes with it


def changed(text: str, candidate: Candidate) -> str:
    """The recipe's text with the candidate's settings; those that are defaults are left out of `handler:`."""
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


def write(file: Path, candidate: Candidate, why: str) -> None:
    """Into the recipe, with a comment at its top that says why."""
    text = file.read_text(encoding="utf-8")
    kept = [line for line in text.splitlines(keepends=True) if not line.startswith(f"# {MARK}")]
    file.write_text(f"# {MARK}, {why}\n" + changed("".join(kept), candidate), encoding="utf-8")
