"""train/data/tables.py: columns are numeric or categorical by their cells; errors name the line."""

import pytest

from model_defs.json_input import inputs_of, parsed
from model_defs.table import TableTransform
from train.data.example import DataError
from train.data.tables import BreastCancer, Diabetes, RegressionCSV, TableCSV, Trips, Wine

HEADER = "age,job,label\n"
ROWS = "".join(f"{20 + index},{'nurse' if index % 2 else 'baker'},{'yes' if index % 3 else 'no'}\n" for index in range(30))


def ready(data):
    data.setup()
    columns = TableTransform()
    data.fit(columns)
    data.decode(columns)
    return data, columns


def csv(tmp_path, text: str = HEADER + ROWS, name: str = "rows.csv"):
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    return file


def test_a_csv_becomes_rows_of_numbers_and_categories(tmp_path):
    data, columns = ready(TableCSV(str(csv(tmp_path))))
    assert data.labels == ["no", "yes"] and list(columns.numbers) == ["age"]
    assert columns.categories == {"job": ["baker", "nurse"]}
    row = inputs_of(parsed(data.splits["train"][0].read()))
    assert isinstance(row["age"], float) and row["job"] in ("baker", "nurse") and "label" not in row


def test_a_folder_has_its_own_test_set_and_numbers_may_be_categories(tmp_path):
    csv(tmp_path, name="train.csv")
    csv(tmp_path, HEADER + "25,nurse,yes\n20,baker,no\n", "test.csv")
    data, columns = ready(TableCSV(str(tmp_path), categorical=["age"], leave_out=["job"]))
    assert data.counts()["test"] == 2 and list(columns.categories) == ["age"] and not columns.numbers


def test_an_empty_cell_is_an_unknown_value(tmp_path):
    data, columns = ready(TableCSV(str(csv(tmp_path, HEADER + ROWS + ",,yes\n" * 5))))
    assert list(columns.numbers) == ["age"] and columns.categories == {"job": ["baker", "nurse"]}
    rows = [inputs_of(parsed(example.read())) for examples in data.splits.values() for example in examples]
    assert sum(row == {"age": None, "job": None} for row in rows) == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column 'label'; the header is missing"),
        ("age,job\n1,nurse\n", "rows.csv:1: no column 'label'; the header is age,job"),
        (HEADER + "1,nurse\n", "rows.csv:2: 2 fields; the header has 3"),
        (HEADER + "1,nurse,\n", "rows.csv:2: the label is empty"),
        (HEADER + "1,nurse,yes\n", "the test split has no examples"),
    ],
)
def test_a_wrong_csv_is_reported_with_its_line(tmp_path, text, message):
    with pytest.raises(DataError) as caught:
        TableCSV(str(csv(tmp_path, text))).setup()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"leave_out": ["idd"]}, "leave_out: the table has no column 'idd' to tell by; known: age, job, label"),
        ({"categorical": ["jb"]}, "categorical: the table has no column 'jb' to tell by; did you mean 'job'"),
        ({"leave_out": ["label"]}, "leave_out: the table has no column 'label' to tell by"),
    ],
)
def test_a_key_that_names_no_column_is_an_error(tmp_path, options, message):
    with pytest.raises(DataError, match=message):
        TableCSV(str(csv(tmp_path)), **options).setup()


def test_a_test_row_of_another_kind_than_in_training_is_reported(tmp_path):
    csv(tmp_path, name="train.csv")
    csv(tmp_path, HEADER + "old,nurse,yes\n20,pilot,no\n", "test.csv")
    with pytest.raises(
        DataError, match=r"test\.csv:2: 'age' is text; expected a number\n.*test\.csv:3: 'job' has no category 'pilot'"
    ):
        ready(TableCSV(str(tmp_path)))


def test_a_label_that_is_not_a_number_is_no_regression_target(tmp_path):
    with pytest.raises(DataError, match=r"rows\.csv:2: the label is 'yes'; this model learns numbers"):
        RegressionCSV(str(csv(tmp_path, HEADER + "1,nurse,yes\n"))).setup()


@pytest.mark.parametrize(("kind", "counts"), [(BreastCancer, (30, 2)), (Wine, (13, 3))])
def test_scikit_learn_s_tables_are_there(kind, counts):
    data, columns = ready(kind())
    assert (len(columns.numbers), len(data.labels)) == counts and not columns.categories


def test_the_label_of_a_table_may_be_a_number():
    data, columns = ready(Diabetes())
    assert data.labels == [] and len(columns.numbers) == 10
    mean, deviation = columns.target
    assert 140 < mean < 160 and 70 < deviation < 85


def test_the_same_seed_makes_the_same_trips():
    one, other, another = (Trips(count=40, seed=seed) for seed in (0, 0, 1))
    for data in (one, other, another):
        data.setup()
    assert one.fingerprint() == other.fingerprint() != another.fingerprint()
    assert one.counts() == {"train": 36, "test": 10, "validation": 4}
