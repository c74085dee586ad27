"""Isolation: a batch is a list, each step makes the next list, and what fails for one row stays at that row's place.

Pure Python, without torch or TorchServe: a row is any value, a step any function.
"""

from collections.abc import Callable, Sequence
from typing import Any


class Refusal(Exception):
    """What a row becomes once it cannot be answered.

    Args:
        code: the HTTP status.
        message: for the caller: what was given, what was expected, what to do.
        cause: the exception behind it, for the log.
    """

    def __init__(self, code: int, message: str, cause: BaseException | None = None):
        super().__init__(message)
        self.code, self.message, self.cause = code, message, cause


Refuse = Callable[[Exception], Refusal]  # which refusal an exception becomes; handlers/request.py has the table


def each(step: Callable, *columns: Sequence, refuse: Refuse, over: Callable = map) -> list:
    """`step(value, ...)` for each row; what it raises becomes that row's Refusal, and the other rows never know.

    Args:
        step: takes one value of each column.
        columns: lists of one length; a row that holds a Refusal in any of them keeps it, and its step is not called.
        refuse: turns an exception into a Refusal.
        over: how the rows are gone through: `map`, or the `map` of a thread pool.
    """

    def guarded(*values: Any) -> Any:
        for value in values:
            if isinstance(value, Refusal):
                return value
        try:
            return step(*values)
        except Exception as error:
            return error if isinstance(error, Refusal) else refuse(error)

    return list(over(guarded, *columns))


def together(step: Callable[[list], Sequence], column: Sequence, refuse: Refuse) -> list:
    """`step([value, ...])` for all rows that still stand, and one result for each.

    If the step fails, the rows are halved until the guilty one is alone with its Refusal: a row that breaks a batch of n
    costs at most 2n - 1 calls, and its neighbours are answered.
    """
    results = list(column)
    standing = [place for place, value in enumerate(column) if not isinstance(value, Refusal)]
    halves = [standing] if standing else []
    while halves:
        places = halves.pop()
        try:
            outputs = step([column[place] for place in places])
            if len(outputs) != len(places):
                raise RuntimeError(f"{len(outputs)} outputs for {len(places)} inputs")
        except Exception as error:
            if len(places) > 1:
                middle = len(places) // 2
                halves += [places[middle:], places[:middle]]
                continue
            outputs = [error if isinstance(error, Refusal) else refuse(error)]
        for place, output in zip(places, outputs, strict=True):
            results[place] = output
    return results
