"""train/data/graphs.py and synthetic/graphs.py: graphs are of their kind; folders of JSON are read."""

import json

import pytest

from model_defs.graph import GraphTransform
from train.data.example import DataError
from train.data.graphs import GraphFolder, Graphs
from train.data.synthetic.graphs import KINDS


def test_the_same_seed_makes_the_same_graphs():
    first, again, other = (Graphs(per_class=3, seed=seed).read_splits()["train"] for seed in (0, 0, 1))
    assert first == again != other and {example.truth for example in first} == set(KINDS)


def test_a_node_s_first_feature_is_its_number_of_edges():
    for example in Graphs(per_class=5).read_splits()["train"]:
        graph = json.loads(example.payload)["inputs"]
        counts = [sum(node in pair for pair in graph["edges"]) for node in range(len(graph["nodes"]))]
        assert [node[0] for node in graph["nodes"]] == counts


def test_most_edges_are_those_of_the_kind():
    sizes = {kind: [] for kind in KINDS}
    for example in Graphs(per_class=20).read_splits()["train"]:
        graph = json.loads(example.payload)["inputs"]
        sizes[example.truth].append(len(graph["edges"]) - len(graph["nodes"]))
    mean = {kind: sum(values) / len(values) for kind, values in sizes.items()}
    assert -1 <= mean["tree"] <= 1 and -1 <= mean["star"] <= 1 and 0 <= mean["cycle"] <= 2 < mean["ladder"] < mean["clique"]


def test_folders_of_graphs_are_read_and_a_broken_one_is_named(tmp_path):
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for index in range(10):
            graph = {"nodes": [[index], [1]], "edges": [[0, 1]]}
            (tmp_path / label / f"{index}.json").write_text(json.dumps({"inputs": graph}))
    data, transform = GraphFolder(root=str(tmp_path)), GraphTransform()
    data.setup()
    data.fit(transform)
    data.decode(transform)
    assert data.counts() == {"train": 14, "test": 4, "validation": 2} and len(transform.mean) == 1
    for file in (tmp_path / "a").iterdir():
        file.write_text('{"inputs": {"nodes": [[1]], "edges": [[0, 1]]}}')
    data = GraphFolder(root=str(tmp_path))
    data.setup()
    data.fit(transform)
    with pytest.raises(DataError, match=r"a/0\.json: edge 0 is \[0, 1\]"):
        data.decode(transform)
