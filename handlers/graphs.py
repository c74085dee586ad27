"""Graphs: one class a task."""

from torch import Tensor

from handlers.classifier import Classifier
from handlers.request import Kind, Request
from model_defs.errors import TooLarge
from model_defs.graph import GraphSample

GRAPH = Kind(
    "a graph",
    ("text/",),
    """send its nodes and edges as JSON: curl --json '{"inputs": {"nodes": [[1.0], [1.0]], "edges": [[0, 1]]}}' URL""",
    is_json=True,
)
MOST_NODES = 500  # that an explanation takes: its work grows with their square


class GraphClassifier(Classifier):
    """A graph -> its labels, best first."""

    accepts = GRAPH

    def attributions(self, sample: GraphSample, request: Request, target: int) -> dict:
        """`{"nodes": [weight, ...]}`: how far the label's score falls when a node is like the mean and has no edges.

        Raises:
            TooLarge: more nodes than an explanation takes.
        """
        from handlers import explain  # Captum takes a second to import, and most workers never explain

        count = len(sample.features)
        if count > MOST_NODES:
            raise TooLarge(f"{count:,} nodes; an explanation takes {MOST_NODES:,} at most: send a smaller graph")

        def score(kept: list[list[int]]) -> Tensor:
            return self.scores([without(sample, set(range(count)) - set(places)) for places in kept], target)

        return {"nodes": explain.parts(score, count)}


def without(graph: GraphSample, nodes: set[int]) -> GraphSample:
    """The graph with these nodes' features at the mean, and without their edges."""
    features = graph.features.clone()
    features[sorted(nodes)] = 0
    is_left = [not nodes & set(pair) for pair in graph.edges.T.tolist()]
    return GraphSample(features, graph.edges[:, is_left])
