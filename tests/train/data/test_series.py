"""train/data/series.py: the beginning of each series trains, its end is for testing; errors name the line."""

import numpy as np
import pytest

from model_defs.json_input import inputs_of, parsed
from model_defs.sequence import SeriesTransform
from train.data.example import DataError
from train.data.series import Demand, SeriesCSV
from train.data.synthetic.demand import demand

SMALL = {"season": 4, "history": 12, "horizon": 4, "stride": 3}


def written(tmp_path, text: str):
    (tmp_path / "series.csv").write_text(text, encoding="utf-8")
    return str(tmp_path / "series.csv")


def ready(data):
    data.setup()
    series = SeriesTransform()
    data.fit(series)
    data.decode(series)
    return data, series


def test_no_test_value_is_known_to_training(tmp_path):
    root = written(tmp_path, "value\n" + "".join(f"{value}\n" for value in range(200)))
    data, series = ready(SeriesCSV(root, **SMALL))
    seen = [max(example.truth["forecast"]) for name in ("train", "validation") for example in data.splits[name]]
    tested = [min(example.truth["forecast"]) for example in data.splits["test"]]
    assert max(seen) < 160 <= min(tested)
    assert series.mean == pytest.approx(np.mean(range(144))) and (series.season, series.history, series.horizon) == (4, 12, 4)


def test_a_history_ends_where_its_forecast_begins_and_lengths_differ(tmp_path):
    root = written(tmp_path, "value\n" + "".join(f"{value}\n" for value in range(200)))
    data, _ = ready(SeriesCSV(root, **SMALL))
    lengths = set()
    for example in data.splits["test"]:
        known = inputs_of(parsed(example.read()))
        lengths.add(len(known))
        assert known[-1] + 1 == example.truth["forecast"][0] and example.truth["seasonal_naive"] == known[-4:]
    assert len(lengths) > 3 and min(lengths) >= 4 and max(lengths) <= 12


def test_a_column_of_names_holds_several_series(tmp_path):
    rows = "".join(f"{value},{name}\n" for value in range(200) for name in ("a", "b"))
    data, _ = ready(SeriesCSV(written(tmp_path, "value,series\n" + rows), **SMALL))
    assert {example.source.split(": ")[1] for example in data.splits["train"]} == {"a", "b"}


def test_a_column_of_names_that_is_asked_for_must_be_there(tmp_path):
    root = written(tmp_path, "value,shop\n" + "".join(f"{value},{name}\n" for value in range(200) for name in "ab"))
    data, _ = ready(SeriesCSV(root, name="shop", **SMALL))
    assert {example.source.split(": ")[1] for example in data.splits["train"]} == {"a", "b"}
    with pytest.raises(DataError, match="no column 'shp'; the header is value,shop"):
        SeriesCSV(root, name="shp", **SMALL).setup()


def test_what_is_too_short_and_other_files_are_said(tmp_path, capsys):
    written(tmp_path, "value,series\n" + "".join(f"{value},a\n" for value in range(200)) + "1,b\n2,b\n")
    (tmp_path / "more.parquet").touch()
    ready(SeriesCSV(str(tmp_path), **SMALL))
    said = capsys.readouterr().out
    assert "left out: 1 .parquet\n1 of 2 series are too short to be in all of training, validation and test\n" in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("when\n3\n", "series.csv:1: no column 'value'; the header is when"),
        ("value\n3\nx\n", "series.csv:3: the value is 'x'; fill gaps"),
        ("value\nnan\n", "series.csv:2: the value is 'nan'"),
        ("value,series\n3\n", "series.csv:2: 1 fields; the header has 2"),
        ("value\n3\n4\n5\n", "too short for the train split"),
        ("value\n", "no series; a CSV file with a column 'value' is expected"),
    ],
)
def test_a_wrong_csv_is_reported_with_its_line(tmp_path, text, message):
    with pytest.raises(DataError) as caught:
        SeriesCSV(written(tmp_path, text), **SMALL).setup()
    assert message in str(caught.value)


def test_no_folder_and_a_history_shorter_than_a_season_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such file or folder"):
        SeriesCSV(str(tmp_path / "nowhere")).setup()
    with pytest.raises(DataError, match="a history holds a season or more"):
        SeriesCSV(season=24, history=12)


def test_the_same_seed_makes_the_same_demand():
    assert demand(3, 100) == demand(3, 100) != demand(4, 100)
    data, _ = ready(Demand(count=2, length=400))
    assert min(data.counts().values()) > 0 and data.labels == []


def test_columns_that_are_not_read_are_said_once(tmp_path, capsys):
    for name in ("a.csv", "b.CSV"):
        (tmp_path / name).write_text("time,value,price\n" + "".join(f"{hour}:00,{hour % 7},2\n" for hour in range(200)))
    data, _ = ready(SeriesCSV(str(tmp_path), **SMALL))
    assert {example.source.split(".")[0][-1] for example in data.splits["train"]} == {"a", "b"}
    assert capsys.readouterr().out == "left out: column 'time', column 'price'\n"


def test_the_share_for_validation_is_used(tmp_path, capsys):
    root = written(tmp_path, "value\n" + "".join(f"{value}\n" for value in range(200)))
    data, _ = ready(SeriesCSV(root, validation=0.3, **SMALL))
    assert data.counts()["validation"] > 10 and not capsys.readouterr().out
