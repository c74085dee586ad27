"""Write other settings into a model's recipe; its comments and the order of its keys are kept."""

import io
from pathlib import Path

from ruamel.yaml import YAML

from archive import recipe
from bench.candidates import Candidate
from handlers import runtimes

MARK = "make tune"  # begins the comment that a tuning writes and the next one removes
SETTINGS = ("runtime", "precision", "channels_last", "threads", "lone_threads", "decoders")


def changed(text: str, candidate: Candidate) -> str:
    """The recipe's text with the candidate's settings, without those of `handler:` that are defaults."""
    yaml = YAML()
    yaml.width, yaml.preserve_quotes = 130, True
    tree = yaml.load(text)
    on_gpu = "cuda" in runtimes.find(candidate.runtime).devices
    keys = candidate.recipe() | ({} if on_gpu else {"deviceType": "cpu"})
    for index, (key, value) in enumerate(keys.items()):
        if key in tree:
            tree[key] = value
        else:
            tree.insert(index, key, value)  # above `handler:`, as in the default recipe
    # What the default recipe sets would replace a default that is left out here.
    stated = candidate.handler().keys() | recipe.parsed(recipe.DEFAULT).values.get("handler", {}).keys()
    for name in SETTINGS:
        tree["handler"].pop(name, None)
        if name in stated:
            tree["handler"][name] = getattr(candidate, name)
    file = io.StringIO()
    yaml.dump(tree, file)
    return file.getvalue()


def write(file: Path, candidate: Candidate, why: str) -> None:
    """Write the settings into the recipe, with a comment at its top that says why."""
    text = file.read_text(encoding="utf-8")
    kept = [line for line in text.splitlines(keepends=True) if not line.startswith(f"# {MARK}")]
    file.write_text(f"# {MARK}, {why}\n" + changed("".join(kept), candidate), encoding="utf-8")
