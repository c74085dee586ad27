"""The results of a benchmark as tables, a JSON file and a chart."""

from pathlib import Path
from typing import Any

import msgspec
from rich.table import Table

from bench.rounds import Figure


class Report(msgspec.Struct):
    """
    Args:
        machine: cores and processor.
        case: its title.
        figures: of the closed loop, then of the open loop.
        notes: other facts, by name.
    """

    machine: str
    case: str
    figures: list[Figure]
    notes: dict[str, Any] = {}


def table(report: Report) -> Table:
    """One row per contender and number of clients, for a terminal."""
    made = Table(title=f"{report.case}; {report.machine}", title_justify="left")
    for name in ("contender", "clients", "answers/s", "least to most", "p50 ms", "p99 ms", "load tool, cores", "other answers"):
        made.add_column(name, justify="left" if name == "contender" else "right")
    for each in report.figures:
        clients = f"{each.asked:,.0f}/s" if each.asked else f"{each.clients}"
        made.add_row(
            each.contender, clients, f"{each.rate:,.1f}", f"{each.least:,.1f} to {each.most:,.1f}",
            f"{each.p50:,.1f}", f"{each.p99:,.1f}", f"{each.tool:.2f}", f"{each.others}",
        )  # fmt: skip
    return made


def markdown(report: Report, clients: int) -> str:
    """The table for the docs: many clients, and one client; best first."""
    many = sorted((each for each in report.figures if each.clients == clients and not each.asked), key=lambda each: -each.rate)
    alone = {each.contender: each for each in report.figures if each.clients == 1 and not each.asked}
    lines = [
        f"| server | answers/s, {clients} clients | p50 ms | p99 ms | answers/s, 1 client | p50 ms |",
        "| --- |" + " --- |" * 5,
    ]
    for each in many:
        one = alone.get(each.contender)
        single = f"{one.rate:,.1f} | {one.p50:,.1f}" if one else " | "
        rate = f"{each.rate:,.1f} ({each.least:,.1f} to {each.most:,.1f})"
        lines.append(f"| {each.contender} | {rate} | {each.p50:,.0f} | {each.p99:,.0f} | {single} |")
    return "\n".join(lines)


def write(found: Any, file: Path) -> Path:
    """Write it as JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1))
    return file


def draw(reports: list[Report], file: Path) -> Path:
    """Draw, for each case, answers per second and the 99th percentile of each contender over the number of clients."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, rows = pyplot.subplots(len(reports), 2, figsize=(11, 3.6 * len(reports)), squeeze=False, layout="constrained")
    for report, (left, right) in zip(reports, rows, strict=True):
        closed = [each for each in report.figures if not each.asked]
        for name in dict.fromkeys(each.contender for each in closed):
            line = sorted((each for each in closed if each.contender == name), key=lambda each: each.clients)
            style = {"linewidth": 2.5} if name.startswith("this bundle") else {"linewidth": 1, "alpha": 0.8}
            clients = [each.clients for each in line]
            left.plot(clients, [each.rate for each in line], "o-", label=name, **style)
            right.plot(clients, [each.p99 for each in line], "o-", label=name, **style)
        left.set(title=report.case, xlabel="clients", ylabel="answers per second", xscale="log")
        left.set_ylim(bottom=0)
        right.set(xlabel="clients", ylabel="99th percentile, ms", xscale="log", yscale="log")
        left.legend(fontsize="x-small")
    figure.savefig(file, dpi=110)
    pyplot.close(figure)
    return file
