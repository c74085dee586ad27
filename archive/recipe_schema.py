"""The JSON schema of the recipes that an archive's code takes. It travels in the archive.

With it, a server can refuse a recipe that the packed code does not know without running that code.
"""

import inspect
import pkgutil
from collections.abc import Iterable
from typing import Any

import msgspec

import handlers
from archive.recipe import Recipe
from handlers import runtimes
from handlers.base import Handler
from handlers.settings import Settings
from model_defs.build import imported

ENTRY = "torchserve"  # TorchServe's entry lies at the archive's root, not in the package


def schema(modules: Iterable[str]) -> dict[str, Any]:
    """The schema of a recipe for an archive that holds these modules: their handlers, what each one's `init_args` may be, and
    their runtimes with these runtimes' precisions."""
    whole = msgspec.json.schema(Recipe)
    section = whole["$defs"][Settings.__name__]
    held = [name for name in runtimes.names() if f"{runtimes.__name__}.{name}" in modules]
    known = handler_classes(modules)
    section["properties"]["class_path"]["enum"] = sorted(known)
    section["properties"]["runtime"]["enum"] = held
    section["properties"]["precision"]["enum"] = sorted({each for name in held for each in runtimes.find(name).precisions})
    section["allOf"] = [
        {
            "if": {"properties": {"class_path": {"const": class_path}}},
            "then": {"properties": {"init_args": arguments(known[class_path])}},
        }
        for class_path in sorted(known)
    ]
    return whole


def handler_classes(modules: Iterable[str] | None = None) -> dict[str, type[Handler]]:
    """The classes that a recipe can name, by class path: those that say what they accept, in these modules or in all."""
    if modules is None:
        modules = [name for _, name, _ in pkgutil.walk_packages(handlers.__path__, "handlers.")]
    chosen = [name for name in modules if name.startswith("handlers.") and name != f"handlers.{ENTRY}"]
    return {
        f"{name}.{value.__name__}": value
        for name in chosen
        for value in vars(imported(name)).values()
        if inspect.isclass(value) and issubclass(value, Handler) and hasattr(value, "accepts") and value.__module__ == name
    }


def arguments(handler: type[Handler]) -> dict[str, Any]:
    """The schema of a handler's `init_args`: what its constructor takes beyond what every handler is given."""
    given = inspect.signature(Handler).parameters
    own = {name: each for name, each in inspect.signature(handler).parameters.items() if name not in given}
    is_open = any(parameter.kind is parameter.VAR_KEYWORD for parameter in own.values())
    return {"properties": {name: {} for name in own}, "additionalProperties": is_open}
