"""Graphs behind a real server: a classifier of synthetic graphs, trained for some epochs."""

import json

import pytest

from serving.evaluate import evaluate
from tests.bundle import serving, trained

pytestmark = [pytest.mark.server, pytest.mark.slow]
pytest.importorskip("torch_geometric", reason="not installed: make setup EXTRAS=graphs")
STAR = {"nodes": [[5, 0], [1, 0], [1, 0], [1, 0], [1, 0], [1, 0]], "edges": [[0, 1], [0, 2], [0, 3], [0, 4], [0, 5]]}


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs")
    overrides = {"graphs": ["--trainer.max_epochs=10", "--data.per_class=100"]}
    with serving(trained(overrides, folder), folder, {}, overrides) as bundle:
        yield bundle


@pytest.mark.parametrize("protocol", ["native", "v1", "v2"])
def test_what_is_served_is_what_was_trained(graphs, protocol):
    figures = evaluate(graphs.home, "graphs", graphs.artifacts / "graphs" / "test.zip", clients=8, protocol=protocol)
    assert figures.disagreements == [] and figures.value == figures.offline > 0.5


def test_every_body_form_of_a_graph_gets_the_same_answer(graphs):
    sample, payload = graphs.samples("graphs")[0]
    inputs = json.loads(payload)["inputs"]
    best = graphs.post("graphs", json={"inputs": inputs, "parameters": {"top_k": 1}})
    assert best.status_code == 200 and [one["label"] for one in best.json()] == [sample["truth"]]
    whole = graphs.post("graphs", json={"inputs": inputs}).json()
    assert graphs.post("graphs", files={"data": json.dumps(inputs)}).json() == whole


def test_a_bad_graph_gets_its_own_422_that_names_what_is_wrong(graphs):
    answer = graphs.post("graphs", json={"inputs": STAR | {"edges": [[0, 1], [0, 6]]}})
    assert answer.status_code == 422
    assert answer.json()["message"] == "edge 1 is [0, 6]; the 6 nodes have the places 0 to 5"
    wrong = graphs.post("graphs", json={"inputs": STAR | {"nodes": [[1.0]] * 6}})
    assert wrong.status_code == 422 and "trained on 2 features a node" in wrong.json()["message"]
    nan = graphs.post(
        "graphs", data=b'{"inputs": {"nodes": [[NaN, 0]], "edges": []}}', headers={"Content-Type": "application/json"}
    )
    assert nan.status_code == 422 and "feature 0 of node 0" in nan.json()["message"]


def test_an_explanation_weighs_each_node(graphs):
    sample, payload = graphs.samples("graphs")[0]
    inputs = json.loads(payload)["inputs"]
    answer = graphs.post("graphs", "explanations", json={"inputs": inputs})
    assert answer.status_code == 200 and answer.json()["label"] == sample["truth"]
    assert len(answer.json()["nodes"]) == len(inputs["nodes"])
