"""EXPECT: whether the imported model answers as its owner's own code does, and if not, at which step they part.

Own answers are a JSON file, or `predict.py:answer`, a function of the owner's that runs once in a process of its own.
"""

import json
import math
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from importers import answers
from importers.found import Found, ImportRefused, OwnCodeFails
from importers.inputs import Input
from model_defs.answer_diff import difference
from model_defs.build import did_you_mean
from model_defs.errors import WrongValue
from model_defs.json_keys import without_duplicates

SECONDS = 600  # that the owner's code may take
MAX_BYTES = 200 << 20
SHOWN = 20  # labels in a message
FORMS = '{"cat.jpg": {"label": score, ...}, ...}'
RUN = """
import importlib.util, json, sys
file, function, out, *inputs = sys.argv[1:]
sys.path.insert(0, ".")
spec = importlib.util.spec_from_file_location("owner", file)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
answers = [getattr(module, function)(path) for path in inputs]
as_number = lambda value: value.tolist() if hasattr(value, "tolist") else float(value)
open(out, "w", encoding="utf-8").write(json.dumps(answers, default=as_number))
"""


def expected(given: str, inputs: list[Input]) -> tuple[dict[str, Any], list[str]]:
    """The owner's answers by the inputs' files, and the names of the others.

    Raises:
        ImportRefused: no such file, another form, a failing function, or an answer to none of the inputs.
    """
    file, _, function = given.rpartition(":")
    try:
        known = run(Path(file), function, inputs) if file.endswith(".py") else parsed(content(Path(given)))
    except (OSError, ValueError, RecursionError, WrongValue) as error:
        raise ImportRefused(f"EXPECT={given}: {str(error)[:200]}; give {FORMS}, or predict.py:answer") from None
    if not isinstance(known, dict):
        raise ImportRefused(f"EXPECT={given}: answers without the names of their inputs; give {FORMS}")
    count = Counter(Path(each.file).name for each in inputs)
    named = {each.file: [each.file, *([Path(each.file).name] if count[Path(each.file).name] == 1 else [])] for each in inputs}
    used = {file: next(name for name in names if name in known) for file, names in named.items() if known.keys() & names}
    if not used:
        raise ImportRefused(f"EXPECT={given} has no answer to {inputs[0].file} or any other input of TRY; give {FORMS}")
    return {file: known[name] for file, name in used.items()}, sorted(map(str, known.keys() - used.values()))


def content(file: Path) -> str:
    if file.stat().st_size > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES >> 20} MiB")
    return file.read_text(encoding="utf-8-sig")


def parsed(text: str) -> Any:
    """JSON -> its value. A NaN is a ValueError, a key that is there twice a WrongValue."""
    return json.loads(text, parse_constant=no_number, object_pairs_hook=without_duplicates)


def no_number(name: str) -> float:
    raise ValueError(f"{name} is no score")


def run(file: Path, function: str, inputs: list[Input]) -> dict[str, Any]:
    """What the owner's function answers the path of each input, from a process of its own."""
    if not file.is_file():
        raise ImportRefused(f"EXPECT={file}:{function}: no such file")
    with tempfile.TemporaryDirectory() as work:
        paths = []
        for index, each in enumerate(inputs):
            paths.append(Path(work, f"{index}-{Path(each.file).name}"))
            paths[-1].write_bytes(each.payload)
        out = Path(work, "answers.json")
        command = [sys.executable, "-c", RUN, file.resolve(), function, out, *paths]
        try:
            done = subprocess.run(command, cwd=file.parent, capture_output=True, text=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise ImportRefused(f"EXPECT={file}:{function} took more than {SECONDS} s; give fewer inputs") from None
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no output"])[-1][:300]
            raise OwnCodeFails(f"EXPECT={file}:{function} failed: {last}") from RuntimeError(f"what it printed:\n{done.stderr}")
        return {each.file: answer for each, answer in zip(inputs, parsed(content(out)), strict=True)}


def compare(found: Found, inputs: list[Input], given: list[Any], owners: dict[str, Any], tolerance: float) -> float:
    """The largest difference of a score.

    Raises:
        ImportRefused: a label or a score differs. The message has both answers and the step at which they part. Or the owner's
            answer has a label that the model does not have.
    """
    largest, differing = 0.0, []
    for each, answer in zip(inputs, given, strict=True):
        if each.file in owners:
            wrong, distance = apart(answer, owners[each.file], tolerance)
            if strange := unknown_label(found, answer, owners[each.file]):
                raise ImportRefused(f"EXPECT: {each.file}: {strange}")
            if wrong:
                differing.append((each, answer, wrong))
            largest = max(largest, distance)
    if differing:
        each, answer, wrong = differing[0]
        step = parting(found, [each for each, *_ in differing], owners, tolerance)
        raise ImportRefused(
            f"{each.file}: the import answers {shown(answer)}, your code {shown(owners[each.file])}: {wrong}. {step}"
        )
    return largest


def apart(answer: Any, own: Any, tolerance: float) -> tuple[str | None, float]:
    """What sets the answer apart from the owner's, in words, and the largest difference of a score."""
    if is_scored(answer) and (isinstance(own, str) or (scores := as_scores(own)) is not None):
        ours = as_scores(answer)
        first = max(ours, key=ours.get)
        if isinstance(own, str):
            return (None if first == own else f"the label is {first!r}, not {own!r}"), 0.0
        shared = ours.keys() & scores.keys()
        if not shared:
            return "no label is in both answers", math.inf
        largest = max(abs(ours[label] - scores[label]) for label in shared)
        if not largest <= tolerance:  # a NaN, too
            return f"a score differs by {largest:.4f}", largest
        best = max(scores, key=scores.get)
        if best not in ours or scores[best] - scores.get(first, -math.inf) > tolerance:
            return f"the label is {first!r}, not {best!r}", largest
        return None, largest
    wrong = difference(answer, own, tolerance)
    return (wrong and wrong.replace("training says", "yours is")), 0.0


def unknown_label(found: Found, answer: Any, own: Any) -> str | None:
    """The label in the owner's answer that the model does not have, in words."""
    strange = (as_scores(own) or {}).keys() - {*found.labels} if found.labels and is_scored(answer) else ()
    return f"the model has no label {min(strange)!r}{did_you_mean(min(strange), found.labels[:SHOWN])}" if strange else None


def is_scored(answer: Any) -> bool:
    return isinstance(answer, list) and all(isinstance(each, dict) and each.keys() == {"label", "score"} for each in answer)


def as_scores(own: Any) -> dict[str, float] | None:
    """{label: score}, [{"label", "score"}] or [[label, score]] -> {label: score}; None if it is another thing."""
    try:
        if isinstance(own, dict) and own.keys() == {"label", "score"}:
            own = [own]
        if isinstance(own, list):
            own = {each["label"]: each["score"] for each in own} if isinstance(own[0], dict) else dict(own)
        return {str(label): float(score) for label, score in own.items()} or None
    except (TypeError, ValueError, KeyError, IndexError, AttributeError):
        return None


def parting(found: Found, inputs: list[Input], owners: dict[str, Any], tolerance: float) -> str:
    """The step at which the two part, as far as trying shows it: labels, scores, pixels or network.

    Args:
        inputs: those whose answers differ.
    """
    inputs = inputs[:4]
    given = answers.alone(found, inputs)
    if is_permuted(given, [owners[each.file] for each in inputs], tolerance):
        return "The scores are the same under other labels: the labels stand in another order; put LABELS right"
    for flags, reads in found.variants.items():
        try:
            others = answers.alone(found, inputs, reads)
        except ImportRefused:
            continue
        if all(not apart(other, owners[each.file], tolerance)[0] for each, other in zip(inputs, others, strict=True)):
            return f"They part at the {found.inputs}, before the network: with ARGS='{flags}' the answers are the same"
    return "Neither the labels' order nor a usual preprocessing is the cause: the network, the scores, or your own preprocessing"


def is_permuted(given: list[Any], owners: list[Any], tolerance: float) -> bool:
    for answer, own in zip(given, owners, strict=True):
        ours, scores = (as_scores(answer) if is_scored(answer) else None), as_scores(own)
        if not ours or not scores or len(ours) != len(scores):
            return False
        pairs = zip(sorted(ours.values()), sorted(scores.values()), strict=True)
        if any(abs(one - other) > tolerance for one, other in pairs):
            return False
    return True


def shown(answer: Any) -> str:
    scores = as_scores(answer)
    if scores is None:
        return repr(answer)[:200]
    best = sorted(scores.items(), key=lambda pair: -pair[1])[:3]
    return ", ".join(f"{label} {score:.4f}" for label, score in best)
