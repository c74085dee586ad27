"""Measure contenders in turn, round after round, so that a change of the machine's speed affects all of them."""

import statistics
from collections.abc import Callable, Iterable

import msgspec

from bench.load import Measured, Target, measure, pace

WARM_UP = 15.0  # seconds of load before the first round: Java compiles code that has run some thousand times


class Figure(msgspec.Struct):
    """One contender at one number of clients.

    Args:
        clients: 0 in the open loop.
        asked: requests per second in the open loop; 0 in the closed loop.
        rate: answers per second; like `p50`, `p99` (ms) and `tool` (cores of the load tool) the median of the rounds.
        least: the lowest rate of a round.
        most: the highest.
        others: requests without an answer of status 200, in all rounds.
    """

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
    show: Callable[[str], None],
) -> list[Figure]:
    """Closed loop: each client sends the next request when it has its answer.

    Args:
        show: prints what is being done.
    """
    for name, target in targets.items():
        show(f"warming up {name}")
        measure(target, max(clients), WARM_UP)
    found: dict[tuple[str, int], list[Measured]] = {}
    for index in range(rounds):
        for name, target in targets.items():
            for count in clients:
                show(f"round {index + 1} of {rounds}: {name}, {count} clients")
                found.setdefault((name, count), []).append(measure(target, count, seconds))
    return [figure(name, measured) for (name, _), measured in found.items()]


def paced(
    targets: dict[str, Target], rates: dict[str, float], rounds: int, seconds: float, show: Callable[[str], None]
) -> list[Figure]:
    """Open loop: `rates` requests per second, whether or not the ones before are answered."""
    found: dict[str, list[Measured]] = {}
    for index in range(rounds):
        for name, target in targets.items():
            show(f"round {index + 1} of {rounds}: {name}, {rates[name]:,.0f} requests/s")
            found.setdefault(name, []).append(pace(target, rates[name], seconds))
    return [figure(name, measured) for name, measured in found.items()]


def figure(name: str, measured: list[Measured]) -> Figure:
    """The rounds of one contender in one figure."""
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
