"""Bad requests under load, to the bundle as `make serve` starts it. `make chaos` sends 10,000, one in five of them bad."""

import json
from collections import Counter

import pytest
from rich.console import Console
from rich.table import Table

from tests.faults.case import Case
from tests.faults.load import CLIENTS, Clients, Held, Sent, drawing, holdings, processes
from tests.faults.mix import mixed

pytestmark = [pytest.mark.server, pytest.mark.timeout(1_800)]
SHORT = 1_500  # requests, in `make test`
BAD = 0.2
MOST_GROWTH = 0.25  # of a process's resident memory after the first third; docs/operations.md has what was measured


def test_bad_requests_get_a_4xx_that_says_why_and_good_ones_their_answer(production, request, tmp_path, capfd):
    count = request.config.getoption("requests")
    cases = mixed(production, count or SHORT, BAD)
    before = processes(production)
    third = len(cases) // 3
    with capfd.disabled(), drawing(bool(count)) as progress:
        clients = Clients(production, progress)
        warm_up, warm = clients.send(cases[:third], "a third, to warm up"), holdings(production)
        rest, end = clients.send(cases[third:], "the rest"), holdings(production)
    figures = summary(cases, [warm_up, rest], warm, end)
    folder = request.config.getoption("figures") or tmp_path
    (folder / "chaos.json").write_text(json.dumps(figures, indent=1))
    if count:
        with capfd.disabled():
            show(figures)

    faults = warm_up.faults + rest.faults
    assert not faults, f"{len(faults)} of {len(cases)}:\n" + "\n".join(faults[:40])
    assert processes(production) == before, "a worker was started anew"
    assert all(row["growth"] < MOST_GROWTH for row in figures["memory"].values()), figures["memory"]


def summary(cases: list[Case], sent: list[Sent], warm: dict[str, Held], end: dict[str, Held]) -> dict:
    kinds: dict[str, Counter] = {}
    for one in sent:
        for kind, statuses in one.statuses.items():
            kinds.setdefault(kind, Counter()).update(statuses)
    seconds = sum(one.seconds for one in sent)
    return {
        "requests": len(cases),
        "bad": sum(not case.is_good for case in cases),
        "clients": CLIENTS,
        "seconds": seconds,
        "requests_per_second": len(cases) / seconds,
        "wrong": sum(len(one.faults) for one in sent),
        "statuses": dict(sorted(sum(kinds.values(), Counter()).items())),
        "kinds": {kind: dict(sorted(statuses.items())) for kind, statuses in sorted(kinds.items())},
        "memory": {
            name: {"warm": warm[name].resident, "end": end[name].resident, "growth": end[name].resident / warm[name].resident - 1}
            for name in end
        },
    }


def show(figures: dict) -> None:
    kinds = Table("kind", "requests", "answered", "refused")
    for kind, statuses in figures["kinds"].items():
        refused = ", ".join(f"{count:,} x {status or 'cut'}" for status, count in statuses.items() if status != 200)
        kinds.add_row(kind, f"{sum(statuses.values()):,}", f"{statuses.get(200, 0):,}", refused)
    memory = Table("process", "MB after a third", "MB at the end", "growth")
    for name, row in figures["memory"].items():
        memory.add_row(name, f"{row['warm']:.1f}", f"{row['end']:.1f}", f"{row['growth']:+.1%}")
    console = Console(width=130, highlight=False)
    console.print(kinds, memory, sep="\n")
    console.print(
        f"{figures['requests']:,} requests, {figures['bad']:,} of them bad, from {figures['clients']} clients "
        f"in {figures['seconds']:.0f} s; {figures['wrong']:,} wrong"
    )
