"""`make explain-check`: how faithful each method's explanations of a model are, on a part of its test set.

    python -m bench.explain_check digits --inputs 24
    python -m bench.explain_check names --try texts/

It prints a table, and leaves the figures and the curves in the artifact's `report/`. It runs on the eager network; no server.
"""

import argparse
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench import explain_gallery, explain_shap, faithfulness
from bench.explain_subjects import Asked, inputs, loaded, subject_of
from handlers.base import Handler
from handlers.explain.method import Options, Unsuitable, find
from handlers.explain.subject import Subject
from model_defs.artifact import REPORT
from model_defs.command import reported
from model_defs.errors import BundleError

INPUTS, PICTURES = 24, 4  # to measure, to draw
RANDOM = "random map"
UNSIGNED = "integrated_gradients, unsigned"  # the map of version 0.1
MAX_ALIKE = 0.5  # correlation with the map under random weights


class Row(msgspec.Struct):
    """A method's figures, each the mean over the inputs. Without a value where the measure does not exist."""

    method: str
    deletion: float
    insertion: float
    score: float
    error: float | None = None
    infidelity: float | None = None
    sensitivity: float | None = None
    random_weights: float | None = None
    milliseconds: float = 0.0
    passes: float = 0.0
    inputs: int = 0
    verdict: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.explain_check", description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"), help="their folder (default: %(default)s)")
    parser.add_argument("--inputs", type=int, default=INPUTS, help="how many (default: %(default)s)")
    parser.add_argument("--try", dest="folder", type=Path, help="a folder of your own inputs, in place of the test set")
    parser.add_argument("--device", default="cpu", help="such as cuda:0 (default: %(default)s)")
    parser.add_argument("--gallery", type=Path, help="copy the first picture into this folder, as <model>.png")
    parser.add_argument("--methods", nargs="*", help="all of the model's, if left out")
    arguments = parser.parse_args()
    with reported("bench.explain_check"):
        handler = loaded(arguments.artifacts / arguments.model, arguments.device)
        where, given = inputs(handler, arguments.folder, arguments.inputs)
        rows, drawn = check(handler, given, arguments.methods)
        folder = handler.artifact.folder / REPORT
        folder.mkdir(exist_ok=True)
        (folder / "explanations.json").write_bytes(msgspec.json.format(msgspec.json.encode(rows), indent=1))
        draw(drawn, folder / "explanations.png")
        show(arguments.model, where, rows)
        pictures = explain_gallery.write(handler, given, folder / "explanations", PICTURES)
        if arguments.gallery and pictures:
            arguments.gallery.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(pictures[0], arguments.gallery / f"{arguments.model}.png")
        print(folder / "explanations.png", *pictures, explain_shap.write(handler, given, folder / "shap.png"), sep="\n")


def check(handler: Handler, given: list[Asked], chosen: list[str] | None) -> tuple[list[Row], dict[str, faithfulness.Curves]]:
    """Measure the methods. Returns a row for each, the best first, and the mean curves.

    Raises:
        BundleError: the model gives no explanations, has no such method, or finds nothing in these inputs.
    """
    if handler.ExplanationParameters is None:
        raise BundleError(f"{type(handler).__name__} gives no explanations")
    subjects = [subject for one in given if (subject := subject_of(handler, one))]
    if not subjects:
        raise BundleError(
            f"{handler.artifact.name} finds nothing in these {len(given)} inputs to explain; give others: --try folder"
        )
    known = methods_of(handler)
    known += [UNSIGNED] if UNSIGNED.partition(",")[0] in known else []
    for name in chosen or ():
        if name not in known:
            raise BundleError(f"no method {name!r} for {handler.artifact.name}; it has {', '.join(known)}")
    units = [subject.units() for subject in subjects]
    blind = [faithfulness.curves(one, faithfulness.random_weights(one.shape, index)) for index, one in enumerate(units)]
    rows, drawn = [row_of(RANDOM, blind)], {RANDOM: mean(blind)}
    for name in track(chosen or known, description="methods"):
        found = measured(handler, subjects, name, blind)
        if found:
            rows.append(found[0])
            drawn[name] = mean(found[1])
    return sorted(rows, key=lambda row: row.deletion - row.insertion), drawn


def methods_of(handler: Handler) -> list[str]:
    properties = next(iter(msgspec.json.schema(handler.ExplanationParameters)["$defs"].values()))["properties"]
    return next(one["enum"] for one in properties["method"]["anyOf"] if "enum" in one)


def measured(
    handler: Handler, subjects: list[Subject], name: str, blind: list[faithfulness.Curves]
) -> tuple[Row, list[faithfulness.Curves]] | None:
    """A method's row and its curves; None if it does not suit the model."""
    method = name.partition(",")[0]
    is_unsigned = name == UNSIGNED
    found_curves, errors, missed, moved, alike, seconds = [], [], [], [], [], 0.0
    for subject in subjects:
        explained = explainer(subject, method, is_unsigned)
        try:
            start = time.perf_counter()
            weights, error = explained()
            seconds += time.perf_counter() - start
        except (Unsuitable, BundleError):
            return None
        units = subject.units()
        found_curves.append(faithfulness.curves(units, weights))
        errors += [] if error is None else [error]
        missed.append(faithfulness.infidelity(units, weights))
        if len(moved) < 4 and isinstance(subject.sample, torch.Tensor) and subject.sample.dtype != torch.int64:
            moved.append(faithfulness.sensitivity(subject.sample, perturbed(subject, method, is_unsigned)))
        if len(alike) < 8 and not subject.is_in_a_file:
            with faithfulness.randomised(handler):
                alike.append(faithfulness.rank_correlation(weights, explained()[0]))
    parts = int(np.prod(subjects[0].parts().shape))
    row = row_of(name, found_curves, blind)
    row.error, row.infidelity, row.sensitivity, row.random_weights = map(average, (errors, missed, moved, alike))
    row.milliseconds, row.passes = 1000 * seconds / len(subjects), subjects[0].methods[method].passes(Options(), parts)
    if row.random_weights is not None and abs(row.random_weights) > MAX_ALIKE:
        row.verdict = "the same map under random weights"
    return row, found_curves


def explainer(subject: Subject, method: str, is_unsigned: bool) -> Callable[[], tuple[torch.Tensor, float | None]]:
    def explained() -> tuple[torch.Tensor, float | None]:
        subject.parameters = msgspec.structs.replace(subject.parameters, method=method)
        found = find(method, subject.methods[method], subject.view(method), Options())
        if is_unsigned:
            found = found._replace(values=found.values.abs())
        return subject.unit_weights(found).float(), found.error

    return explained


def perturbed(subject: Subject, method: str, is_unsigned: bool) -> Callable[[torch.Tensor], torch.Tensor]:
    def explained(sample: torch.Tensor) -> torch.Tensor:
        kept, subject.sample = subject.sample, sample
        try:
            return explainer(subject, method, is_unsigned)()[0]
        finally:
            subject.sample = kept

    return explained


def row_of(name: str, found: list[faithfulness.Curves], blind: list[faithfulness.Curves] | None = None) -> Row:
    """The row, with the verdict: better than the random map by more than two standard errors, in both measures."""
    deletion, insertion = (np.array([getattr(one, kind).mean() for one in found]) for kind in ("deletion", "insertion"))
    row = Row(name, float(deletion.mean()), float(insertion.mean()), float(np.mean([one.deletion[0] for one in found])))
    row.inputs = len(found)
    if blind:
        gains = [
            np.array([one.deletion.mean() for one in blind]) - deletion,
            insertion - np.array([one.insertion.mean() for one in blind]),
        ]
        is_better = all(gain.mean() > 2 * gain.std() / len(gain) ** 0.5 for gain in gains)
        row.verdict = "faithful" if is_better else "not better than a random map"
    return row


def average(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


def mean(found: list[faithfulness.Curves]) -> faithfulness.Curves:
    return faithfulness.Curves(*(np.mean([getattr(one, kind) for one in found], axis=0) for kind in ("deletion", "insertion")))


def show(model: str, where: str, rows: list[Row]) -> None:
    table = Table(
        "method", "deletion", "insertion", "error", "infidelity", "sensitivity", "random weights", "ms", "passes", "verdict",
        title=f"{model}: {rows[0].inputs} inputs of {where}, score {rows[0].score:.3f}",
    )  # fmt: skip
    for row in rows:
        shown = [row.error, row.infidelity, row.sensitivity, row.random_weights]
        figures = ["-" if value is None else f"{value:.3f}" for value in shown]
        table.add_row(
            row.method,
            f"{row.deletion:.3f}",
            f"{row.insertion:.3f}",
            *figures,
            f"{row.milliseconds:.0f}",
            f"{row.passes:.0f}",
            row.verdict,
        )
    Console(width=None if Console().is_terminal else 150).print(table)


def draw(drawn: dict[str, faithfulness.Curves], file: Path) -> None:
    """The mean curves as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(12, 5), sharey=True)
    for axis, kind in zip(axes, ("deletion", "insertion"), strict=True):
        for name, found in drawn.items():
            values = getattr(found, kind)
            style = {"color": "black", "linestyle": "--"} if name == RANDOM else {}
            axis.plot(np.linspace(0, 100, len(values)), values, label=name, **style)
        axis.set_title(kind)
        axis.set_xlabel("% of the units, the strongest first")
    axes[0].set_ylabel("score")
    axes[1].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(file, dpi=100)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
