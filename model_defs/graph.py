"""Graphs: the transform from nodes and edges in JSON to tensors, and a graph convolutional classifier.

The network needs PyTorch Geometric, which `make setup EXTRAS=graphs` installs.
"""

import importlib.util
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from model_defs.build import SpecError, did_you_mean
from model_defs.errors import TooLarge, WrongValue
from model_defs.json_input import JsonTransform, described, finite_number

KEYS = ("nodes", "edges")


class GraphSample(NamedTuple):
    """One graph.

    Args:
        features: (nodes, features) float32, in standard deviations from the training data's mean.
        edges: (2, edges) int64: pairs of node indices, each edge in both directions, without duplicates.
    """

    features: Tensor
    edges: Tensor


class GraphTransform(JsonTransform):
    """`{"nodes": [[1.0, 0.5], ...], "edges": [[0, 1], ...]}` -> `GraphSample`.

    A node is a list of features. An edge is a pair of node indices and has no direction. The transform learns how many features
    a node has, and the mean and standard deviation of each.

    Args:
        max_nodes, max_edges: a graph with more is refused.
    """

    FILE = "graph.json"

    def __init__(self, max_nodes: int = 10_000, max_edges: int = 100_000):
        self.max_nodes, self.max_edges = max_nodes, max_edges
        self.mean, self.deviation = [0.0], [1.0]

    def to_sample(self, value: Any) -> GraphSample:
        """
        Raises:
            TooLarge: more than `max_nodes` or `max_edges`.
            WrongValue: not a graph, a node with another number of features than in training, a feature that is not a finite
                number, or an edge to a node that does not exist.
        """
        if not isinstance(value, dict):
            raise WrongValue(f'the graph is {described(value)}; send {{"nodes": [[...], ...], "edges": [[0, 1], ...]}}')
        for key in value.keys() - {*KEYS}:
            raise WrongValue(f"a graph has no key {key!r}{did_you_mean(key, KEYS)}")
        nodes, edges = checked_list(value, "nodes", self.max_nodes), checked_list(value, "edges", self.max_edges)
        if not nodes:
            raise WrongValue("the graph has no nodes; send one or more")
        features = torch.tensor([self.scaled(node, index) for index, node in enumerate(nodes)], dtype=torch.float32)
        pairs = [checked_edge(edge, index, len(nodes)) for index, edge in enumerate(edges)]
        one_way = torch.tensor(pairs, dtype=torch.int64).view(-1, 2)  # (edges, 2), also if there are none
        return GraphSample(features, torch.cat([one_way, one_way.flip(1)]).unique(dim=0).T.contiguous())

    def scaled(self, node: Any, index: int) -> list[float]:
        """A node's features in standard deviations from their means.

        Args:
            index: of the node, for messages.
        """
        if not isinstance(node, list) or len(node) != len(self.mean):
            given = f"{len(node):,} features" if isinstance(node, list) else described(node)
            raise WrongValue(f"node {index:,} is {given}; this model was trained on {len(self.mean):,} features a node")
        return [
            (finite_number(value, f"feature {feature} of node {index:,}") - mean) / deviation
            for feature, (value, mean, deviation) in enumerate(zip(node, self.mean, self.deviation, strict=True))
        ]

    def without(self, sample: GraphSample, nodes: Iterable[int]) -> GraphSample:
        """The same graph with these nodes' features at the mean, and without their edges."""
        removed = set(nodes)
        features = sample.features.clone()
        features[sorted(removed)] = 0
        is_kept = [not removed & set(pair) for pair in sample.edges.T.tolist()]
        return GraphSample(features, sample.edges[:, is_kept])

    def collate(self, samples: list[GraphSample]) -> tuple[Tensor, Tensor, Tensor]:
        """-> all nodes' features (N, features), all edges (2, E) as indices of these nodes, and nodes per graph (B,)."""
        counts = torch.tensor([len(sample.features) for sample in samples])
        shifts = counts.cumsum(0) - counts  # (B,): the index of each graph's first node
        edges = [sample.edges + shift for sample, shift in zip(samples, shifts, strict=True)]
        return torch.cat([sample.features for sample in samples]), torch.cat(edges, dim=1), counts

    def schema(self) -> dict[str, Any]:
        features = {"type": "array", "items": {"type": "number"}, "minItems": len(self.mean), "maxItems": len(self.mean)}
        pair = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 2, "maxItems": 2}
        nodes = {"type": "array", "items": features, "minItems": 1, "maxItems": self.max_nodes}
        edges = {"type": "array", "items": pair, "maxItems": self.max_edges, "description": "pairs of nodes, by their places"}
        properties = {"nodes": nodes, "edges": edges}
        return {"type": "object", "properties": properties, "required": [*KEYS], "additionalProperties": False}

    def facts(self) -> dict[str, Any]:
        return {"features": len(self.mean)}

    def save(self, folder: Path) -> None:
        (folder / self.FILE).write_text(json.dumps({"mean": self.mean, "deviation": self.deviation}) + "\n", encoding="utf-8")

    def load(self, folder: Path) -> None:
        learned = json.loads((folder / self.FILE).read_text(encoding="utf-8"))
        self.mean, self.deviation = learned["mean"], learned["deviation"]


def checked_list(graph: dict, key: str, most: int) -> list:
    """The list under a key of the graph.

    Raises:
        TooLarge: more than `most` entries.
        WrongValue: not a list.
    """
    found = graph.get(key)
    if not isinstance(found, list):
        raise WrongValue(f"{key!r} is {described(found)}; send a list")
    if len(found) > most:
        raise TooLarge(f"{len(found):,} {key}; this model takes {most:,} at most: send a smaller graph")
    return found


def checked_edge(given: Any, index: int, nodes: int) -> list[int]:
    """The edge, as a pair of node indices.

    Args:
        index: of the edge, for messages.
        nodes: how many the graph has.

    Raises:
        WrongValue: not a pair of indices of existing nodes.
    """
    is_pair = isinstance(given, list) and len(given) == 2 and all(type(end) is int for end in given)
    if not is_pair:
        raise WrongValue(f"edge {index:,} is {str(given)[:60]}; send two nodes' places: [0, 1]")
    if not all(0 <= end < nodes for end in given):
        raise WrongValue(f"edge {index:,} is {str(given)[:60]}; the {nodes:,} nodes have the places 0 to {nodes - 1:,}")
    return given


class GraphNet(nn.Module):
    """Graph convolutions (arXiv 1609.02907), then the mean over the nodes.

    (N, features) float32, (2, E) int64, (B,) int64, as `GraphTransform.collate` returns them -> (B, num_classes) logits.

    Args:
        features: per node.
        width: of a node's hidden state.
        depth: layers. A node sees neighbours up to so many steps away.

    Raises:
        SpecError: PyTorch Geometric is not installed.
    """

    def __init__(self, num_classes: int, features: int | None = None, width: int = 32, depth: int = 3, dropout: float = 0.1):
        super().__init__()
        if importlib.util.find_spec("torch_geometric") is None:
            raise SpecError("GraphNet needs torch_geometric, which is not installed: make setup EXTRAS=graphs")
        from torch_geometric.nn import GCNConv  # its import takes seconds

        self.layers = nn.ModuleList(GCNConv(width if layer else features or 1, width) for layer in range(depth))
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, num_classes))

    def forward(self, features: Tensor, edges: Tensor, counts: Tensor) -> Tensor:
        from torch_geometric.nn import global_mean_pool

        for layer in self.layers:
            features = layer(features, edges).relu()  # (N, width)
        owner = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)  # (N,): each node's graph
        return self.head(global_mean_pool(features, owner, len(counts)))
