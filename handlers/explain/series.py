"""Explanations of forecasts: what each stretch of the series adds, in the unit of the series."""

import itertools
from typing import ClassVar

import torch
from torch import Tensor

from handlers.explain import charts, render
from handlers.explain.method import Found, rounded
from handlers.explain.subject import Subject
from handlers.explain.views import Dense, Parts, Rest, Scored, part_scores
from model_defs.errors import WrongValue

STRETCHES = 20  # at most
BASELINES = ("mean",)  # of the series that the network sees


class SeriesSubject(Subject):
    """A step of a forecast, or the mean of all steps."""

    usual: ClassVar[tuple[str, ...]] = ("shapley_values",)

    def edges(self) -> list[int]:
        """The edges of the stretches: seasons, counted from the newest value; longer ones if there would be too many."""
        count, season = len(self.sample), max(1, self.transform.season)
        length = season if count >= 2 * season else max(1, -(-count // STRETCHES))
        length *= -(-count // (length * STRETCHES))
        return [0, *range(count - (count - 1) // length * length, count, length), count]

    def level(self) -> Tensor:
        return torch.full_like(self.sample, float(self.sample.mean()))

    def dense(self) -> Dense:
        values, *rest = (tensor.to(self.handler.device) for tensor in self.transform.collate([self.sample]))
        network = Scored(Rest(self.eager, rest), self.score)
        return Dense(network, values, self.level()[None].to(values.device), values.new_zeros(0, *values.shape[1:]))

    def parts(self) -> Parts:
        edges, level = self.edges(), self.level()

        def kept(stays: list[bool]) -> Tensor:
            series = level.clone()
            for start, end, stay in zip(edges[:-1], edges[1:], stays, strict=True):
                if stay:
                    series[start:end] = self.sample[start:end]
            return series

        return Parts(part_scores(self.outputs, self.score, kept), (len(edges) - 1,))

    def names(self) -> list[str]:
        unread = len(self.request.payload) - len(self.sample)
        return [f"{unread + start} to {unread + end - 1}" for start, end in itertools.pairwise(self.edges())]

    def unit_weights(self, found: Found) -> Tensor:
        edges, values = self.edges(), found.values.flatten()
        if found.method.needs == "forwards":
            return values
        return torch.stack([values[start:end].sum() for start, end in itertools.pairwise(edges)])

    def fields(self, found: Found) -> dict:
        """`stretches`: from the value `start` of the series as it was sent up to the value before `end`."""
        edges, values = self.edges(), self.unit_weights(found)
        unread = len(self.request.payload) - len(self.sample)
        return {
            "stretches": [
                {"start": unread + start, "end": unread + end, "weight": rounded(weight)}
                for start, end, weight in zip(edges[:-1], edges[1:], values.tolist(), strict=True)
            ]
        }

    def picture(self, found: Found) -> dict:
        """`picture`: the series, each stretch coloured by its weight."""
        return {"picture": render.as_png(charts.series(self.request.payload, self.fields(found)["stretches"]))}


def step_of(target: int | str | None, horizon: int) -> int | None:
    """The step to explain, counted from 1; None for the mean of all.

    Raises:
        WrongValue: no such step.
    """
    if target is None:
        return None
    step = int(target) if isinstance(target, int) or (target.isascii() and target.isdigit()) else 0
    if not 1 <= step <= horizon:
        raise WrongValue(f"target {target!r} is not a step of the forecast; give 1 to {horizon}, or leave it out for their mean")
    return step
