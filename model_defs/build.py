"""`{class_path, init_args}` -> object: the one convention for "which class, with what arguments".

The training config, `model.json` and the recipe's `handler:` section use it, as LightningCLI does. Only classes from named
packages are built, so a data file cannot name `os.system`.
"""

import difflib
import importlib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any

from model_defs.errors import BundleError, OwnCodeError, where

VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)  # *args, **kwargs
MAX_CHARS = 100  # of a word that is compared with the known ones; the comparison is quadratic
RENAMED = {  # class paths that artifacts and recipes had before version 0.2.0
    "handlers.fusion.PictureTextClassifier": "handlers.image_text.ImageTextClassifier",
    "model_defs.audio.Sound": "model_defs.audio.AudioTransform",
    "model_defs.fusion.Joined": "model_defs.image_text.LateFusion",
    "model_defs.fusion.PictureAndText": "model_defs.image_text.ImageTextTransform",
    "model_defs.graph.Graph": "model_defs.graph.GraphTransform",
    "model_defs.lstm.WordSequence": "model_defs.lstm.WordSequenceTransform",
    "model_defs.sequence.Recurrent": "model_defs.sequence.RecurrentForecaster",
    "model_defs.sequence.Series": "model_defs.sequence.SeriesTransform",
    "model_defs.table.Columns": "model_defs.table.TableTransform",
    "model_defs.table.Perceptron": "model_defs.table.MLPClassifier",
    "model_defs.table.Regressor": "model_defs.table.MLPRegressor",
    "model_defs.text.Words": "model_defs.text.NgramTransform",
    "model_defs.transformer.Pieces": "model_defs.transformer.SubwordTransform",
    "model_defs.vision.Letterbox": "model_defs.vision.LetterboxTransform",
    "model_defs.vision.Picture": "model_defs.vision.ImageTransform",
}


class SpecError(BundleError, ValueError):
    """A `{class_path, init_args}` that cannot be built. The message names the nearest class or argument."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`"; did you mean 'precision'?"`, or the list of known words if none is near."""
    known = sorted(known)
    near = difflib.get_close_matches(str(word)[:MAX_CHARS], known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"


def find_class(class_path: str, within: tuple[str, ...] = ("model_defs",)) -> type:
    """The class at `class_path`, which must be in one of the packages `within`.

    Raises:
        SpecError: it names another package, a module or a class that does not exist, or a class that was renamed.
        OwnCodeError: the module cannot be imported.
    """
    if new := RENAMED.get(str(class_path)):
        todo = "write that into the recipe" if new.startswith("handlers.") else "train the model again"
        raise SpecError(f"{class_path!r} is now called {new!r}: {todo}")
    module_name, _, name = str(class_path).rpartition(".")
    if module_name.partition(".")[0] not in within:
        raise SpecError(f"{class_path!r} is outside {' and '.join(within)}: only classes from there travel in an archive")
    try:
        module = imported(module_name)
    except OwnCodeError as error:
        missing = getattr(error.__cause__, "name", None) if isinstance(error.__cause__, ModuleNotFoundError) else None
        if not missing or not f"{module_name}.".startswith(f"{missing}."):
            raise  # the module exists, but it fails, or imports one that does not
        raise SpecError(f"no module {module_name!r}, named by class_path {class_path!r}") from None
    found = getattr(module, name, None)
    if not inspect.isclass(found) or found.__module__.partition(".")[0] not in within:  # it may only be imported there
        raise SpecError(f"no class {name!r} in {module_name}{did_you_mean(name, classes_of(module))}")
    return found


def imported(name: str) -> ModuleType:
    """A module of the project, which may be the user's own.

    Raises:
        OwnCodeError: it cannot be imported.
    """
    try:
        return importlib.import_module(name)
    except BundleError:
        raise
    except Exception as error:
        raise OwnCodeError(f"{name} cannot be imported: {where(error)}") from error


def classes_of(module) -> list[str]:
    """The names of the public classes that `module` itself defines."""
    return [
        name
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__ and not name.startswith("_")
    ]


def class_paths(spec: Any) -> Iterator[str]:
    """The class paths of a spec and of the specs among its arguments."""
    if isinstance(spec, Mapping):
        if isinstance(path := spec.get("class_path"), str):
            yield path
        for value in spec.values():
            yield from class_paths(value)


def complete(spec: Mapping[str, Any], facts: Mapping[str, Any], within: tuple[str, ...] = ("model_defs",)) -> dict:
    """The spec, with the facts of the data filled in, checked against the class's signature.

    A fact (`num_classes`, `vocab_size`, `channels`) fills the parameter of that name if the spec leaves it out or says None.

    Raises:
        SpecError: an unknown class, an unknown argument, or a required argument that is missing.
    """
    found = find_class(spec["class_path"], within)
    parameters = inspect.signature(found).parameters
    given = {key: value for key, value in (spec.get("init_args") or {}).items() if value is not None}
    for key in given:
        if key not in parameters:
            raise SpecError(f"{spec['class_path']} takes no {key!r}{did_you_mean(key, parameters)}")
    init_args = {key: value for key, value in facts.items() if key in parameters} | given
    for name, parameter in parameters.items():
        is_required = parameter.default is parameter.empty and parameter.kind not in VARIADIC
        if is_required and name not in init_args:
            raise SpecError(f"{spec['class_path']} needs {name!r}, which neither the config nor the data gives")
    return {"class_path": spec["class_path"], "init_args": init_args}


def build(spec: Mapping[str, Any], facts: Mapping[str, Any] | None = None, within: tuple[str, ...] = ("model_defs",)):
    """The object that the spec describes. For `facts` and the errors see `complete`."""
    whole = complete(spec, facts or {}, within)
    return find_class(whole["class_path"], within)(**whole["init_args"])
