"""Graphs: cycles, trees and the like that are drawn here, and any folder of class folders of JSON.

Knows nothing of tensors: `model_defs/graph.py` reads.
"""

import random
import statistics
from collections import defaultdict
from pathlib import Path

from model_defs.errors import InputError
from model_defs.graph import GraphTransform
from model_defs.json_input import SUFFIX, body, inputs_of, parsed
from train.data.examples import DOWNLOADS, Example, Examples
from train.data.folders import class_folders

NODES = (8, 20)  # of a drawn graph, from and to
CHANGED = 0.08  # of the nodes: so many edges are drawn at random besides
Edges = list[tuple[int, int]]


class GraphFolder(Examples):
    """`root/train/<class>/*.json` and `root/test/<class>/*.json`, or `root/<class>/*.json`, each file a body as it is posted:
    `{"inputs": {"nodes": [[...], ...], "edges": [[0, 1], ...]}}`."""

    def read(self) -> dict[str, list[Example]]:
        return class_folders(self.root, {SUFFIX}, self.seed)

    def fit(self, transform: GraphTransform) -> None:
        """Learn each feature's mean and deviation from the training split's nodes; `check` names the graphs that are none."""
        columns: dict[int, list[float]] = defaultdict(list)
        for example in self.splits["train"]:
            for place, values in enumerate(columns_of(example)):
                columns[place] += values
        transform.mean = [statistics.fmean(values) for values in columns.values()]
        transform.deviation = [statistics.pstdev(values) or 1.0 for values in columns.values()]


class Graphs(GraphFolder):
    """Drawn cycles, cliques, ladders, stars and trees, some edges of each astray; or a folder of class folders.

    A node's features are how many edges it has, and a number that says nothing.

    Args:
        per_class: graphs of each kind for training; a quarter as many more are for testing.
    """

    def __init__(self, per_class: int = 200, **options):
        super().__init__(**options)
        self.per_class = per_class

    def read(self) -> dict[str, list[Example]]:
        if self.root != Path(DOWNLOADS):
            return super().read()
        draw = random.Random(self.seed)
        return {
            name: [Example(drawn(kind, draw), kind, f"{name} {kind} {place}", SUFFIX) for kind in KINDS for place in range(count)]
            for name, count in (("train", self.per_class), ("test", max(1, self.per_class // 4)))
        }


KINDS = {  # of n nodes -> edges
    "clique": lambda n, draw: [(one, other) for one in range(n) for other in range(one)],
    "cycle": lambda n, draw: [(node, (node + 1) % n) for node in range(n)],
    "ladder": lambda n, draw: (
        [(node, node + 2) for node in range(n // 2 * 2 - 2)] + [(node, node + 1) for node in range(0, n // 2 * 2, 2)]
    ),
    "star": lambda n, draw: [(0, node) for node in range(1, n)],
    "tree": lambda n, draw: [(node, draw.randrange(node)) for node in range(1, n)],
}


def drawn(kind: str, draw: random.Random) -> bytes:
    """A graph of that kind, its nodes in any order, as it is posted."""
    count = draw.randint(*NODES)
    edges = KINDS[kind](count, draw)
    astray = [tuple(draw.sample(range(count), 2)) for _ in range(count) if draw.random() < CHANGED]
    order = draw.sample(range(count), count)
    pairs = sorted({tuple(sorted((order[one], order[other]))) for one, other in [*edges, *astray]})
    nodes = [[float(sum(node in pair for pair in pairs)), round(draw.gauss(0, 1), 3)] for node in range(count)]
    return body({"nodes": nodes, "edges": [list(pair) for pair in pairs]})


def columns_of(example: Example) -> list[list[float]]:
    """Each feature's values in one graph; none where it cannot be read."""
    try:
        return [[float(value) for value in column] for column in zip(*inputs_of(parsed(example.read()))["nodes"], strict=True)]
    except (InputError, OSError, LookupError, TypeError, ValueError):
        return []
