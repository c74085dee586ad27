"""Graphs for classification: synthetic cycles, trees and the like, and any folder of class folders of JSON."""

import random
import statistics
from collections import defaultdict
from typing import Any

from model_defs.errors import InputError
from model_defs.graph import GraphTransform
from model_defs.json_input import SUFFIX, inputs_of, parsed
from train.data.example import Example
from train.data.examples import Examples
from train.data.folders import class_folders
from train.data.splits import Splits
from train.data.synthetic.graphs import KINDS, random_graph


class GraphFolder(Examples):
    """`root/train/<class>/*.json` and `root/test/<class>/*.json`, or `root/<class>/*.json`. Each file is a request's body:
    `{"inputs": {"nodes": [[...], ...], "edges": [[0, 1], ...]}}`."""

    def read_root(self) -> Splits:
        return class_folders(self.root, {SUFFIX})

    def fit(self, transform: GraphTransform) -> None:
        """Learn each feature's mean and standard deviation over the nodes of the training split.

        A graph that cannot be read is skipped here; `decode` reports it.
        """
        columns: dict[int, list[float]] = defaultdict(list)
        for example in self.splits["train"]:
            for index, values in enumerate(columns_of(example)):
                columns[index] += values
        transform.mean = [statistics.fmean(values) for values in columns.values()]
        transform.deviation = [statistics.pstdev(values) or 1.0 for values in columns.values()]


class Graphs(GraphFolder):
    """Cycles, cliques, ladders, stars and trees that `train/data/synthetic/graphs.py` makes. Or a folder of class folders.

    Args:
        per_class: graphs per kind for training; a quarter as many more are for testing.
    """

    built_in_options = ("per_class",)

    def __init__(self, *args: Any, per_class: int = 200, **options: Any):
        super().__init__(*args, **options)
        self.per_class = per_class

    def built_in(self) -> Splits:
        chance = random.Random(self.seed)
        return {
            split: [
                Example(random_graph(kind, chance), kind, f"{split} {kind} {index}", SUFFIX)
                for kind in KINDS
                for index in range(count)
            ]
            for split, count in (("train", self.per_class), ("test", max(1, self.per_class // 4)))
        }


def columns_of(example: Example) -> list[list[float]]:
    """Each feature's values in one graph; an empty list if it cannot be read."""
    try:
        return [[float(value) for value in column] for column in zip(*inputs_of(parsed(example.read()))["nodes"], strict=True)]
    except (InputError, OSError, LookupError, TypeError, ValueError):
        return []
