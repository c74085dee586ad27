"""What the found network answers the inputs: each alone, and with neighbours in a batch."""

import sys
from collections.abc import Iterable
from typing import Any

import torch
from rich.progress import track

from importers.found import Found, ImportRefused
from importers.inputs import Input
from model_defs.answer_diff import difference
from model_defs.errors import BundleError, InputError
from model_defs.transform import Transform

TOGETHER = 8
NEIGHBOURS = 1e-3  # how far a score may move with the neighbours in a batch: the recipe's own tolerance


def alone(found: Found, inputs: list[Input], reads: Transform | None = None) -> list[Any]:
    """The answers, each input by itself.

    Args:
        reads: in place of the found transform.

    Raises:
        ImportRefused: an input that cannot be read, or a network that fails on it.
    """
    answers = []
    for each in progress(inputs, "answering"):
        try:
            answers += together(found, [each], reads)
        except InputError as error:
            raise ImportRefused(f"TRY: {each.file}: {error}") from error
        except BundleError as error:
            raise ImportRefused(f"TRY: {each.file}: {error}; is it the right preprocessing?") from error
        except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
            reason = (str(error).strip().splitlines() or [repr(error)])[0][:200]
            raise ImportRefused(f"TRY: {each.file}: the network fails on it ({reason}); is it the right size?") from error
    return answers


def together(found: Found, inputs: list[Input], reads: Transform | None = None) -> list[Any]:
    """The answers of one batch."""
    reads = reads or found.reads
    samples = [reads(each.payload) for each in inputs]
    with torch.inference_mode():
        outputs = reads.outputs(lambda tensors: found.built(*tensors), samples)
    return [found.answer(output, sample) for output, sample in zip(outputs, samples, strict=True)]


def changed_by_neighbours(found: Found, inputs: list[Input], answers: list[Any]) -> str | None:
    """The first input whose answer in a batch is not the one it gets alone, in words."""
    batch = inputs[:TOGETHER]
    if len(batch) == 1:
        return None
    try:
        given = together(found, batch)
    except (RuntimeError, ValueError) as error:
        return f"inputs cannot be answered together ({(str(error).splitlines() or ['?'])[0][:100]})"
    for each, one, other in zip(batch, answers, given, strict=False):
        if wrong := difference(other, one, NEIGHBOURS):
            return f"{each.file}: {wrong.replace('training says', 'alone it is')}"
    return None


def progress(values: Iterable, what: str) -> Iterable:
    return track(values, what, transient=True, disable=not sys.stdout.isatty())
