"""Write what was found as an ordinary artifact, `artifacts/<name>/`, and as `archive/recipes/<name>.yaml`."""

import hashlib
import json
import math
import re
import shutil
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any

import yaml

from importers.found import Found, ImportRefused, Question
from importers.inputs import Input
from model_defs import artifact as files
from model_defs.artifact import Artifact, Sample
from model_defs.build import class_paths
from model_defs.bundle_format import fault_of_name
from model_defs.metrics import measure

ARTIFACTS, CONFIGS, RECIPES = Path("artifacts"), Path("train/configs"), Path("archive/recipes")
EAGER = "eager"  # the runtime that every network of torch's has
DEFAULT = "default.yaml"  # where the recipes have one, a recipe says only what differs
SOURCE = "imported"
MAX_SAMPLES, MAX_CALIBRATION = 8, 256
FEW = 8  # so few inputs with a label are both the test set and the calibration
CALIBRATION_SHARE = 4  # of more of them, every fourth is for the calibration
SETTINGS = """minWorkers: 1
maxWorkers: 2
batchSize: 8
maxBatchDelay: 1         # ms; under load the queue fills batches without waiting
responseTimeout: 30      # s
startupTimeout: 120      # s
deviceType: gpu          # the CPU where there is none
"""


def check(flags: Namespace, project: Path) -> None:
    """
    Raises:
        ImportRefused: no name for a model, or that of a model that was trained here.
        ArtifactError: what is there is no artifact, or holds what the new one is made of.
    """
    name = flags.name
    if fault := fault_of_name(name):
        raise ImportRefused(f"NAME: {fault}")
    if (config := project / CONFIGS / f"{name}.yaml").exists():
        raise ImportRefused(f"NAME={name}: {config} trains a model of that name; take another name")
    model = project / ARTIFACTS / name / files.MODEL
    if model.exists() and source_of(model) != SOURCE:
        raise ImportRefused(f"NAME={name}: {model} was not imported; take another name, or remove what is there")
    own, expect = flags.network.partition(".py:"), flags.expect.partition(".py:")
    given = [flags.source, flags.labels, flags.inputs, *(f"{file}.py" if colon else file for file, colon, _ in (own, expect))]
    files.check_replaceable(model.parent, [Path(each) for each in given if each])


def source_of(model: Path) -> str | None:
    """Where a model.json says that its model comes from; None if it does not."""
    try:
        return json.loads(model.read_bytes())["data"]["source"]
    except (ValueError, LookupError, TypeError):
        return None


def write(
    question: Question, found: Found, inputs: list[Input], answers: list[Any], compared: str, project: Path, is_alone: bool
) -> tuple[list[Path], bool]:
    """Write the artifact, the recipe and the network's own code, and return their paths, and whether the recipe is new.

    An artifact of an earlier import is replaced.

    Args:
        compared: with what the answers were compared, in words.
        is_alone: whether an answer depends on its neighbours, so that the recipe says `batchSize: 1`.

    Raises:
        ImportRefused: the recipe that is there is not for this model.
    """
    recipe = project / RECIPES / f"{question.name}.yaml"
    is_new = check_recipe(recipe, found, is_alone)
    final = project / ARTIFACTS / question.name
    final.parent.mkdir(parents=True, exist_ok=True)
    for path, code in found.code.items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_bytes(code)
    with tempfile.TemporaryDirectory(prefix=f".{question.name}-", dir=final.parent) as work:
        folder = Path(work, question.name)
        write_artifact(folder, question, found, inputs, answers, compared)
        if final.exists():
            shutil.rmtree(final)
        folder.rename(final)
    if is_new:
        recipe.parent.mkdir(parents=True, exist_ok=True)
        recipe.write_text(recipe_of(found, (recipe.parent / DEFAULT).exists(), is_alone), encoding="utf-8")
    return [final, recipe, *(project / path for path in found.code)], is_new


def check_recipe(recipe: Path, found: Found, is_alone: bool) -> bool:
    """Whether the recipe is to be written; for the error see `write`."""
    if not recipe.exists():
        return True
    try:
        settings = yaml.safe_load(recipe.read_text(encoding="utf-8"))
        handler = settings["handler"]
        given = handler["class_path"], handler.get("runtime", EAGER), settings.get("batchSize")
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError):
        given = "no handler", EAGER, None
    wanted = (
        found.handler,
        given[1] if found.runtime == EAGER or given[1] != EAGER else found.runtime,
        1 if is_alone else given[2],
    )
    for key, is_there, needed in zip(("handler", "runtime", "batchSize"), given, wanted, strict=True):
        if is_there != needed:
            has = "none" if is_there is None else is_there
            raise ImportRefused(f"{recipe} has {key} {has}; this model needs {needed}: change it, or remove the file")
    return False


def recipe_of(found: Found, has_default: bool, is_alone: bool) -> str:
    settings = "" if has_default else SETTINGS
    if is_alone:
        line = "batchSize: 1             # an answer depends on its neighbours in a batch\n"
        settings = settings.replace("batchSize: 8\n", line) if settings else line
    if found.device:
        line = f"deviceType: {found.device}\n"
        settings = re.sub(r"deviceType: .*\n", line, settings) if "deviceType" in settings else settings + line
    return f"{settings}handler:\n  class_path: {found.handler}\n  runtime: {found.runtime}\n"


def write_artifact(
    folder: Path, question: Question, found: Found, inputs: list[Input], answers: list[Any], compared: str
) -> None:
    digits = len(str(len(inputs) - 1))
    answered = [
        (Sample(f"{index:0{digits}}{Path(each.file).suffix.lower()}", each.truth, answer), each.payload)
        for index, (each, answer) in enumerate(zip(inputs, answers, strict=True))
    ]
    labelled = [pair for pair in answered if pair[0].truth is not None and found.metric]
    calibration = labelled if len(labelled) <= FEW else labelled[::CALIBRATION_SHARE]
    test = labelled if len(labelled) <= FEW else [pair for pair in labelled if pair not in calibration]
    artifact = Artifact(
        name=question.name,
        network=found.network,
        transform=found.transform,
        labels=found.labels,
        metrics={found.metric: measure(found.metric)([each.answer for each, _ in test], [each.truth for each, _ in test])}
        if test
        else {},
        data={"source": SOURCE, "file": question.source.name, "sha256": digest(question.source), "compared": compared}
        | ({"examples": {"test": len(test), "calibration": len(calibration)}} if test else {}),
        versions=files.versions(*class_paths(found.network), *class_paths(found.transform)),
        folder=folder,
    )
    artifact.write(found.built, found.reads)
    files.write_samples(folder / files.SAMPLES, samples(answered))
    if test:
        files.write_test_set(folder / files.TEST, test)
        kept = calibration[:: math.ceil(len(calibration) / MAX_CALIBRATION)]
        files.write_calibration(folder / files.CALIBRATION, [(each.file, payload) for each, payload in kept])


def samples(answered: list[tuple[Sample, bytes]]) -> list[tuple[Sample, bytes]]:
    """The first input of each label, or the first inputs where no label is known; at most a few."""
    first: dict[Any, tuple[Sample, bytes]] = {}
    for sample, payload in answered:
        first.setdefault(sample.file if sample.truth is None else sample.truth, (sample, payload))
    return sorted(first.values(), key=lambda pair: pair[0].file)[:MAX_SAMPLES]


def digest(source: Path) -> str:
    """The SHA-256 of a file, or of a folder's files and their names."""
    whole = hashlib.sha256()
    for file in [source] if source.is_file() else sorted(each for each in source.rglob("*") if each.is_file()):
        if source.is_dir():
            whole.update(f"{file.relative_to(source).as_posix()}\0".encode())
        with file.open("rb") as opened:
            if source.is_file():
                return hashlib.file_digest(opened, "sha256").hexdigest()
            whole.update(hashlib.file_digest(opened, "sha256").digest())
    return whole.hexdigest()
