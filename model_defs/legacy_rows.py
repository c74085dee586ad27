"""Put together what an old handler's `preprocess` gives for each row, and take apart what its `inference` gives for all.

What can be put together: tensors and arrays along their first axis, lists, and tuples, lists and dicts of these.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor


def length(value: Any) -> int:
    """How many rows it holds."""
    if isinstance(value, dict):
        return length(next(iter(value.values())))
    return length(value[0]) if isinstance(value, tuple) or (isinstance(value, list) and len(value) > 1) else len(value)


def joined(values: list) -> Any:
    """What `preprocess` gave for each row -> the same for all rows.

    Raises:
        ValueError: of different shapes, or of a type that cannot be put together.
    """
    first = values[0]
    if isinstance(first, Tensor) and len({value.shape[1:] for value in values}) == 1:
        return torch.cat(values)
    if isinstance(first, np.ndarray) and len({value.shape[1:] for value in values}) == 1:
        return np.concatenate(values)
    if type(first) is dict:
        return {key: joined([value[key] for value in values]) for key in first}
    if isinstance(first, list | tuple) and (len(first) > 1 or isinstance(first, tuple)):
        return type(first)(joined([value[index] for value in values]) for index in range(len(first)))
    if isinstance(first, list):
        return [entry for value in values for entry in value]
    raise ValueError("the rows of this handler cannot be put together")


def split(output: Any, counts: list[int]) -> list:
    """The output for all rows -> the outputs of each row, which keep the axis of the batch.

    Raises:
        ValueError: its rows cannot be told apart.
    """
    ends = np.cumsum(counts).tolist()
    if isinstance(output, Tensor | np.ndarray | list) and len(output) == ends[-1]:
        return [output[end - count : end] for end, count in zip(ends, counts, strict=True)]
    if type(output) is dict:
        parts = {key: split(value, counts) for key, value in output.items()}
        return [{key: part[index] for key, part in parts.items()} for index in range(len(counts))]
    if isinstance(output, list | tuple):
        return [type(output)(parts) for parts in zip(*(split(value, counts) for value in output), strict=True)]
    raise ValueError("the rows of this handler's output cannot be told apart")
