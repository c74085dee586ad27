"""The table of a tuning's trials, its picture of throughput against latency, and the comment in the recipe."""

import datetime
import platform
from pathlib import Path

from rich.console import Group
from rich.table import Table

from bench.candidates import CORES
from bench.goal import CLIENTS, Goal

MAX_REASON = 90  # characters


def table(trials: list, goal: Goal, step: str = "") -> Group:
    """The served trials, best first; then the reasons of the others, and the present step."""
    made = Table(title=f"goal: {goal.text}; answers/s, p50 ms, p99 ms", title_justify="left")
    made.add_column("candidate")
    for clients in CLIENTS:
        made.add_column(f"{clients} client{'s' * (clients > 1)}", justify="right")
    served = [trial for trial in trials if trial.measured]
    for trial in sorted(served, key=lambda trial: goal.score(trial.measured), reverse=True):
        cells = [f"{each.rate:,.1f}  {each.p50:,.1f}  {each.p99:,.1f}" for each in trial.measured]
        made.add_row(str(trial.candidate), *cells)
    reasons = [f"{trial.candidate.network}: {shortened(trial.reason)}" for trial in trials if trial.reason]
    return Group(made, *reasons, step)


def shortened(reason: str) -> str:
    return reason if len(reason) <= MAX_REASON else reason[:MAX_REASON] + "..."


def draw(trials: list, best, file: Path) -> Path:
    """Draw each trial as a line from one client to the most: answers per second against the 99th percentile."""
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
    axes.set(xlabel="99th percentile of the latency, ms", ylabel="answers per second", xscale="log")
    axes.legend(loc="lower right")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)
    pyplot.close(figure)
    return file


def points(trial) -> tuple[list[float], list[float]]:
    return [each.p99 for each in trial.measured], [each.rate for each in trial.measured]


def comment(best, goal: Goal) -> str:
    """The date, the machine and the figures of the best trial, for the recipe."""
    one, most = best.measured[0], best.measured[-1]
    return (
        f"{datetime.date.today()}, {CORES} cores of {processor()}, goal {goal.text}: "
        f"{most.rate:,.0f} answers/s from {most.clients} clients (p99 {most.p99:,.0f} ms), {one.p50:,.1f} ms for one (median)"
    )


def processor() -> str:
    """The processor's name, or its architecture if the system does not say more."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), "") or platform.processor() or platform.machine()
