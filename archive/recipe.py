"""A recipe is TorchServe's own `model-config.yaml`, verbatim; here it is checked, because TorchServe does not.

TorchServe 0.12 ignores a key that it does not know and takes its default for a value of the wrong type, with at most a line
in the log (ModelConfig.java). Knows nothing of artifacts or of how an archive is written.
"""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml
from msgspec import UNSET, Meta, UnsetType

import handlers
from handlers.base import Handler
from handlers.settings import Settings
from model_defs.build import did_you_mean
from model_defs.errors import BundleError

Count = Annotated[int, Meta(ge=1)]
Whole = Annotated[int, Meta(ge=0)]


class RecipeError(BundleError):
    """The recipe cannot be used; the message names the file, the line and what would be right."""


class Recipe(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The keys of `model-config.yaml` that TorchServe 0.12 reads, and ours under `handler`.

    The required ones are those whose absence does harm without a word: as many workers as cores, 100 ms of waiting for a
    batch, and two minutes in which a hung worker counts as busy.
    """

    minWorkers: Count
    maxWorkers: Count
    batchSize: Count
    maxBatchDelay: Annotated[int, Meta(ge=1, description="ms; 0 is taken for 100")]
    responseTimeout: Annotated[int, Meta(ge=1, description="s")]
    startupTimeout: Annotated[int, Meta(ge=1, description="s")]
    handler: Settings
    deviceType: Literal["cpu", "gpu"] | UnsetType = UNSET
    deviceIds: list[Whole] | UnsetType = UNSET
    jobQueueSize: Count | UnsetType = UNSET
    maxRetryTimeoutInSec: Whole | UnsetType = UNSET  # s
    clientTimeoutInMills: Whole | UnsetType = UNSET  # ms
    parallelType: Literal["pp", "tp", "pptp", "custom"] | UnsetType = UNSET
    parallelLevel: Count | UnsetType = UNSET
    torchrun: dict[str, Any] | UnsetType = UNSET
    useJobTicket: bool | UnsetType = UNSET
    asyncCommunication: bool | UnsetType = UNSET
    continuousBatching: bool | UnsetType = UNSET
    sequenceBatching: bool | UnsetType = UNSET
    sequenceMaxIdleMSec: Whole | UnsetType = UNSET
    sequenceTimeoutMSec: Whole | UnsetType = UNSET
    maxSequenceJobQueueSize: Count | UnsetType = UNSET
    maxNumSequence: Count | UnsetType = UNSET


def read(path: Path) -> Recipe:
    """
    Raises:
        RecipeError: no such file, no YAML, an unknown or repeated key, a missing one, a wrong type or value.
    """
    try:
        text = path.read_text(encoding="utf-8")
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
    except FileNotFoundError:
        known = sorted(recipe.stem for recipe in path.parent.glob("*.yaml"))
        raise RecipeError(f"{path}: no such recipe{did_you_mean(path.stem, known)}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not YAML: {error}") from None
    if not isinstance(tree, yaml.MappingNode):
        raise RecipeError(f"{path}:1: a recipe is keys and values, such as `batchSize: 8`")
    lines = lines_of(tree, path)
    try:
        recipe = msgspec.convert(yaml.safe_load(text), Recipe)
    except msgspec.ValidationError as error:
        raise RecipeError(explained(str(error), path, lines)) from None
    if recipe.minWorkers > recipe.maxWorkers:
        raise RecipeError(
            f"{path}:{lines['$.maxWorkers']}: maxWorkers {recipe.maxWorkers} is less than minWorkers "
            f"{recipe.minWorkers}; TorchServe would take neither"
        )
    return recipe


def schema() -> dict[str, Any]:
    """What this code takes as a recipe, as a JSON schema: its handlers and what each one's `init_args` may be included.

    It travels in the archive, so that a server can tell a recipe that the packed code does not know without running it.
    """
    whole = msgspec.json.schema(Recipe)
    section = whole["$defs"][Settings.__name__]
    known = handler_classes()
    section["properties"]["class_path"]["enum"] = sorted(known)
    section["allOf"] = [
        {
            "if": {"properties": {"class_path": {"const": class_path}}},
            "then": {"properties": {"init_args": arguments(known[class_path])}},
        }
        for class_path in sorted(known)
    ]
    return whole


def handler_classes() -> dict[str, type[Handler]]:
    """The classes that a recipe can name: those in `handlers` that say what they accept."""
    for module in pkgutil.iter_modules(handlers.__path__):
        if module.name != "torchserve":  # the entry, not a part of the package in the archive
            importlib.import_module(f"handlers.{module.name}")
    waiting, known = [Handler], {}
    while waiting:
        for found in waiting.pop().__subclasses__():
            waiting.append(found)
            if found.__module__.startswith("handlers.") and hasattr(found, "accepts"):
                known[f"{found.__module__}.{found.__name__}"] = found
    return known


def arguments(handler: type[Handler]) -> dict[str, Any]:
    """The schema of a handler's `init_args`: what its constructor takes beyond what every handler is given."""
    given = inspect.signature(Handler).parameters
    own = {name: each for name, each in inspect.signature(handler).parameters.items() if name not in given}
    is_open = any(parameter.kind is parameter.VAR_KEYWORD for parameter in own.values())
    return {"properties": {name: {} for name in own}, "additionalProperties": is_open}


def lines_of(tree: yaml.MappingNode, path: Path, at: str = "$") -> dict[str, int]:
    """The line of each key by its path, as msgspec writes it: `$.handler.precision`."""
    lines = {at: tree.start_mark.line + 1}
    for key, value in tree.value:
        name, line = f"{at}.{key.value}", key.start_mark.line + 1
        if name in lines:
            raise RecipeError(f"{path}:{line}: {key.value!r} stands on line {lines[name]} already")
        lines[name] = line
        if isinstance(value, yaml.MappingNode):
            lines |= lines_of(value, path, name) | {name: line}
    return lines


def explained(complaint: str, path: Path, lines: dict[str, int]) -> str:
    """msgspec's complaint -> one that names the line, and the nearest right key."""
    reason, _, at = complaint.partition(" - at ")
    at = re.sub(r"\[.*", "", at.strip("`") or "$")
    if match := re.search(r"unknown field `(.*)`", reason):
        known = (Settings if at == "$.handler" else Recipe).__struct_fields__
        return f"{path}:{lines[f'{at}.{match[1]}']}: unknown key {match[1]!r}{did_you_mean(match[1], known)}"
    if match := re.search(r"missing required field `(.*)`", reason):
        return f"{path}:{lines[at]}: {match[1]!r} is missing; say it, since what stands in for it does harm unseen"
    return f"{path}:{lines.get(at, 1)}: {at.removeprefix('$.')!r}: {reason[0].lower()}{reason[1:]}"
