"""Several inputs in one request: each becomes a request of its own, and their answers become one again.

The rows of a batch are the inputs, so one that is refused hurts no other, whoever sent it.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import msgspec

from model_defs.errors import TooLarge, WrongValue

if TYPE_CHECKING:
    from handlers.request import Answer, Kind, RawRequest


class SeveralInputs(WrongValue):
    """A request has several inputs where only one can be taken; with `rows` they can all be.

    Args:
        message: for the caller, where one of several inputs is a list itself.
        rows: a request for each of them alone.
    """

    def __init__(self, message: str, rows: list["RawRequest"]):
        super().__init__(message)
        self.rows = rows


class Several(msgspec.Struct):
    """A request that was taken apart.

    Args:
        rows: a request for each of its inputs alone.
        fold: from an answer to each of them to the answer to the request. If all are refusals, it returns one of them.
        requests: the rows as handlers see them, if nothing of them is left to be parsed.
    """

    rows: list
    fold: Callable[[list["Answer"]], "Answer"]
    requests: list | None = None


def alone(raw: "RawRequest", name: str, values: list, fields: Mapping[str, Any] | None = None) -> list["RawRequest"]:
    """A request for each of the values of one field.

    Args:
        fields: the request's fields if its body is unpacked; else they are those of `raw`.
    """
    repeated = tuple(other for other in raw.repeated if other != name)
    encoding = raw.encoding if fields is None else ""
    # Without the client: huggingface_hub's answer to one text is a list with it, and here there is a list already.
    changes = {"repeated": repeated, "encoding": encoding, "client": "", "protocol": ""}
    return [msgspec.structs.replace(raw, fields={**(fields or raw.fields), name: value}, **changes) for value in values]


def is_list_of_inputs(value: Any, accepts: "Kind") -> bool:
    """Whether a JSON body has several inputs. A list in which nothing looks like an input is one input, and a wrong one."""
    if accepts.is_list or not isinstance(value, dict) or not isinstance(value.get("inputs"), list):
        return False
    return any(isinstance(one, dict if accepts.is_json else str) for one in value["inputs"])


def check_count(count: int, most: int, what: str = "inputs") -> None:
    """
    Raises:
        WrongValue: there is no input.
        TooLarge: there are more than `most`.
    """
    if count == 0:
        raise WrongValue(f"the list of {what} is empty; send one or more")
    if count > most:
        raise TooLarge(
            f"{count:,} {what}; one request may have {most:,}: send several requests, or raise max_inputs in the recipe"
        )


def listed(answers: list["Answer"]) -> list[bytes]:
    """Each answer's body, in an object under the key `error` if it is a refusal."""
    return [answer.body if answer.code == 200 else b'{"error":%b}' % answer.body for answer in answers]


def as_list(answers: list["Answer"]) -> "Answer":
    """The answer to `{"inputs": [...]}`: a list. If no input was answered, the request is refused."""
    return most_severe(answers) or msgspec.structs.replace(answers[0], code=200, body=b"[%b]" % b",".join(listed(answers)))


def most_severe(answers: list["Answer"]) -> "Answer | None":
    """If all are refusals, the one with the highest status; else None."""
    return None if any(answer.code == 200 for answer in answers) else max(answers, key=lambda answer: answer.code)


def spread(parsed: list, rows: list, parse: Callable[[list], list]) -> tuple[list, list]:
    """The requests of a batch, and the raw request of each: those with several inputs are replaced by their inputs.

    Args:
        parsed: for each of `rows` a `Request`, a `Refusal` or a `Several`.
        parse: raw requests -> a `Request` or `Refusal` for each.
    """
    requests, raws = [], []
    for one, raw in zip(parsed, rows, strict=True):
        if isinstance(one, Several):
            requests += parse(one.rows) if one.requests is None else one.requests
            raws += one.rows
        else:
            requests.append(one)
            raws.append(raw)
    return requests, raws


def gathered(answers: list["Answer"], parsed: list, rows: list, refusal: Callable) -> list["Answer"]:
    """The inverse of `spread`: one answer per request of the batch.

    Args:
        refusal: from a refusal in the native form and the raw request to the form of the request's protocol.
    """
    left, found = iter(answers), []
    for one, raw in zip(parsed, rows, strict=True):
        if not isinstance(one, Several):
            found.append(next(left))
            continue
        answer = one.fold(list(islice(left, len(one.rows))))
        found.append(answer if answer.code == 200 else refusal(answer, raw))
    return found


def in_pieces(step: Callable[[list], Sequence], column: list, size: int | None) -> list:
    """`step(column)`, called for at most `size` rows at a time, so that several inputs make no batch larger than was proven."""
    if size is None or len(column) <= size:
        return list(step(column))
    return list(chain.from_iterable(step(column[start : start + size]) for start in range(0, len(column), size)))
