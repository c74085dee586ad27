"""The table of all faults at the end of a run, and with `--figures` a file of it. A plugin of pytest."""

import json
import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from tests.faults.steady_load import SteadyLoad

ROWS = pytest.StashKey[list]()
WIDTH = 200  # characters
COLUMNS = ("fault", "trials", "requests", "lost without retry", "lost through the client", "seconds to recover", "note")


class FaultReport:
    """Collects one row per fault."""

    def __init__(self, rows: list[dict]):
        self.rows = rows

    def add(self, fault: str, trials: int, load: SteadyLoad, seconds: Sequence[float] = (), note: str = "") -> None:
        """
        Args:
            seconds: of each recovery.
        """
        recovery = f"{statistics.median(seconds):.1f}, at most {max(seconds):.1f}" if seconds else ""
        lost = (count_text(load.lost_bare()), count_text(load.lost_through_client()))
        self.add_cells(fault, str(trials), f"{load.sent():,}", *lost, recovery, note)

    def add_without_load(self, fault: str, requests: int, note: str) -> None:
        self.add_cells(fault, "1", f"{requests:,}", "", "", "", note)

    def add_cells(self, *cells: str) -> None:
        self.rows.append(dict(zip(COLUMNS, cells, strict=True)))


def count_text(results: Counter) -> str:
    return ", ".join(f"{count:,} x {result}" for result, count in results.most_common()) or "0"


@pytest.fixture
def trials(request) -> int:
    """How often a test repeats its fault."""
    return request.config.getoption("--trials")


@pytest.fixture
def figures_folder(request, tmp_path) -> Path:
    folder = request.config.getoption("--figures") or tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def report(request) -> FaultReport:
    return FaultReport(request.config.stash.setdefault(ROWS, []))


def pytest_terminal_summary(terminalreporter, config) -> None:
    rows = config.stash.get(ROWS, [])
    if not rows:
        return
    if folder := config.getoption("--figures"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / "faults.json").write_text(json.dumps(rows, indent=1))
    table = Table(*COLUMNS)
    for row in rows:
        table.add_row(*row.values())
    Console(file=terminalreporter._tw._file, width=WIDTH).print(table)
