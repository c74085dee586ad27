"""It stays up: what the server's processes hold at the start, middle and end of a long run. `make soak` sends 20,000."""

import json

import pytest
from rich.console import Console
from rich.table import Table

from tests.faults.load import Clients, deaths, drawing, holdings, workers
from tests.faults.mix import mixed

pytestmark = [pytest.mark.server, pytest.mark.timeout(3_600)]
SHORT = 1_500  # requests, in `make test`
BAD = 0.02
WARM_UP = 0.4  # of the requests: until Java's heap has found its size
MOST_GROWTH = {True: 0.02, False: 0.10}  # of resident memory from start to end; a short run ends while Java still compiles


def test_memory_files_and_threads_stay_as_they_are(production, request, tmp_path, capfd):
    count = request.config.getoption("requests")
    cases = mixed(production, count or SHORT, BAD)
    before, died = workers(production), deaths(production)
    start = round(WARM_UP * len(cases))
    middle = (start + len(cases)) // 2
    phases = {"start": cases[:start], "middle": cases[start:middle], "end": cases[middle:]}
    held, faults, seconds = {}, [], 0.0
    with capfd.disabled(), drawing(bool(count)) as progress:
        clients = Clients(production, progress)
        for name, phase in phases.items():
            sent = clients.send(phase, f"until the {name}")
            held[name] = holdings(production)
            faults, seconds = faults + sent.faults, seconds + sent.seconds
    growth = {name: held["end"][name].resident / held["start"][name].resident - 1 for name in held["end"]}
    if count:
        with capfd.disabled():
            show(held, growth, f"{len(cases):,} requests in {seconds:.0f} s; {len(faults):,} wrong")
    folder = request.config.getoption("figures") or tmp_path
    (folder / "soak.json").write_text(json.dumps({"growth": growth, "requests": len(cases), "seconds": seconds}, indent=1))

    assert not faults, f"{len(faults)} of {len(cases)}:\n" + "\n".join(faults[:40])
    assert workers(production) == before and deaths(production) == died
    assert all(share < MOST_GROWTH[bool(count)] for share in growth.values()), growth
    for name, end in held["end"].items():
        assert end.files <= held["start"][name].files + 2, f"{name} holds more files open"
        assert end.threads <= held["start"][name].threads + 2, f"{name} has more threads"


def show(held: dict, growth: dict[str, float], summary: str) -> None:
    table = Table("process", *(f"{what} at the {when}" for what in ("MB", "files", "threads") for when in held), "growth")
    for name in growth:
        moments = [moment[name] for moment in held.values()]
        table.add_row(
            name,
            *(f"{one.resident:.1f}" for one in moments),
            *(str(one.files) for one in moments),
            *(str(one.threads) for one in moments),
            f"{growth[name]:+.1%}",
        )
    console = Console(width=130, highlight=False)
    console.print(table)
    console.print(summary)
