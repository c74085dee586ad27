"""Synthetic graphs of five kinds, some edges of each at random. The same random state gives the same graph."""

import random
from collections.abc import Callable

from model_defs.json_input import body

NODES = (8, 20)  # per graph, from and to
STRAY_EDGES = 0.08  # per node: edges between random nodes, added to those of the kind
Edges = list[tuple[int, int]]

KINDS: dict[str, Callable[[int, random.Random], Edges]] = {  # number of nodes, random state -> edges
    "clique": lambda n, chance: [(one, other) for one in range(n) for other in range(one)],
    "cycle": lambda n, chance: [(node, (node + 1) % n) for node in range(n)],
    "ladder": lambda n, chance: (
        [(node, node + 2) for node in range(n // 2 * 2 - 2)] + [(node, node + 1) for node in range(0, n // 2 * 2, 2)]
    ),
    "star": lambda n, chance: [(0, node) for node in range(1, n)],
    "tree": lambda n, chance: [(node, chance.randrange(node)) for node in range(1, n)],
}


def random_graph(kind: str, chance: random.Random) -> bytes:
    """A graph of that kind as a request's body, its nodes in random order.

    A node has two features: its number of edges, and noise.
    """
    count = chance.randint(*NODES)
    edges = KINDS[kind](count, chance)
    stray = [tuple(chance.sample(range(count), 2)) for _ in range(count) if chance.random() < STRAY_EDGES]
    order = chance.sample(range(count), count)
    pairs = sorted({tuple(sorted((order[one], order[other]))) for one, other in [*edges, *stray]})
    nodes = [[float(sum(node in pair for pair in pairs)), round(chance.gauss(0, 1), 3)] for node in range(count)]
    return body({"nodes": nodes, "edges": [list(pair) for pair in pairs]})
