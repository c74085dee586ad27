"""What the found network answers the inputs: each alone, and with neighbours in a batch."""

import math
import sys
from collections.abc import Iterable
from typing import Any

import torch
from rich.progress import track

from importers.found import Found, ImportRefused
from importers.inputs import Input
from model_defs.answer_diff import difference
from model_defs.errors import BundleError, InputError, first_line
from model_defs.transform import Transform

TOGETHER = 8
REFERENCE = 1e-3  # how far an output, before the softmax, may lie from that of the library that the model comes from
NEIGHBOURS = 1e-3  # how far a score may move with the neighbours in a batch: the recipe's own tolerance
FAILURES = (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError)  # of a network on an input


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
        except FAILURES as error:
            reason = first_line(error, 200)
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
    except (*FAILURES, BundleError) as error:
        return f"inputs cannot be answered together ({(str(error).splitlines() or ['?'])[0][:100]})"
    for each, one, other in zip(batch, answers, given, strict=False):
        if wrong := difference(other, one, NEIGHBOURS):
            return f"{each.file}: {wrong.replace('training says', 'alone it is')}"
    return None


def from_reference(found: Found, inputs: list[Input]) -> float:
    """The largest difference between the outputs here and those by the library that the model comes from.

    Raises:
        ImportRefused: they differ by more than `REFERENCE`, or that library fails on an input.
    """
    largest = 0.0
    for each in progress(inputs, "comparing"):
        sample = found.reads(each.payload)
        with torch.inference_mode():
            ours = found.reads.outputs(lambda tensors: found.built(*tensors), [sample])[0]
            try:
                own = found.reference(each.payload)
            except (OSError, *FAILURES) as error:
                reason = str(error)[:200]
                raise ImportRefused(f"TRY: {each.file}: its library fails on it ({reason}); give another input") from error
        distance = float((ours - own).abs().max()) if ours.shape == own.shape else math.inf
        if not distance <= REFERENCE:
            raise ImportRefused(
                f"{each.file}: the outputs differ from its library's own by {distance:.2g}, {REFERENCE} at most; "
                "this model cannot be imported exactly: give your own file of the network: ARGS='--network my_net.py:MyNet()'"
            )
        largest = max(largest, distance)
    return largest


def progress(values: Iterable, what: str) -> Iterable:
    return track(values, what, transient=True, disable=not sys.stdout.isatty())
