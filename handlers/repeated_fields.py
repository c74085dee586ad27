"""Which fields of a form came more than once: TorchServe keeps only the last of them, and says nothing."""

from collections import Counter
from collections.abc import Callable
from typing import Any


class Fields(dict):
    """A request's fields, and the names of those that came more than once."""

    repeated: tuple[str, ...] = ()


def keeping_repeated(original: Callable[[list[dict]], tuple[Any, list[dict], Any]]) -> Callable:
    """A replacement for `ts.service.Service.retrieve_data_for_inference`, which is `original`: its rows are `Fields`."""

    def retrieve(batch: list[dict]) -> tuple[Any, list[Fields], Any]:
        headers, rows, ids = original(batch)
        found = [Fields(row) for row in rows]
        for fields, request in zip(found, batch, strict=True):
            counts = Counter(parameter["name"] for parameter in request["parameters"])
            fields.repeated = tuple(name for name, count in counts.items() if count > 1)
        return headers, found, ids

    return retrieve
