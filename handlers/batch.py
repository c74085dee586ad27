"""Isolation: each step of a batch turns a list into a list of the same length, and a row that fails keeps its failure.

This is pure Python. A row is any value, and a step is any function.
"""

from collections.abc import Callable, Sequence
from typing import Any


class Refusal(Exception):
    """The result of a row that cannot be answered.

    Args:
        code: the HTTP status.
        message: for the caller: what was given, what was expected, what to do.
        cause: the exception behind it, for the log.
    """

    def __init__(self, code: int, message: str, cause: BaseException | None = None):
        super().__init__(message)
        self.code, self.message, self.cause = code, message, cause


Refuse = Callable[[Exception], Refusal]  # maps an exception to a refusal, such as handlers/request.py's `refuse`


def each(step: Callable, *columns: Sequence, refuse: Refuse, over: Callable = map) -> list:
    """Call `step(value, ...)` for each row. If it raises, the result of that row is a Refusal; the other rows do not notice.

    Args:
        step: takes one value of each column.
        columns: lists of one length. A row that has a Refusal in any of them keeps it, and its step is not called.
        refuse: maps an exception to a Refusal.
        over: calls a function for each row and returns the results in the order of the rows, like `map`. It may return an
            exception as the result of a row that it gave up.
    """

    def guarded(*values: Any) -> Any:
        for value in values:
            if isinstance(value, Refusal):
                return value
        try:
            return step(*values)
        except Exception as error:
            return as_refusal(error, refuse)

    results = over(guarded, *columns)
    return [as_refusal(result, refuse) if isinstance(result, Exception) else result for result in results]


def together(step: Callable[[list], Sequence], column: Sequence, refuse: Refuse) -> list:
    """Call `step([value, ...])` for all rows that have no Refusal yet: one result per row.

    If the step fails, the rows are halved until the guilty row is alone, which gets a Refusal. A row that breaks a batch of n
    costs at most 2n - 1 calls, and its neighbours are answered.
    """
    results = list(column)
    answerable = [index for index, value in enumerate(column) if not isinstance(value, Refusal)]
    halves = [answerable] if answerable else []
    while halves:
        indices = halves.pop()
        try:
            outputs = step([column[index] for index in indices])
            if len(outputs) != len(indices):
                raise RuntimeError(f"{len(outputs)} outputs for {len(indices)} inputs")
        except Exception as error:
            if len(indices) > 1:
                middle = len(indices) // 2
                halves += [indices[middle:], indices[:middle]]
                continue
            outputs = [as_refusal(error, refuse)]
        for index, output in zip(indices, outputs, strict=True):
            results[index] = output
    return results


def as_refusal(error: Exception, refuse: Refuse) -> Refusal:
    return error if isinstance(error, Refusal) else refuse(error)
