"""What a tuning shows: the table of its trials, and the picture of throughput against latency.

Knows nothing of how a trial is made.
"""

import datetime
import platform
from pathlib import Path

from rich.console import Group
from rich.table import Table

from bench.candidates import CORES
from bench.goal import CLIENTS, Goal

SHOWN = 90  # characters of a reason


def table(trials: list, goal: Goal, doing: str = "") -> Group:
    """Best first; what was not served at the end."""
    made = Table(
        title=f"goal: {goal.text}; answers/s, p50 ms, p99 ms",
        title_justify="left",
    )
    made.add_column("candidate")
    for clients in CLIENTS:
        made.add_column(f"{clients} client{'s' * (clients > 1)}", justify="right")
    notes = []
    served = [trial for trial in trials if trial.measured]
    for trial in sorted(served, key=lambda trial: goal.score(trial.measured), reverse=True):
        cells = [f"{each.rate:,.1f}  {each.p50:,.1f}  {each.p99:,.1f}" for each in trial.measured]
        made.add_row(str(trial.candidate), *cells)
    for trial in trials:
        if trial.reason:
            notes.append(f"{trial.candidate.network}: {shortened(trial.reason)}")
    return Group(made, *notes, doing)


def shortened(reason: str) -> str:
    return reason if len(reason) <= SHOWN else reason[:SHOWN] + "..."


def draw(trials: list, best, file: Path) -> Path:
    """Each trial as a line from one client to the most: answers a second against the 99th percentile."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 6), layout="constrained")
    for trial in trials:
        if trial.measured and trial is not best:
            axes.plot(*points(trial), ".-", color="0.8", linewidth=1)
    axes.plot(*points(best), "o-", color="C0", label=str(best.candidate))
    for each in best.measured:
        axes.annotate(f"{each.clients} clients", (each.p99, each.rate), textcoords="offset points", xytext=(6, -10))
    axes.set(xlabel="99th percentile of the latency, ms", ylabel="answers a second", xscale="log")
    axes.legend(loc="lower right")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)
    pyplot.close(figure)
    return file


def points(trial) -> tuple[list[float], list[float]]:
    return [each.p99 for each in trial.measured], [each.rate for each in trial.measured]


def said(best, goal: Goal) -> str:
    """For the recipe's comment: when, where, and how much."""
    one, most = best.measured[0], best.measured[-1]
    return (
        f"{datetime.date.today()}, {CORES} cores of {processor()}, goal {goal.text}: "
        f"{most.rate:,.0f} answers/s from {most.clients} clients (p99 {most.p99:,.0f} ms), {one.p50:,.1f} ms for one (median)"
    )


def processor() -> str:
    """The processor's name, where the system tells."""
    info = Path("/proc/cpuinfo")
    names = (
        [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    return names[0] if names else platform.processor() or platform.machine()
