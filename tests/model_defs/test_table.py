"""model_defs/table.py: from a row to scaled numbers and category ids, and errors that name the column."""

import pytest
import torch

from model_defs.errors import Unreadable, WrongValue
from model_defs.json_input import body
from model_defs.table import MLPClassifier, MLPRegressor, TableTransform


@pytest.fixture
def columns():
    learned = TableTransform()
    learned.numbers = {"age": (40.0, 10.0), "distance": (3.0, 2.0)}
    learned.categories = {"job": ["baker", "nurse"], "city": ["Oslo", "Rome"]}
    return learned


ROW = {"age": 31, "distance": 5.0, "job": "nurse", "city": "Oslo"}


def test_numbers_are_scaled_and_categories_become_ids(columns):
    for payload in (ROW, body(ROW), dict(reversed(ROW.items()))):
        entry = columns(payload)
        assert entry.numbers.tolist() == pytest.approx([-0.9, 1.0]) and entry.categories.tolist() == [2, 1]


def test_null_is_the_mean_or_an_unknown_category(columns):
    entry = columns({"age": None, "distance": 3, "job": None, "city": "Rome"})
    assert entry.numbers.tolist() == [0, 0] and entry.categories.tolist() == [0, 2]


def test_a_far_off_number_is_clipped(columns):
    assert columns(ROW | {"age": 1e300}).numbers[0] == 10 and columns(ROW | {"age": -(10**300)}).numbers[0] == -10


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([31, "nurse"], "the row is a list; send an object with the columns age, distance, job, city"),
        (None, "the row is null"),
        ({}, "the row lacks 'age', 'distance', 'job', 'city'; send every column, null where its value is unknown"),
        ({name: value for name, value in ROW.items() if name != "job"}, "the row lacks 'job'"),
        (ROW | {"agee": 3}, "the row has no column 'agee'; did you mean 'age'?"),
        (ROW | {"age": "31"}, "'age' is text; send a number"),
        (ROW | {"age": True}, "'age' is a boolean"),
        (ROW | {"age": float("nan")}, "'age' is not a number; send a finite number"),
        (ROW | {"age": 10**400}, "'age' is infinite"),
        (ROW | {"age": [31]}, "'age' is a list"),
        (ROW | {"job": "nurze"}, "'job' has no category 'nurze'; did you mean 'nurse'?; null stands for an unknown one"),
        (ROW | {"job": 3}, "'job' is a number; send text: a category; known: baker, nurse"),
        (ROW | {"job": ["nurse"]}, "'job' is a list"),
    ],
)
def test_a_wrong_row_is_refused_by_name(columns, row, message):
    with pytest.raises(WrongValue) as caught:
        columns(row)
    assert message in str(caught.value)


def test_a_body_that_is_not_json_is_unreadable(columns):
    with pytest.raises(Unreadable):
        columns(b"age,job\n31,nurse\n")


def test_a_new_category_may_count_as_unknown(columns):
    lenient = TableTransform(others="unknown")
    lenient.numbers, lenient.categories = columns.numbers, columns.categories
    assert lenient(ROW | {"job": "nurze"}).categories.tolist() == [0, 1]
    with pytest.raises(ValueError, match="neither 'refuse' nor 'unknown'"):
        TableTransform(others="ignore")


def test_what_was_learned_comes_back_from_the_file(columns, tmp_path):
    columns.target = (5.0, 2.0)
    columns.save(tmp_path)
    read = TableTransform()
    read.load(tmp_path)
    assert (read.numbers, read.categories, read.target) == (columns.numbers, columns.categories, columns.target)
    assert read.facts() == {"numbers": 2, "categories": [3, 3], "mean": 5.0, "deviation": 2.0}


def test_without_columns_their_values_are_unknown(columns):
    assert columns.columns == ["age", "distance", "job", "city"]
    left = columns.without(columns(ROW), [1, 2])
    assert left.numbers.tolist() == pytest.approx([-0.9, 0]) and left.categories.tolist() == [0, 1]
    assert columns(ROW).categories.tolist() == [2, 1]


def test_a_row_gets_the_same_answer_in_every_batch(columns):
    torch.manual_seed(0)
    network = MLPClassifier(3, 2, [3, 3]).eval()
    torch.nn.init.normal_(network.embedding.weight)
    rows = [columns(ROW), columns(ROW | {"job": None}), columns(ROW | {"age": 60})]
    with torch.inference_mode():
        together = network(*columns.collate(rows))
        alone = torch.cat([network(*columns.collate([row])) for row in rows])
    assert torch.allclose(together, alone, atol=1e-6) and together.shape == (3, 3)


def test_a_table_without_categories_gives_the_network_one_tensor():
    numeric = TableTransform()
    numeric.numbers = {"age": (40.0, 10.0)}
    (numbers,) = numeric.collate([numeric({"age": 50}), numeric({"age": 40})])
    assert numbers.tolist() == [[1], [0]]
    network = MLPRegressor(1, [], mean=100.0, deviation=10.0).eval()
    assert network(numbers).shape == (2, 1)


def test_a_category_that_training_never_saw_is_neutral():
    network = MLPClassifier(2, 1, [3]).eval()
    numbers = torch.zeros(2, 1)
    assert torch.equal(*network(numbers, torch.tensor([[0], [2]])))
