"""Bad requests under load, to the bundle as `make serve` starts it. `make chaos` sends 10,000 requests, one in five is bad."""

import json
from collections import Counter

import pytest
from rich.console import Console
from rich.table import Table

from tests.faults.concurrent_clients import CLIENTS, ConcurrentClients, Results, progress_bars
from tests.faults.process_usage import Usage, processes, usage
from tests.faults.request_case import RequestCase
from tests.faults.traffic_mix import traffic_mix

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(1_800)]
SHORT = 1_500  # requests, without --requests
INVALID_SHARE = 0.2


def test_bad_requests_get_a_4xx_that_says_why_and_good_ones_their_answer(production, request, figures_folder, capfd):
    count = request.config.getoption("requests")
    cases = traffic_mix(production, count or SHORT, INVALID_SHARE)
    before = processes(production)
    third = len(cases) // 3
    with capfd.disabled(), progress_bars(bool(count)) as progress:
        clients = ConcurrentClients(production, progress)
        warm_up, warm = clients.send(cases[:third], "a third, to warm up"), usage(production)
        rest, end = clients.send(cases[third:], "the rest"), usage(production)
    figures = summary(cases, [warm_up, rest], warm, end)
    (figures_folder / "chaos.json").write_text(json.dumps(figures, indent=1))
    if count:
        with capfd.disabled():
            show(figures)

    faults = warm_up.faults + rest.faults
    assert not faults, f"{len(faults)} of {len(cases)}:\n" + "\n".join(faults[:40])
    assert processes(production) == before, "a worker was started again"


def summary(cases: list[RequestCase], results: list[Results], warm: dict[str, Usage], end: dict[str, Usage]) -> dict:
    kinds: dict[str, Counter] = {}
    for one in results:
        for kind, statuses in one.statuses.items():
            kinds.setdefault(kind, Counter()).update(statuses)
    seconds = sum(one.seconds for one in results)
    return {
        "requests": len(cases),
        "bad": sum(not case.is_valid for case in cases),
        "clients": CLIENTS,
        "seconds": seconds,
        "requests_per_second": len(cases) / seconds,
        "wrong": sum(len(one.faults) for one in results),
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
