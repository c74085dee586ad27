"""Graphs: the handler of graph classifiers."""

from handlers.classifier import Classifier
from handlers.request import Kind, Request
from model_defs.errors import TooLarge
from model_defs.graph import GraphSample

GRAPH = Kind(
    "a graph",
    ("text/",),
    """send its nodes and edges as JSON: curl --json '{"inputs": {"nodes": [[1.0], [1.0]], "edges": [[0, 1]]}}' URL""",
    is_json=True,
    tensors="whole",
)
MOST_NODES = 500  # for an explanation, whose cost grows with the square of their number


class GraphClassifier(Classifier):
    """A graph -> its labels, best first."""

    accepts = GRAPH

    def attributions(self, sample: GraphSample, request: Request, target: int) -> dict:
        """`{"nodes": [weight, ...]}`: how much the score falls if a node has mean features and no edges.

        Raises:
            TooLarge: more than `MOST_NODES`.
        """
        count = len(sample.features)
        if count > MOST_NODES:
            raise TooLarge(f"{count:,} nodes; an explanation takes {MOST_NODES:,} at most: send a smaller graph")
        return {"nodes": self.part_weights(sample, count, self.transform.without, target)}
