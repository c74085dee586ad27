"""All values of a form's fields that came more than once: TorchServe keeps only the last of them, and says nothing."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any


class Fields(dict):
    """A request's fields, and the names of those that came more than once. Such a field has a list of all of its values."""

    repeated: tuple[str, ...] = ()


def keeping_repeated(original: Callable[[list[dict]], tuple[Any, list[dict], Any]]) -> Callable:
    """A replacement for `ts.service.Service.retrieve_data_for_inference`, which is `original`: its rows are `Fields`."""

    def retrieve(batch: list[dict]) -> tuple[Any, list[Fields], Any]:
        headers, rows, ids = original(batch)
        found = [Fields(row) for row in rows]
        for fields, request in zip(found, batch, strict=True):
            if len(fields) == len(request["parameters"]):
                continue
            given = defaultdict(list)
            for parameter in request["parameters"]:
                given[parameter["name"]].append(parameter["value"])
            fields.repeated = tuple(name for name, values in given.items() if len(values) > 1)
            fields.update({name: given[name] for name in fields.repeated})
        return headers, found, ids

    return retrieve
