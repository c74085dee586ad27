"""Explanations of rows: what each column adds to the score or the value, so that all of them add up to it."""

from typing import ClassVar

import torch

from handlers.explain import charts, render
from handlers.explain.method import Found, Unsuitable, rounded
from handlers.explain.subject import Subject
from handlers.explain.views import Dense, Parts, Rest, Scored, part_scores

BASELINES = ("unknown",)  # the mean of a number, the unknown category


class RowSubject(Subject):
    """A label, or the value, of a row."""

    usual: ClassVar[tuple[str, ...]] = ("shapley_values",)

    def dense(self) -> Dense:
        if not hasattr(self.eager, "embed"):
            raise Unsuitable("its network has no embeddings")
        everything = range(len(self.transform.columns))
        rows = [self.sample, self.transform.without(self.sample, everything), *self.background_samples()]
        with torch.no_grad():
            row, unknown, *others = (self.eager.embed(*self.inputs(one)) for one in rows)
        backgrounds = torch.cat(others) if others else row.new_zeros(0, *row.shape[1:])
        return Dense(Scored(Rest(self.eager), self.score), row, unknown, backgrounds)

    def inputs(self, row) -> list[torch.Tensor]:
        return [tensor.to(self.handler.device) for tensor in self.transform.collate([row])]

    def parts(self) -> Parts:
        def kept(stays: list[bool]):
            return self.transform.without(self.sample, [index for index, stay in enumerate(stays) if not stay])

        return Parts(part_scores(self.outputs, self.score, kept), (len(self.transform.columns),))

    def names(self) -> list[str]:
        return [f"{name} = {self.request.payload[name]}" for name in self.transform.columns]

    def weights(self, found: Found) -> list[float]:
        values = found.values.flatten()
        numbers = len(self.transform.numbers)
        if len(values) == len(self.transform.columns):
            return values.tolist()
        categories = values[numbers:].view(len(self.transform.categories), -1).sum(1)
        return torch.cat([values[:numbers], categories]).tolist()

    def unit_weights(self, found: Found) -> torch.Tensor:
        return torch.tensor(self.weights(found))

    def fields(self, found: Found) -> dict:
        """`columns`: each with its value as it was sent."""
        return {
            "columns": [
                {"column": name, "value": self.request.payload[name], "weight": rounded(weight)}
                for name, weight in zip(self.transform.columns, self.weights(found), strict=True)
            ]
        }

    def picture(self, found: Found) -> dict:
        """`picture`: a waterfall from the baseline's score to the row's."""
        bars = list(zip(self.names(), self.weights(found), strict=True))
        return {"picture": render.as_png(charts.waterfall(bars, found.baseline, found.score))}
