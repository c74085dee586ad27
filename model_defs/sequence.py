"""Time series: the transform from a list of numbers to a scaled sequence, and a recurrent forecaster."""

import json
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from model_defs.errors import TooLarge, WrongValue
from model_defs.json_input import JsonTransform, described, finite_number

CELLS = {"GRU": nn.GRU, "LSTM": nn.LSTM, "RNN": nn.RNN}


class SeriesTransform(JsonTransform):
    """Numbers at equal distances in time, the oldest first -> (n,) float32: the newest ones, scaled.

    Fitted on the training data: mean, standard deviation of the seasonal differences (`deviation`), season length, history
    length and horizon. A scaled value is `(value - mean) / deviation`.

    Args:
        max_values: a longer series is refused.
        farthest: a value more deviations away from the mean is refused.
    """

    FILE = "series.json"
    FITTED = ("mean", "deviation", "season", "history", "horizon")

    def __init__(self, max_values: int = 100_000, farthest: float = 1_000.0):
        self.max_values, self.farthest = max_values, farthest
        self.mean, self.deviation = 0.0, 1.0
        self.season, self.history, self.horizon = 1, 1, 1

    def to_sample(self, value: Any) -> Tensor:
        """
        Raises:
            TooLarge: more than `max_values`.
            WrongValue: not a list, fewer values than a season has, or a value that is not a finite number or is far off.
        """
        if not isinstance(value, list):
            raise WrongValue(f"the series is {described(value)}; send a list of numbers, the oldest first")
        if len(value) > self.max_values:
            raise TooLarge(
                f"{len(value):,} values; this model takes {self.max_values:,} at most: send the newest {self.history:,}"
            )
        if len(value) < self.season:
            raise WrongValue(f"{len(value)} values; this model needs {self.season} or more, a whole season: send a longer series")
        scaled = [self.scaled(one, index) for index, one in enumerate(value)]  # all of them, to check them all
        return torch.tensor(scaled[-self.history :], dtype=torch.float32)

    def scaled(self, value: Any, index: int) -> float:
        given = (finite_number(value, f"value {index:,} of the series") - self.mean) / self.deviation
        if abs(given) > self.farthest:
            raise WrongValue(
                f"value {index:,} of the series is {value:g}; training's lay around {self.mean:g}, by {self.deviation:g}: send "
                "the quantity that this model was trained on, in its unit"
            )
        return given

    def collate(self, samples: list[Tensor]) -> tuple[Tensor, Tensor]:
        """-> values (B, longest), with zeros after the end of shorter series, and each series' length (B,)."""
        lengths = torch.tensor([len(sample) for sample in samples])
        return nn.utils.rnn.pad_sequence(samples, batch_first=True), lengths

    def schema(self) -> dict[str, Any]:
        reach = self.farthest * self.deviation
        values = {"type": "number", "minimum": self.mean - reach, "maximum": self.mean + reach}
        return {"type": "array", "items": values, "minItems": self.season, "maxItems": self.max_values}

    def facts(self) -> dict:
        return {"season": self.season, "horizon": self.horizon, "mean": self.mean, "deviation": self.deviation}

    def save(self, folder: Path) -> None:
        fitted = {name: getattr(self, name) for name in self.FITTED}
        (folder / self.FILE).write_text(json.dumps(fitted, indent=1), encoding="utf-8")

    def load(self, folder: Path) -> None:
        for name, value in json.loads((folder / self.FILE).read_text(encoding="utf-8")).items():
            setattr(self, name, value)


class RecurrentForecaster(nn.Module):
    """A recurrent network that forecasts how the series will differ from its last season.

    (B, longest) float32, scaled, and (B,) int64 lengths -> (B, horizon) in the unit of the data.

    The network sees each value relative to the mean of the series' last season, so that it can forecast at a level that training
    did not have, and relative to the value one season before. It reads forward only, so padding after the end has no effect.

    Args:
        season: values per season.
        horizon: steps to forecast.
        mean, deviation: the transform's.
        cell: "GRU" (arXiv 1406.1078), "LSTM" (Neural Computation 9, 1997) or "RNN" (Elman's, Cognitive Science 14, 1990).
        width: of the hidden state.
        layers: of the recurrent network.
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
        self.register_buffer("repeated", repeated, persistent=False)  # (horizon,): each step's index in the last season
        self.cell = CELLS[cell](2, width, layers, batch_first=True)
        self.head = nn.Linear(width + self.season, len(repeated))
        for parameter in self.head.parameters():  # training starts from the seasonal-naive forecast
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
