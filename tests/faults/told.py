"""What is found of each fault: a table at the end of the run, and with `--figures` a file. A plugin, since pytest-xdist's first
process, which prints, reads no conftest."""

import json
import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from tests.faults.steady import Steady

LINES = pytest.StashKey[list]()
HANDED = "faults"  # from process to process
WIDE = 200  # characters
COLUMNS = ("fault", "trials", "requests", "lost without retry", "lost through the client", "seconds to recover", "note")


class Tell:
    """Keeps a line for each fault."""

    def __init__(self, lines: list[dict]):
        self.lines = lines

    def __call__(self, fault: str, trials: int, load: Steady, seconds: Sequence[float] = (), note: str = "") -> None:
        lost = (counted(load.lost_bare()), counted(load.lost_through_client()))
        self.say(fault, load.sent(), note, trials, *lost, seconds)

    def say(
        self, fault: str, requests: int, note: str, trials: int = 1, bare: str = "", client: str = "", seconds: Sequence = ()
    ) -> None:
        recovery = f"{statistics.median(seconds):.1f}, at most {max(seconds):.1f}" if seconds else ""
        self.lines.append(dict(zip(COLUMNS, (fault, str(trials), f"{requests:,}", bare, client, recovery, note), strict=True)))


def counted(results: Counter) -> str:
    return ", ".join(f"{count:,} x {result}" for result, count in results.most_common()) or "0"


@pytest.fixture
def trials(request) -> int:
    """How often a fault is done."""
    return request.config.getoption("--trials")


@pytest.fixture(scope="session")
def tell(request) -> Tell:
    return Tell(request.config.stash.setdefault(LINES, []))


def pytest_sessionfinish(session) -> None:
    """In one of pytest-xdist's processes: hand the lines to the first one."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput[HANDED] = session.config.stash.get(LINES, [])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node) -> None:
    """In the first process, when another has ended, by itself or by a crash."""
    node.config.stash.setdefault(LINES, []).extend(getattr(node, "workeroutput", {}).get(HANDED, []))


def pytest_terminal_summary(terminalreporter, config) -> None:
    lines = config.stash.get(LINES, [])
    if not lines:
        return
    if folder := config.getoption("--figures"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / "faults.json").write_text(json.dumps(lines, indent=1))
    table = Table(*COLUMNS)
    for line in lines:
        table.add_row(*line.values())
    Console(file=terminalreporter._tw._file, width=WIDE).print(table)
