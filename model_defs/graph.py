"""Graphs: the transform from nodes and edges in JSON to numbered ones, and a network that passes messages along the edges.

The network is PyTorch Geometric's, which is installed only where graphs are wanted: `make setup EXTRAS=graphs`. Knows nothing of
labels, nor of where graphs come from.
"""

import importlib.util
import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from model_defs.build import SpecError, did_you_mean
from model_defs.errors import TooLarge, WrongValue
from model_defs.json_input import JsonTransform, number, shape

KEYS = ("nodes", "edges")


class GraphSample(NamedTuple):
    """One graph.

    Args:
        features: (nodes, features) float32, in deviations from training's mean.
        edges: (2, edges) int64, each edge both ways, none twice.
    """

    features: Tensor
    edges: Tensor


class GraphTransform(JsonTransform):
    """`{"nodes": [[1.0, 0.5], ...], "edges": [[0, 1], ...]}` -> Linked. A node is its features; an edge is two nodes' places, and
    leads both ways.

    What training learns is how many features a node has, and each one's mean and deviation.

    Args:
        max_nodes: a graph of more is refused.
        max_edges: likewise.
    """

    FILE = "graph.json"

    def __init__(self, max_nodes: int = 10_000, max_edges: int = 100_000):
        self.max_nodes, self.max_edges = max_nodes, max_edges
        self.mean, self.deviation = [0.0], [1.0]

    def read(self, value: Any) -> GraphSample:
        """
        Raises:
            TooLarge: more than `max_nodes` or `max_edges`.
            WrongValue: no graph, a node of another number of features than training's, a feature that is no finite number, or
                an edge to a node that is not there.
        """
        if not isinstance(value, dict):
            raise WrongValue(f'the graph is {shape(value)}; send {{"nodes": [[...], ...], "edges": [[0, 1], ...]}}')
        for key in value.keys() - {*KEYS}:
            raise WrongValue(f"a graph has no key {key!r}{did_you_mean(key, KEYS)}")
        nodes, edges = (self.listed(value, key, most) for key, most in zip(KEYS, (self.max_nodes, self.max_edges), strict=True))
        if not nodes:
            raise WrongValue("the graph has no nodes; send one or more")
        features = torch.tensor([self.node(node, place) for place, node in enumerate(nodes)], dtype=torch.float32)
        pairs = torch.tensor([edge(one, place, len(nodes)) for place, one in enumerate(edges)], dtype=torch.int64).view(-1, 2)
        return GraphSample(features, torch.cat([pairs, pairs.flip(1)]).unique(dim=0).T.contiguous())

    def listed(self, value: dict, key: str, most: int) -> list:
        found = value.get(key)
        if not isinstance(found, list):
            raise WrongValue(f"{key!r} is {shape(found)}; send a list")
        if len(found) > most:
            raise TooLarge(f"{len(found):,} {key}; this model takes {most:,} at most: send a smaller graph")
        return found

    def node(self, node: Any, place: int) -> list[float]:
        if not isinstance(node, list) or len(node) != len(self.mean):
            given = f"{len(node):,} features" if isinstance(node, list) else shape(node)
            raise WrongValue(f"node {place:,} is {given}; this model was trained on {len(self.mean):,} features a node")
        return [
            (number(value, f"feature {each} of node {place:,}") - mean) / deviation
            for each, (value, mean, deviation) in enumerate(zip(node, self.mean, self.deviation, strict=True))
        ]

    def collate(self, samples: list[GraphSample]) -> tuple[Tensor, Tensor, Tensor]:
        """-> all nodes' features (N, features), all edges (2, E) between places among these, and each graph's nodes (B,)."""
        counts = torch.tensor([len(sample.features) for sample in samples])
        shifts = counts.cumsum(0) - counts
        edges = [sample.edges + shift for sample, shift in zip(samples, shifts, strict=True)]
        return torch.cat([sample.features for sample in samples]), torch.cat(edges, dim=1), counts

    def facts(self) -> dict[str, Any]:
        return {"features": len(self.mean)}

    def save(self, folder: Path) -> None:
        (folder / self.FILE).write_text(json.dumps({"mean": self.mean, "deviation": self.deviation}) + "\n", encoding="utf-8")

    def load(self, folder: Path) -> None:
        learned = json.loads((folder / self.FILE).read_text(encoding="utf-8"))
        self.mean, self.deviation = learned["mean"], learned["deviation"]


def edge(given: Any, place: int, nodes: int) -> list[int]:
    """
    Raises:
        WrongValue: no pair of nodes that are there.
    """
    is_pair = isinstance(given, list) and len(given) == 2 and all(type(end) is int for end in given)
    if not is_pair:
        raise WrongValue(f"edge {place:,} is {str(given)[:60]}; send two nodes' places: [0, 1]")
    if not all(0 <= end < nodes for end in given):
        raise WrongValue(f"edge {place:,} is {str(given)[:60]}; the {nodes:,} nodes have the places 0 to {nodes - 1:,}")
    return given


class GraphNet(nn.Module):
    """Graph convolutions (arXiv 1609.02907) and the mean of the nodes.

    (N, features) float32, (2, E) int64, (B,) int64: see `GraphTransform.collate` -> (B, num_classes) logits.

    Args:
        features: of a node.
        width: of what a node knows after each layer.
        depth: layers, so the number of steps that news travels.

    Raises:
        SpecError: PyTorch Geometric is not installed.
    """

    def __init__(self, num_classes: int, features: int | None = None, width: int = 32, depth: int = 3, dropout: float = 0.1):
        super().__init__()
        if importlib.util.find_spec("torch_geometric") is None:
            raise SpecError("GraphNet needs torch_geometric, which is not installed: make setup EXTRAS=graphs")
        from torch_geometric.nn import GCNConv  # takes seconds to import

        self.layers = nn.ModuleList(GCNConv((features or 1) if place == 0 else width, width) for place in range(depth))
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, num_classes))

    def forward(self, features: Tensor, edges: Tensor, counts: Tensor) -> Tensor:
        from torch_geometric.nn import global_mean_pool

        for layer in self.layers:
            features = layer(features, edges).relu()  # (N, width)
        owner = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)  # (N,)
        return self.head(global_mean_pool(features, owner, len(counts)))
