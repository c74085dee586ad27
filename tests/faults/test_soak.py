"""It stays up: what the server's processes hold at the start, middle and end of a long run. `make soak` sends 20,000."""

import msgspec
import pytest
from rich.console import Console
from rich.table import Table

from tests.faults.load import Clients, drawing, holdings, processes
from tests.faults.mix import mixed

pytestmark = [pytest.mark.server, pytest.mark.alone, pytest.mark.timeout(3_600)]
SHORT = 2_000  # requests, in `make test`
BAD = 0.02
LARGEST = 1 << 20  # bytes of a body: what larger ones take depends on how many meet, and Java keeps it; docs/operations.md
ROUNDS = 5  # of the same requests each: a large picture more in the last round would look like a leak
MOMENTS = {2: "start", 3: "middle", 5: "end"}  # after so many rounds; in the first two, memory pools grow to what they need
MOST_GROWTH = {True: 0.02, False: 0.10}  # of resident memory from start to end; a short run ends while Java still warms up


def test_memory_files_and_threads_stay_as_they_are(production, request, tmp_path, capfd):
    count = request.config.getoption("requests")
    cases = [case for case in mixed(production, (count or SHORT) // ROUNDS, BAD) if len(case.body) <= LARGEST]
    before = processes(production)
    held, faults, seconds = {}, [], 0.0
    with capfd.disabled(), drawing(bool(count)) as progress:
        clients = Clients(production, progress)
        for done in range(1, ROUNDS + 1):
            sent = clients.send(cases, f"round {done} of {ROUNDS}")
            faults, seconds = faults + sent.faults, seconds + sent.seconds
            if done in MOMENTS:
                held[MOMENTS[done]] = holdings(production)
    growth = {name: held["end"][name].resident / held["start"][name].resident - 1 for name in held["end"]}
    if count:
        with capfd.disabled():
            show(held, growth, f"{ROUNDS * len(cases):,} requests in {seconds:.0f} s; {len(faults):,} wrong")
    folder = request.config.getoption("figures") or tmp_path
    figures = {"requests": ROUNDS * len(cases), "seconds": seconds, "growth": growth, "held": held}
    (folder / "soak.json").write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=1))

    assert not faults, f"{len(faults)} of {ROUNDS * len(cases)}:\n" + "\n".join(faults[:40])
    assert processes(production) == before, "a worker was started anew"
    assert all(share < MOST_GROWTH[bool(count)] for share in growth.values()), growth
    for name, end in held["end"].items():
        assert end.files <= held["start"][name].files + 2, f"{name} holds more files open"
        assert end.threads <= held["start"][name].threads + 2, f"{name} has more threads"


def show(held: dict, growth: dict[str, float], summary: str) -> None:
    table = Table("process", *(f"at the {moment}" for moment in held), "growth of memory")
    for name in growth:
        told = [f"{one.resident:.1f} MB, {one.files} files, {one.threads} threads" for one in (at[name] for at in held.values())]
        table.add_row(name, *told, f"{growth[name]:+.1%}")
    console = Console(width=130, highlight=False)
    console.print(table)
    console.print(summary)
