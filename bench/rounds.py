"""Contenders measured in turn, round after round, so that a machine that drifts drifts for all; medians and spreads.

Knows nothing of what a contender is but its target.
"""

import statistics
from collections.abc import Callable, Iterable

import msgspec

from bench.load import Measured, Target, measure, pace

WARMING = 15.0  # seconds of load before the first round: Java compiles what it has run some thousand times


class Figure(msgspec.Struct):
    """One contender at one number of clients: medians over the rounds, and the least and most answers a second."""

    contender: str
    clients: int
    asked: float
    rate: float
    least: float
    most: float
    p50: float
    p99: float
    others: int
    tool: float


def alternate(
    targets: dict[str, Target],
    clients: Iterable[int],
    rounds: int,
    seconds: float,
    tell: Callable[[str], None],
) -> list[Figure]:
    """Closed loop: each client sends the next request when it has its answer."""
    for name, target in targets.items():
        tell(f"warming up {name}")
        measure(target, max(clients), WARMING)
    found: dict[tuple[str, int], list[Measured]] = {}
    for number in range(rounds):
        for name, target in targets.items():
            for count in clients:
                tell(f"round {number + 1} of {rounds}: {name}, {count} clients")
                found.setdefault((name, count), []).append(measure(target, count, seconds))
    return [figure(name, measured) for (name, _), measured in found.items()]


def paced(targets: dict[str, Target], rates: dict[str, float], rounds: int, seconds: float, tell) -> list[Figure]:
    """Open loop: so many requests a second, answered or not."""
    found: dict[str, list[Measured]] = {}
    for number in range(rounds):
        for name, target in targets.items():
            tell(f"round {number + 1} of {rounds}: {name}, {rates[name]:,.0f} requests/s")
            found.setdefault(name, []).append(pace(target, rates[name], seconds))
    return [figure(name, measured) for name, measured in found.items()]


def figure(name: str, measured: list[Measured]) -> Figure:
    rates = [each.rate for each in measured]
    return Figure(
        contender=name,
        clients=measured[0].clients,
        asked=measured[0].asked,
        rate=statistics.median(rates),
        least=min(rates),
        most=max(rates),
        p50=statistics.median(each.p50 for each in measured),
        p99=statistics.median(each.p99 for each in measured),
        others=sum(sum(each.others.values()) for each in measured),
        tool=statistics.median(each.tool for each in measured),
    )
