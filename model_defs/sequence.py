"""Sequences: the transform from a series of numbers to what a recurrent network reads, and the network that forecasts the next.

Knows nothing of where series come from, nor of HTTP.
"""

import json
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from model_defs.errors import TooLarge, WrongValue
from model_defs.json_input import JsonTransform, number, shape
from model_defs.postprocess import check

CELLS = {"GRU": nn.GRU, "LSTM": nn.LSTM, "RNN": nn.RNN}


class SeriesTransform(JsonTransform):
    """Numbers at equal distances in time, the oldest first -> (n,) float32: the newest, in deviations from training's mean.

    What the data says of itself is learned: the mean, the deviation of what changes from season to season, how many values a
    season has, how many are looked at, and how many steps ahead can be forecast.

    Args:
        max_values: a longer series is refused.
        farthest: a number further from the mean than so many deviations is refused.
    """

    FILE = "series.json"

    def __init__(self, max_values: int = 100_000, farthest: float = 1_000.0):
        self.max_values, self.farthest = max_values, farthest
        self.mean, self.deviation = 0.0, 1.0
        self.season, self.history, self.horizon = 1, 1, 1

    def read(self, value: Any) -> Tensor:
        """
        Raises:
            TooLarge: more than `max_values`.
            WrongValue: no list, fewer values than a season has, or one that is no number, not finite, or far off.
        """
        if not isinstance(value, list):
            raise WrongValue(f"the series is {shape(value)}; send a list of numbers, the oldest first")
        if len(value) > self.max_values:
            raise TooLarge(
                f"{len(value):,} values; this model takes {self.max_values:,} at most: send the newest {self.history:,}"
            )
        if len(value) < self.season:
            raise WrongValue(f"{len(value)} values; this model needs {self.season} or more, a whole season: send a longer series")
        return torch.tensor([self.scaled(one, place) for place, one in enumerate(value)][-self.history :], dtype=torch.float32)

    def scaled(self, value: Any, place: int) -> float:
        given = (number(value, f"value {place:,} of the series") - self.mean) / self.deviation
        if abs(given) > self.farthest:
            raise WrongValue(
                f"value {place:,} of the series is {value:g}; training's lay around {self.mean:g}, by {self.deviation:g}: send "
                "the quantity that this model was trained on, in its unit"
            )
        return given

    def collate(self, samples: list[Tensor]) -> tuple[Tensor, Tensor]:
        """-> values (B, longest), those of shorter series first, and how many each series has (B,)."""
        lengths = torch.tensor([len(sample) for sample in samples])
        return nn.utils.rnn.pad_sequence(samples, batch_first=True), lengths

    def facts(self) -> dict:
        return {"season": self.season, "horizon": self.horizon, "mean": self.mean, "deviation": self.deviation}

    LEARNED = ("mean", "deviation", "season", "history", "horizon")

    def save(self, folder: Path) -> None:
        learned = {name: getattr(self, name) for name in self.LEARNED}
        (folder / self.FILE).write_text(json.dumps(learned, indent=1), encoding="utf-8")

    def load(self, folder: Path) -> None:
        for name, value in json.loads((folder / self.FILE).read_text(encoding="utf-8")).items():
            setattr(self, name, value)


class RecurrentForecaster(nn.Module):
    """A recurrent network that says how the series will differ from its last season.

    (B, longest) float32 in training's deviations, and (B,) int64 lengths -> (B, horizon) in the unit of the data.

    A value is seen beside the mean of the series' last season, so that a level which training never saw is forecast as well, and
    beside the value a season before it. The network reads forward: what fills up a shorter series behind its end changes nothing.

    Args:
        season: values in a season.
        horizon: steps that are forecast.
        mean, deviation: as the transform has them.
        cell: "GRU" (arXiv 1406.1078), "LSTM" (Neural Computation 9, 1997) or "RNN" (Elman's, Cognitive Science 14, 1990).
        width, layers: of the hidden state.
    """

    def __init__(
        self,
        season: int | None = None,
        horizon: int | None = None,
        mean: float | None = None,
        deviation: float | None = None,
        cell: Literal["GRU", "LSTM", "RNN"] = "GRU",
        width: int = 48,
        layers: int = 1,
    ):
        super().__init__()
        self.season, self.mean, self.deviation = season or 1, mean or 0.0, deviation or 1.0
        repeated = torch.arange(horizon or 1) % self.season
        self.register_buffer("repeated", repeated, persistent=False)  # which value of the last season stands for which step
        self.cell = CELLS[cell](2, width, layers, batch_first=True)
        self.head = nn.Linear(width + self.season, len(repeated))
        for parameter in self.head.parameters():  # it begins as the seasonal-naive forecast
            nn.init.zeros_(parameter)

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        starts = (lengths - self.season)[:, None]  # (B, 1)
        last = values.gather(1, starts + torch.arange(self.season, device=values.device))  # (B, season)
        level = last.mean(1, keepdim=True)
        changes = nn.functional.pad(values[:, self.season :] - values[:, : -self.season], (self.season, 0))  # (B, longest)
        states, _ = self.cell(torch.stack([values - level, changes], dim=2))  # (B, longest, width)
        final = states.gather(1, (lengths - 1)[:, None, None].expand(-1, 1, states.shape[2]))[:, 0]  # (B, width)
        differences = self.head(torch.cat([final, last - level], dim=1))  # (B, horizon)
        return self.mean + self.deviation * (last[:, self.repeated] + differences)


def forecast(output: Tensor, horizon: int | None = None) -> dict[str, list[float]]:
    """(horizon,) -> `{"forecast": [...]}`, the next step first.

    Args:
        horizon: how many steps; all if None.

    Raises:
        OutputError: one is not a finite number.
    """
    check(output)
    return {"forecast": output[:horizon].tolist()}
