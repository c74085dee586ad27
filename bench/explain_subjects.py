"""A model's artifact, and what is explained of its test inputs, for `make explain-check`."""

import json
from pathlib import Path
from typing import Any

from archive import recipe as recipes
from handlers import base
from handlers.base import Handler
from handlers.explain.subject import Subject
from handlers.request import RawRequest
from model_defs.artifact import Sample
from model_defs.errors import BundleError


def loaded(folder: Path, device: str = "cpu") -> Handler:
    """The artifact's handler as its recipe says, on the eager network.

    Args:
        device: such as "cuda:0".
    """
    recipe = recipes.read(Path("archive/recipes") / f"{folder.name}.yaml")
    section = {"class_path": recipe.handler.class_path, "init_args": recipe.handler.init_args, "threads": 1}
    return base.load(folder, section, device)


def spread(test_set: list[tuple[Sample, bytes]], most: int) -> list[tuple[Sample, bytes]]:
    """At most so many inputs from all over the test set, which may be sorted by label."""
    places = [index * len(test_set) // most for index in range(most)] if len(test_set) > most else range(len(test_set))
    return [test_set[place] for place in places]


def subject_of(handler: Handler, payload: bytes, **parameters: Any) -> Subject | None:
    """What is explained of an input; None if there is nothing, such as a picture without objects."""
    row = RawRequest({"body": payload, **({"parameters": json.dumps(parameters)} if parameters else {})}, explain=True)
    request = handler.read(row)
    sample = handler.preprocess(request)
    (output,) = handler.inference([sample])
    try:
        return handler.subject(output, sample, request)
    except BundleError:
        return None
