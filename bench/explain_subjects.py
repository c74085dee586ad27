"""A model's artifact, and what is explained of its test inputs, for `make explain-check`."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch.nn.functional import normalize

from archive import recipe as recipes
from handlers import base
from handlers.base import Handler
from handlers.embeddings import FeatureExtractor
from handlers.explain.subject import Subject
from handlers.request import RawRequest
from model_defs.artifact import TEST
from model_defs.errors import BundleError


def loaded(folder: Path, device: str = "cpu") -> Handler:
    """The artifact's handler as its recipe says, on the eager network.

    Args:
        device: such as "cuda:0".
    """
    recipe = recipes.read(Path("archive/recipes") / f"{folder.name}.yaml")
    section = {"class_path": recipe.handler.class_path, "init_args": recipe.handler.init_args, "threads": 1}
    return base.load(folder, section, device)


class Asked(NamedTuple):
    """An input, and the parameters with which its explanation is asked for.

    Args:
        file: its name.
    """

    file: str
    payload: bytes
    parameters: Mapping[str, Any] = MappingProxyType({})


def inputs(handler: Handler, folder: Path | None, most: int) -> tuple[str, list[Asked]]:
    """What is explained, and where it comes from, in words: the test set, or a folder of a person's own inputs.

    Without either, as after an import without labels, they are the artifact's samples.

    Raises:
        BundleError: the folder has no inputs, or none are asked for.
    """
    if most < 1:
        raise BundleError(f"--inputs {most}: give 1 or more")
    if folder:
        files = sorted(file for file in folder.iterdir() if file.is_file()) if folder.is_dir() else []
        if not files:
            raise BundleError(f"--try {folder}: no inputs there; give a folder of texts, pictures or others that the model takes")
        return str(folder), asked(handler, spread([(file.name, file.read_bytes()) for file in files], most))
    is_tested = (handler.artifact.folder / TEST).exists()
    found = handler.artifact.test_set() if is_tested else handler.artifact.samples()
    where = "the test set" if is_tested else "the artifact's samples, because it has no test set"
    return where, asked(handler, spread([(sample.file, payload) for sample, payload in found], most))


def asked(handler: Handler, given: list[tuple[str, bytes]]) -> list[Asked]:
    """Inputs by their names -> what is asked of each. A text's vector is compared with the one most like it of the others."""
    if not isinstance(handler, FeatureExtractor) or not given:
        return [Asked(*one) for one in given]
    vectors = normalize(torch.stack(handler.inference([handler.transform(payload) for _, payload in given])))
    alike = (vectors @ vectors.T).fill_diagonal_(-2)  # below any cosine, so that a text is not its own target
    return [
        Asked(file, payload, {"target": given[other][1].decode()})
        for (file, payload), other in zip(given, alike.argmax(1).tolist(), strict=True)
    ]


def spread(values: list, most: int) -> list:
    """At most so many from all over a list, which may be sorted by label."""
    places = [index * len(values) // most for index in range(most)] if len(values) > most else range(len(values))
    return [values[place] for place in places]


def subject_of(handler: Handler, one: Asked, **parameters: Any) -> Subject | None:
    """What is explained of an input; None if there is nothing, such as in a picture without objects."""
    chosen = {**one.parameters, **parameters}
    row = RawRequest({"body": one.payload, **({"parameters": json.dumps(chosen)} if chosen else {})}, explain=True)
    request = handler.read(row)
    sample = handler.preprocess(request)
    (output,) = handler.inference([sample])
    try:
        return handler.subject(output, sample, request)
    except BundleError:
        return None
