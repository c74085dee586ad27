"""model_defs/sequence.py: from a series to a scaled sequence, errors that name the index, and the forecaster."""

import math

import pytest
import torch

from model_defs.errors import TooLarge, WrongValue
from model_defs.json_input import body
from model_defs.sequence import CELLS, RecurrentForecaster, SeriesTransform


@pytest.fixture
def series():
    learned = SeriesTransform(max_values=50)
    learned.mean, learned.deviation = 10.0, 2.0
    learned.season, learned.history, learned.horizon = 4, 8, 6
    return learned


def test_the_newest_values_are_scaled(series):
    assert series([8, 10, 12, 14]).tolist() == [-1, 0, 1, 2]
    assert series(body(list(range(20)))).tolist() == [(value - 10) / 2 for value in range(12, 20)]


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ({"a": 1}, WrongValue, "the series is an object with the keys 'a'; send a list of numbers, the oldest first"),
        ("1, 2", WrongValue, "the series is text"),
        (3, WrongValue, "the series is a number"),
        ([], WrongValue, "0 values; this model needs 4 or more, a whole season: send a longer series"),
        ([1, 2, 3], WrongValue, "3 values; this model needs 4 or more"),
        ([1.0] * 51, TooLarge, "51 values; this model takes 50 at most: send the newest 8"),
        ([1, 2, "3", 4], WrongValue, "value 2 of the series is text; send a number"),
        ([1, 2, None, 4], WrongValue, "value 2 of the series is null"),
        ([[1], [2], [3], [4]], WrongValue, "value 0 of the series is a list"),
        ([True] * 4, WrongValue, "value 0 of the series is a boolean"),
        ([1, 2, 3, math.nan], WrongValue, "value 3 of the series is not a number; send a finite number"),
        ([-math.inf, 2, 3, 4] + [1] * 8, WrongValue, "value 0 of the series is infinite"),
        ([1, 2, 3, 10**400], WrongValue, "value 3 of the series is infinite"),
        ([1, 2, 3, 1e30], WrongValue, "value 3 of the series is 1e+30; training's lay around 10, by 2: send the quantity"),
    ],
)
def test_a_wrong_value_is_refused_with_its_index(series, value, error, message):
    with pytest.raises(error) as caught:
        series(value)
    assert message in str(caught.value)


def test_what_was_learned_comes_back_from_the_file(series, tmp_path):
    series.save(tmp_path)
    read = SeriesTransform()
    read.load(tmp_path)
    assert vars(read) | {"max_values": 50} == vars(series)
    assert read.facts() == {"season": 4, "horizon": 6, "mean": 10.0, "deviation": 2.0}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 2])
def test_series_of_different_lengths_are_forecast_as_if_alone(series, cell, layers):
    torch.manual_seed(0)
    network = RecurrentForecaster(**series.facts(), cell=cell, width=8, layers=layers).eval()
    torch.nn.init.normal_(network.head.weight)
    samples = [series([float(value % 5) for value in range(length)]) for length in (4, 20, 7, 5)]
    with torch.inference_mode():
        together = network(*series.collate(samples))
        alone = torch.cat([network(*series.collate([sample])) for sample in samples])
    assert together.shape == (4, 6) and torch.allclose(together, alone, atol=1e-5)


def test_a_network_that_has_learned_nothing_repeats_the_last_season(series):
    network = RecurrentForecaster(**series.facts()).eval()
    with torch.inference_mode():
        (output,) = network(*series.collate([series([9, 9, 9, 1, 2, 3, 4])]))
    assert output.tolist() == pytest.approx([1, 2, 3, 4, 1, 2])
