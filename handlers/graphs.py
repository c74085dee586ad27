"""Graphs: the handler of graph classifiers."""

from handlers.classifier import TARGET, Classifier
from handlers.explain.graphs import BASELINES, GraphSubject
from handlers.explain.methods import METHODS
from handlers.explain.parameters import parameters
from handlers.request import Kind

GRAPH = Kind(
    "a graph",
    ("text/",),
    """send its nodes and edges as JSON: curl --json '{"inputs": {"nodes": [[1.0], [1.0]], "edges": [[0, 1]]}}' URL""",
    is_json=True,
    tensors="whole",
)
METHODS_OF_PARTS = ("feature_ablation", "shapley_values", "kernel_shap")  # nodes and edges have no order for occlusion


class GraphClassifier(Classifier):
    """A graph -> its labels, best first."""

    accepts = GRAPH
    ExplanationParameters = parameters("GraphClassifier", METHODS_OF_PARTS, METHODS, BASELINES, TARGET)
    explains = GraphSubject
