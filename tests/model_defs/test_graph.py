"""model_defs/graph.py: the transform, its errors, and a network whose answers do not depend on neighbours."""

import pytest
import torch

from model_defs import graph as module
from model_defs.build import SpecError
from model_defs.errors import TooLarge, Unreadable, WrongValue
from model_defs.graph import GraphNet, GraphTransform
from model_defs.json_input import body

PATH = {"nodes": [[1.0, 0.5], [2.0, 0.0], [1, -1]], "edges": [[0, 1], [1, 2]]}


@pytest.fixture
def transform():
    made = GraphTransform(max_nodes=50, max_edges=60)
    made.mean, made.deviation = [1.0, 0.0], [2.0, 1.0]
    return made


def test_an_edge_leads_both_ways_and_counts_once_however_often_it_is_given(transform):
    read = transform(body(PATH | {"edges": [[0, 1], [1, 0], [2, 1], [1, 2]]}))
    assert read.edges.T.tolist() == [[0, 1], [1, 0], [1, 2], [2, 1]]
    assert read.features.tolist() == [[0, 0.5], [0.5, 0], [0, -1]]


def test_a_graph_without_edges_is_one(transform):
    assert transform({"nodes": [[0, 0]], "edges": []}).edges.shape == (2, 0)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"edges": [[0, 1], [1, 3]]}, r"edge 1 is \[1, 3\]; the 3 nodes have the places 0 to 2"),
        ({"edges": [[0, -1]]}, r"edge 0 is \[0, -1\]"),
        ({"edges": [[0, 1, 2]]}, r"edge 0 is \[0, 1, 2\]; send two nodes"),
        ({"edges": [[0, 1.5]]}, r"edge 0 is \[0, 1.5\]; send two nodes"),
        ({"edges": [[0, True]]}, "edge 0 is .*; send two nodes"),
        ({"edges": [[0, 10**30]]}, "edge 0 is .*; the 3 nodes"),
        ({"edges": [7]}, "edge 0 is 7; send two nodes"),
        ({"edges": None}, "'edges' is null; send a list"),
        ({"edges": {"0": 1}}, "'edges' is an object"),
        ({"nodes": []}, "no nodes"),
        ({"nodes": [[1.0, 2.0], [1.0], [1.0, 2.0]]}, "node 1 is 1 features; this model was trained on 2"),
        ({"nodes": [[1.0, 2.0], [1.0, 2.0, 3.0]]}, "node 1 is 3 features"),
        ({"nodes": [3.0, 4.0]}, "node 0 is a number"),
        ({"nodes": [[1.0, float("nan")]]}, "feature 1 of node 0 is not a number; send a finite"),
        ({"nodes": [[1.0, "2"]]}, "feature 1 of node 0 is text; send a number"),
        ({"node": []}, "no key 'node'; did you mean 'nodes'"),
    ],
)
def test_a_wrong_graph_is_refused_with_the_reason(changed, said, transform):
    with pytest.raises(WrongValue, match=said):
        transform(PATH | changed)


@pytest.mark.parametrize("value", [None, [], "graph", 3, {}])
def test_a_value_that_is_not_a_graph_is_refused(value, transform):
    with pytest.raises(WrongValue):
        transform(value)


def test_an_infinite_number_in_a_file_is_refused(transform):
    with pytest.raises(WrongValue, match="feature 0 of node 0 is infinite"):
        transform(b'{"inputs": {"nodes": [[1e999, 0]], "edges": []}}')
    with pytest.raises(Unreadable, match="not JSON"):
        transform(b'{"inputs": {"nodes": [[1, 0]')


def test_a_graph_of_too_many_nodes_or_edges_is_refused(transform):
    with pytest.raises(TooLarge, match="51 nodes"):
        transform({"nodes": [[0, 0]] * 51, "edges": []})
    with pytest.raises(TooLarge, match="61 edges"):
        transform(PATH | {"edges": [[0, 1]] * 61})


def test_what_was_learned_comes_back(transform, tmp_path):
    transform.save(tmp_path)
    again = GraphTransform()
    again.load(tmp_path)
    assert (again.mean, again.deviation) == (transform.mean, transform.deviation) and again.facts() == {"features": 2}


def test_without_a_node_its_features_are_the_mean_and_its_edges_gone(transform):
    sample = transform(PATH)
    left = transform.without(sample, {2})
    assert left.features.tolist() == [[0, 0.5], [0.5, 0], [0, 0]]
    assert left.edges.T.tolist() == [[0, 1], [1, 0]]
    assert sample.features[2].tolist() == [0, -1] and sample.edges.shape == (2, 4)
    assert transform.without(sample, range(3)).edges.shape == (2, 0)


def test_an_answer_does_not_depend_on_its_neighbours(transform):
    pytest.importorskip("torch_geometric", reason="not installed: make setup EXTRAS=graphs")
    torch.manual_seed(0)
    network = GraphNet(num_classes=3, features=2).eval()
    graphs = [transform(PATH), transform({"nodes": [[0, 0]], "edges": []}), transform({"nodes": [[1, 1]] * 9, "edges": [[0, 8]]})]
    together = network(*transform.collate(graphs))
    assert together.shape == (3, 3)
    for graph, output in zip(graphs, together, strict=True):
        assert torch.allclose(network(*transform.collate([graph]))[0], output, atol=1e-6)


def test_the_order_of_the_nodes_does_not_matter(transform):
    pytest.importorskip("torch_geometric", reason="not installed: make setup EXTRAS=graphs")
    network = GraphNet(num_classes=3, features=2).eval()
    turned = {"nodes": PATH["nodes"][::-1], "edges": [[2, 1], [1, 0]]}
    one, other = (network(*transform.collate([transform(graph)])) for graph in (PATH, turned))
    assert torch.allclose(one, other, atol=1e-6)


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SpecError, match="make setup EXTRAS=graphs"):
        GraphNet(num_classes=3)
