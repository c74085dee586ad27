"""The tensors of answers in the Open Inference Protocol: which ones a model gives, and their values.

The first axis is the inputs. Answers with several entries, such as labels, have them along the second axis.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import inspect

from handlers.tensors import BYTES, Tensor

FILL = {BYTES: "", "FP32": 0.0, "INT32": 0}  # the values of an input that has no answer, or fewer entries than others


class Output(msgspec.Struct, frozen=True):
    """A tensor that a model gives.

    Args:
        key: of the value in an answer, or in each entry of an answer that is a list.
        axes: after the first one; -1 if the answer says how long it is.
    """

    name: str
    datatype: str
    key: str
    axes: tuple[int, ...] = ()


ENTRY = {
    "label": Output("labels", BYTES, "label", (-1,)),
    "score": Output("scores", "FP32", "score", (-1,)),
    "box": Output("boxes", "FP32", "box", (-1, 4)),
    "mask": Output("masks", BYTES, "mask", (-1,)),
}
BARE = {"label", "score"}  # an answer of such entries has as many as every other
COUNTS = Output("counts", "INT32", "")  # how many entries each answer has
ANSWERS = Output("answers", BYTES, "")  # each as JSON, if the model's answers have no form that tensors have
VECTORS = Output("embeddings", "FP32", "", (-1,))  # of answers that are lists of numbers
EXPLANATIONS = Output("explanations", BYTES, "")
ERRORS = Output("errors", BYTES, "")  # each as JSON, "" for an input that was answered; only if one was refused


def outputs_of(prediction: Any) -> tuple[Output, ...]:
    """The tensors for a handler's `Prediction`. Of a union, the first type counts."""
    kind = inspect.type_info(prediction)
    kind = kind.types[0] if isinstance(kind, inspect.UnionType) else kind
    if isinstance(kind, inspect.ListType) and isinstance(kind.item_type, inspect.StructType):
        keys = [field.encode_name for field in kind.item_type.fields]
        if ENTRY.keys() >= {*keys}:
            return tuple(ENTRY[key] for key in keys) + (() if {*keys} <= BARE else (COUNTS,))
    if axes_of(kind) == (-1,):
        return (VECTORS,)
    if isinstance(kind, inspect.StructType):
        axes = {field.encode_name: axes_of(field.type) for field in kind.fields}
        if None not in axes.values():
            return tuple(Output(name, "FP32", name, own) for name, own in axes.items())
    return (ANSWERS,)


def axes_of(kind: inspect.Type) -> tuple[int, ...] | None:
    """The axes of a number, or of a list of numbers; None of anything else."""
    kind = kind.type if isinstance(kind, inspect.Metadata) else kind
    if isinstance(kind, inspect.FloatType):
        return ()
    return (-1,) if isinstance(kind, inspect.ListType) and isinstance(kind.item_type, inspect.FloatType) else None


def tensors_of(answers: list[Any], outputs: Sequence[Output]) -> list[Tensor]:
    """The answers' tensors; an answer of None is a refusal. If one does not fit these outputs, all are in `answers`, as JSON."""
    given = [answer for answer in answers if answer is not None]
    has_entries = outputs[0].key in ENTRY
    if has_entries and all(is_entries(answer, outputs) for answer in given):
        return entries(answers, outputs)
    if outputs[0].key and not has_entries and all(isinstance(answer, dict) for answer in given):
        return [values(answers, output) for output in outputs]
    if outputs[0] is VECTORS and all(isinstance(answer, list) for answer in given):
        return [values([None if answer is None else {"": answer} for answer in answers], VECTORS)]
    (name,) = {output.name for output in outputs if not output.key and output not in (COUNTS, VECTORS)} or {ANSWERS.name}
    texts = ["" if answer is None else msgspec.json.encode(answer).decode() for answer in answers]
    return [Tensor(name, BYTES, [len(answers)], texts)]


def is_entries(answer: Any, outputs: Sequence[Output]) -> bool:
    keys = {output.key for output in outputs if output.key}
    return isinstance(answer, list) and all(isinstance(entry, dict) and entry.keys() == keys for entry in answer)


def entries(answers: list[list[dict] | None], outputs: Sequence[Output]) -> list[Tensor]:
    """One tensor per key of the entries, filled up to the longest answer."""
    most = max((len(answer) for answer in answers if answer), default=0)
    tensors = []
    for output in outputs:
        if output is COUNTS:
            tensors.append(Tensor(output.name, output.datatype, [len(answers)], [len(answer or ()) for answer in answers]))
            continue
        width = output.axes[1] if len(output.axes) > 1 else None
        filler = [FILL[output.datatype]] * (width or 1)
        filled = []
        for answer in answers:
            found = [entry[output.key] for entry in answer or ()]
            filled += [part for one in found for part in one.values()] if width else found
            filled += filler * (most - len(found))
        tensors.append(Tensor(output.name, output.datatype, [len(answers), most, *([width] if width else [])], filled))
    return tensors


def values(answers: list[dict | None], output: Output) -> Tensor:
    """The tensor of one key: a number per answer, or a list of numbers of one length."""
    found = [None if answer is None else answer[output.key] for answer in answers]
    filler = FILL[output.datatype]
    if not output.axes:
        return Tensor(output.name, output.datatype, [len(found)], [filler if one is None else one for one in found])
    length = max((len(one) for one in found if one is not None), default=0)
    filled = [value for one in found for value in ([filler] * length if one is None else one)]
    return Tensor(output.name, output.datatype, [len(found), length], filled)
