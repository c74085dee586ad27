"""Explanations of graphs: the weight of each node and of each edge."""

from typing import ClassVar

import torch

from handlers.explain import charts, render
from handlers.explain.method import Found, rounded
from handlers.explain.subject import Subject
from handlers.explain.views import Parts, part_scores
from model_defs.errors import TooLarge
from model_defs.graph import GraphSample

MAX_PARTS = 1_000  # nodes and edges of a graph
BASELINES = ("mean",)  # a node with mean features, and no edge


class GraphSubject(Subject):
    """A label of a graph. Without a node, its features are the training data's mean; its edges are parts of their own."""

    usual: ClassVar[tuple[str, ...]] = ("shapley_values",)

    def pairs(self) -> torch.Tensor:
        """(edges, 2): each edge once.

        Raises:
            TooLarge: more nodes and edges than `MAX_PARTS`.
        """
        pairs = self.sample.edges.T
        pairs = pairs[pairs[:, 0] <= pairs[:, 1]]
        if len(self.sample.features) + len(pairs) > MAX_PARTS:
            count = f"{len(self.sample.features):,} nodes and {len(pairs):,} edges"
            raise TooLarge(f"{count}; an explanation takes {MAX_PARTS:,} together at most: send a smaller graph")
        return pairs

    def parts(self) -> Parts:
        pairs, nodes = self.pairs(), len(self.sample.features)

        def kept(stays: list[bool]) -> GraphSample:
            stay = torch.tensor(stays)
            some = pairs[stay[nodes:]]
            both = torch.cat([some, some.flip(1)]).unique(dim=0).T.contiguous() if len(some) else self.sample.edges[:, :0]
            return GraphSample(self.sample.features * stay[:nodes, None], both)

        return Parts(part_scores(self.outputs, self.score, kept), (nodes + len(pairs),))

    def names(self) -> list[str]:
        nodes = [f"node {index}" for index in range(len(self.sample.features))]
        return nodes + [f"edge {one} to {other}" for one, other in self.pairs().tolist()]

    def fields(self, found: Found) -> dict:
        """`nodes`: the weights in the order in which they were sent; `edges`: each with its two nodes."""
        nodes, weights = len(self.sample.features), [rounded(weight) for weight in found.values.tolist()]
        edges = [{"nodes": pair, "weight": weight} for pair, weight in zip(self.pairs().tolist(), weights[nodes:], strict=True)]
        return {"nodes": weights[:nodes], "edges": edges}

    def picture(self, found: Found) -> dict:
        """`picture`: the graph on a circle, its nodes and edges coloured by weight."""
        answer = self.fields(found)
        return {"picture": render.as_png(charts.graph(answer["nodes"], answer["edges"]))}
