"""The goal of a tuning: `throughput`, `latency`, or the most answers within a bound such as `p99<50ms`."""

import re

from bench.load import Measured
from model_defs.errors import BundleError

CLIENTS = (1, 4, 16)  # every trial is measured at these numbers of clients
BOUND = re.compile(r"p(50|99)\s*<\s*(\d+(?:\.\d+)?)\s*ms")


class GoalError(BundleError):
    """No such goal; the message lists the goals."""


class Goal:
    """
    Args:
        text: "throughput": the most answers per second for 16 clients. "latency": the shortest median for one client.
            "p99<50ms", "p50<10ms": the most answers per second among the numbers of clients that keep the bound.

    Raises:
        GoalError: anything else.
    """

    def __init__(self, text: str):
        self.text, self.bound = text, BOUND.fullmatch(text.strip())
        if not self.bound and text not in ("throughput", "latency"):
            raise GoalError(f'GOAL={text}: it is one of throughput, latency, or a bound such as "p99<50ms"')

    def score(self, measured: list[Measured]) -> float:
        """The measurements at `CLIENTS`, in that order -> their score. Higher is better."""
        if self.text == "throughput":
            return measured[-1].rate
        if self.text == "latency":
            return -measured[0].p50
        name, limit_ms = f"p{self.bound[1]}", float(self.bound[2])
        within = [each.rate for each in measured if getattr(each, name) < limit_ms]
        # If nothing keeps the bound, the nearest to it is the best.
        return max(within) if within else -min(getattr(each, name) for each in measured)
