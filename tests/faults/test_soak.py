"""Memory, open files and threads of the server's processes in a long run. `make soak` sends 80,000 requests."""

import itertools
from collections.abc import Iterator

import msgspec
import pytest
from rich.console import Console
from rich.table import Table

from tests.faults.concurrent_clients import ConcurrentClients, progress_bars
from tests.faults.process_usage import Usage, processes, usage
from tests.faults.traffic_mix import traffic_mix

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(3_600)]
INVALID_SHARE = {True: 0.02, False: 0.2}  # of a long run, of a short one
LARGEST = 1 << 20  # bytes of a body. Larger ones take what depends on how many meet, and Java keeps it: docs/operations.md
REQUESTS_PER_ROUND = 400
WARM_UP, ROUNDS = 2, 5  # of the same requests each: another large picture in the last round would look like a leak
MAX_ROUNDS = 15  # of a run without --requests, which goes on until the memory stands still
STEADY = 0.01  # growth of resident memory in one round, below which it stands still
MAX_GROWTH = 0.02  # of resident memory in a run with --requests, after its warm-up


def test_memory_files_and_threads_stay_as_they_are(production, request, figures_folder, capfd):
    count = request.config.getoption("requests")
    size = count // ROUNDS if count else REQUESTS_PER_ROUND
    cases = [case for case in traffic_mix(production, size, INVALID_SHARE[bool(count)]) if len(case.body) <= LARGEST]
    before = processes(production)
    history, faults, seconds = [], [], 0.0
    with capfd.disabled(), progress_bars(bool(count)) as progress:
        clients = ConcurrentClients(production, progress)
        for number in rounds(history, bool(count)):
            results = clients.send(cases, f"round {number}")
            history.append(usage(production))
            faults, seconds = faults + results.faults, seconds + results.seconds
    start, end = history[WARM_UP - 1], history[-1]
    figures = {"requests": len(history) * len(cases), "seconds": seconds, "growth": growth(start, end), "history": history}
    (figures_folder / "soak.json").write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=1))
    if count:
        with capfd.disabled():
            show(history, f"{figures['requests']:,} requests in {seconds:.0f} s; {len(faults):,} wrong")

    assert not faults, f"{len(faults)} of {figures['requests']}:\n" + "\n".join(faults[:40])
    assert processes(production) == before, "a worker was started again"
    if count:
        assert all(share < MAX_GROWTH for share in growth(start, end).values()), growth(start, end)
    else:
        assert is_steady(history), [growth(*pair) for pair in itertools.pairwise(history)]
    for name, held in end.items():
        assert held.files <= start[name].files + 2, f"{name} holds more files open"
        assert held.threads <= start[name].threads + 2, f"{name} has more threads"


def rounds(history: list[dict[str, Usage]], is_long: bool) -> Iterator[int]:
    """The numbers of the rounds: `ROUNDS` in a long run; in a short one as many as the memory needs to stand still.

    Java's heap grows to its working size in the first thousands of requests, so a short run cannot tell a fixed growth from
    a leak. A leak never stands still.
    """
    for number in range(1, (ROUNDS if is_long else MAX_ROUNDS) + 1):
        if not is_long and is_steady(history):
            return
        yield number


def is_steady(history: list[dict[str, Usage]]) -> bool:
    """Whether no process has grown in the last two rounds."""
    return len(history) > WARM_UP + 1 and all(
        share < STEADY for pair in zip(history[-3:], history[-2:], strict=False) for share in growth(*pair).values()
    )


def growth(start: dict[str, Usage], end: dict[str, Usage]) -> dict[str, float]:
    """Of resident memory, as a share of that at the start."""
    return {name: end[name].resident / start[name].resident - 1 for name in end}


def show(history: list[dict[str, Usage]], summary: str) -> None:
    start, middle, end = history[WARM_UP - 1], history[(WARM_UP - 1 + len(history)) // 2], history[-1]
    table = Table("process", "at the start", "in the middle", "at the end", "growth of memory")
    for name, share in growth(start, end).items():
        cells = [
            f"{one.resident:.1f} MB, {one.files} files, {one.threads} threads"
            for one in (at[name] for at in (start, middle, end))
        ]
        table.add_row(name, *cells, f"{share:+.1%}")
    console = Console(width=130, highlight=False)
    console.print(table)
    console.print(summary)
