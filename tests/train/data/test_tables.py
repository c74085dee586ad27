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


@pytest.mark.parametrize("unknown", ["NA", "NaN", "nan", "?", "null", "N/A"])
def test_a_mark_for_unknown_in_a_numeric_column_is_an_unknown_value(tmp_path, unknown, capsys):
    data, columns = ready(TableCSV(str(csv(tmp_path, HEADER + ROWS + f"{unknown},nurse,yes\n" * 2))))
    assert list(columns.numbers) == ["age"]
    rows = [inputs_of(parsed(example.read())) for examples in data.splits.values() for example in examples]
    assert sum(row["age"] is None for row in rows) == 2
    assert f"unknown values in column 'age': 2 {unknown}\n" in capsys.readouterr().out


def test_a_column_of_categories_may_have_one_called_na(tmp_path):
    rows = ROWS.replace("baker", "NA")
    _, columns = ready(TableCSV(str(csv(tmp_path, HEADER + rows))))
    assert columns.categories == {"job": ["NA", "nurse"]}


def test_a_cell_that_is_no_number_among_numbers_is_named(tmp_path):
    file = str(csv(tmp_path, HEADER + ROWS + "thirty,nurse,yes\n"))
    with pytest.raises(DataError, match=r"rows\.csv:32: 'thirty' in column 'age', where 30 of 31 cells are numbers; .*=\[age\]"):
        TableCSV(file).setup()
    _, columns = ready(TableCSV(file, categorical=["age"], leave_out=["age"]))
    assert not columns.numbers


def test_a_column_without_a_name_is_refused_or_left_out(tmp_path):
    lines = (HEADER + ROWS).splitlines()
    file = str(csv(tmp_path, "\n".join([f",{lines[0]}", *(f"{index},{line}" for index, line in enumerate(lines[1:]))])))
    with pytest.raises(DataError, match=r"a column has no name; .*--data\.leave_out=\[''\]"):
        TableCSV(file).setup()
    _, columns = ready(TableCSV(file, leave_out=[""]))
    assert columns.columns == ["age", "job"]


def test_spaces_around_a_column_s_name_do_not_count(tmp_path):
    _, columns = ready(TableCSV(str(csv(tmp_path, " age, job , label\n" + ROWS))))
    assert columns.columns == ["age", "job"]


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_another_separator_than_a_comma_is_named(tmp_path, mark):
    with pytest.raises(DataError, match=r"its columns are separated by '.*': save it with commas"):
        TableCSV(str(csv(tmp_path, (HEADER + ROWS).replace(",", mark)))).setup()


def test_two_columns_of_one_name_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"rows\.csv:1: two columns are called 'age'; rename or remove one"):
        TableCSV(str(csv(tmp_path, "age,age,label\n1,2,yes\n"))).setup()


def test_new_categories_lead_to_leave_out_and_others(tmp_path):
    csv(tmp_path, "name,label\n" + "".join(f"Ann{index},{'yes' if index % 2 else 'no'}\n" for index in range(20)), "train.csv")
    csv(tmp_path, "name,label\nBob,yes\nEve,no\n", "test.csv")
    with pytest.raises(DataError, match=r"^2 examples .*, --model\.transform\.others=unknown; .* --data\.leave_out=\[name\]:\n"):
        ready(TableCSV(str(tmp_path)))


def test_other_files_in_the_folder_are_said_to_be_left_out(tmp_path, capsys):
    for name in ("train", "test", "val", "valid", "extra"):
        csv(tmp_path, name=f"{name}.csv")
    data, _ = ready(TableCSV(str(tmp_path)))
    assert data.counts() == {"train": 30, "validation": 30, "test": 30}
    assert "left out: extra.csv, valid.csv\n" in capsys.readouterr().out


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


@pytest.mark.parametrize("number", ["20,5", ",5", "1,100", "-1,100.50", "1.100,50", "1'000"])
def test_a_comma_in_a_number_is_named_or_a_category(tmp_path, number):
    rows = "".join(f'"{number}",baker,{"yes" if index % 2 else "no"}\n' for index in range(20))
    file = csv(tmp_path, HEADER + rows + "3,baker,yes\n")
    with pytest.raises(DataError, match=rf"rows\.csv:2: .{number}. in column 'age' is no number: write a point before the"):
        TableCSV(str(file)).setup()
    TableCSV(str(file), categorical=["age"]).setup()
