"""Read a recipe: `archive/recipes/<model>.yaml` over `default.yaml`, which together are TorchServe's `model-config.yaml`.

It is checked here because TorchServe 0.12 does not: it ignores a key that it does not know, and takes its default for a value
of the wrong type, with at most a line in the log (ModelConfig.java).
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml
from msgspec import UNSET, Meta, UnsetType

from handlers import runtimes
from handlers.runtimes.runtime import RuntimeUnavailable
from handlers.settings import Settings
from model_defs.build import did_you_mean
from model_defs.errors import BundleError
from model_defs.yaml_keys import RepeatedKey, lines_of

DEFAULT = Path(__file__).with_name("recipes") / "default.yaml"  # what every model's own recipe changes or leaves

Count = Annotated[int, Meta(ge=1)]
Whole = Annotated[int, Meta(ge=0)]


class RecipeError(BundleError):
    """The recipe cannot be used; the message names the file, the line and what would be right."""


class Recipe(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The keys of `model-config.yaml` that TorchServe 0.12 reads, and ours under `handler`.

    A key is required where TorchServe's default does silent harm: as many workers as cores, 100 ms of waiting for a batch, two
    minutes in which a hung worker counts as busy.
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


class Source(msgspec.Struct):
    """One YAML file: what it holds, and the line of each key by the key's path as msgspec writes it, `$.handler.precision`."""

    path: Path
    values: dict[str, Any]
    lines: dict[str, int]

    def at(self, key: str) -> str:
        """`file:line` of the key, or of the file's first line if the key is not in it."""
        return f"{self.path}:{self.lines.get(key, 1)}"


def read(path: Path, default: Path = DEFAULT) -> Recipe:
    """The recipe in `path`, completed by `default`.

    Raises:
        RecipeError: no such file, not YAML, an unknown or repeated key, a missing one, a wrong type or value, or a runtime that
            does not have what is asked of it.
    """
    own, shared = parsed(path), parsed(default)
    try:
        recipe = msgspec.convert(merged(shared.values, own.values), Recipe)
    except msgspec.ValidationError as error:
        raise RecipeError(explained(str(error), own, shared)) from None
    if recipe.minWorkers > recipe.maxWorkers:
        wrong = "$.maxWorkers" if "$.maxWorkers" in own.lines else "$.minWorkers"
        raise RecipeError(
            f"{source_of(wrong, own, shared).at(wrong)}: maxWorkers {recipe.maxWorkers} is less than minWorkers "
            f"{recipe.minWorkers}; TorchServe would take neither"
        )
    check_runtime(recipe, own, shared)
    return recipe


def complete(path: Path, default: Path = DEFAULT) -> str:
    """The recipe as the archive holds it: one YAML file with the keys of both, `default`'s order first."""
    return yaml.safe_dump(merged(parsed(default).values, parsed(path).values), sort_keys=False, allow_unicode=True)


def parsed(path: Path) -> Source:
    """
    Raises:
        RecipeError: no such file, not YAML, or not keys and values.
    """
    try:
        text = path.read_text(encoding="utf-8")
        tree, values = yaml.compose(text, Loader=yaml.SafeLoader), yaml.safe_load(text)
    except FileNotFoundError:
        known = sorted(recipe.stem for recipe in path.parent.glob("*.yaml") if recipe.name != DEFAULT.name)
        raise RecipeError(f"{path}: no such recipe{did_you_mean(path.stem, known)}") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, or a date that does not exist
        raise RecipeError(f"{path}: not YAML: {error}") from None
    if not isinstance(tree, yaml.MappingNode):
        raise RecipeError(f"{path}:1: a recipe is keys and values, such as `batchSize: 8`")
    try:
        return Source(path, values, lines_of(tree, path))
    except RepeatedKey as error:
        raise RecipeError(str(error)) from None


def merged(shared: dict, own: dict) -> dict:
    """`shared` with the keys of `own`, mappings merged key by key."""
    inner = {key for key in shared.keys() & own.keys() if isinstance(shared[key], dict) and isinstance(own[key], dict)}
    return shared | own | {key: merged(shared[key], own[key]) for key in inner}


def check_runtime(recipe: Recipe, own: Source, shared: Source) -> None:
    """
    Raises:
        RecipeError: no such runtime, or one that does not have the precision or the device; or GPUs that are not used.
    """
    settings = recipe.handler

    def wrong(key: str, reason: str) -> RecipeError:
        return RecipeError(f"{source_of(key, own, shared).at(key)}: {reason}")

    try:
        runtime = runtimes.find(settings.runtime)
    except RuntimeUnavailable as error:
        raise wrong("$.handler.runtime", str(error)) from None
    if settings.precision not in runtime.precisions:
        hint = did_you_mean(settings.precision, runtime.precisions)
        raise wrong("$.handler.precision", f"runtime {settings.runtime} has no precision {settings.precision!r}{hint}")
    if recipe.deviceType != "cpu" and runtime.devices == ("cpu",):
        raise wrong("$.deviceType", f"runtime {settings.runtime} runs on the CPU only; write deviceType: cpu")
    if recipe.deviceType == "cpu" and "cpu" not in runtime.devices:
        raise wrong("$.deviceType", f"runtime {settings.runtime} runs on GPUs only; write deviceType: gpu")
    if recipe.deviceType == "cpu" and recipe.deviceIds is not UNSET:
        raise wrong("$.deviceIds", "deviceIds are of GPUs, and the recipe says deviceType: cpu; leave them out")


def source_of(key: str, own: Source, shared: Source) -> Source:
    """The file that a user changes for this key: their own, unless only the default has it."""
    return shared if key in shared.lines and key not in own.lines else own


def explained(complaint: str, own: Source, shared: Source) -> str:
    """msgspec's complaint as one that names the file, the line and the nearest right key."""
    reason, _, at = complaint.partition(" - at ")
    at = re.sub(r"\[.*", "", at.strip("`") or "$")
    if match := re.search(r"unknown field `(.*)`", reason):
        key, known = f"{at}.{match[1]}", (Settings if at == "$.handler" else Recipe).__struct_fields__
        return f"{source_of(key, own, shared).at(key)}: unknown key {match[1]!r}{did_you_mean(match[1], known)}"
    if match := re.search(r"missing required field `(.*)`", reason):
        if match[1] in ("handler", "class_path"):
            return (
                f"{own.at(at)}: 'class_path' is missing: name a handler: `handler: {{class_path: handlers.text.TextClassifier}}`"
            )
        return f"{own.at(at)}: {match[1]!r} is missing; say it, since what stands in for it does harm unseen"
    return f"{source_of(at, own, shared).at(at)}: {at.removeprefix('$.')!r}: {reason[0].lower()}{reason[1:]}"
