"""The pictures in `artifacts/<model>/report/`.

curves.png       losses and metrics per epoch
confusion.png    the confusion matrix of the test set
examples.png     one test input per label as the network sees it, a picture or a spectrogram; or some inputs with what was found
"""

import csv
from collections import defaultdict
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from model_defs.answer_diff import pixels
from model_defs.artifact import Sample
from model_defs.transform import Transform

matplotlib.use("Agg")
matplotlib.rcParams["text.parse_math"] = False  # a label may hold dollar signs
MAX_EXAMPLES = 40
MAX_MARKED = 12
MAX_NAMED = 40  # labels on the axes of a confusion matrix; more cannot be read


def save_figures(folder: Path, figures: dict[str, Figure | None]) -> None:
    """Save the figures that exist into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        if figure is not None:
            figure.savefig(folder / name, dpi=110, bbox_inches="tight")


def curves(logs: list[Path]) -> Figure:
    """What was logged per epoch: losses on the left, metrics on the right.

    Args:
        logs: Lightning's metrics.csv files of this training, in their order.
    """
    series: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for log in logs:
        with log.open(newline="") as file:
            for row in csv.DictReader(file):
                for name, value in row.items():
                    if value and name.startswith(("train_", "val_")):
                        series[name].append((int(row["epoch"]) + 1, float(value)))
    figure = Figure(figsize=(9, 3.5))
    left, right = figure.subplots(1, 2)
    for name, points in sorted(series.items()):
        (left if name.endswith("loss") else right).plot(*zip(*points, strict=True), marker=".", label=name)
    for axes, title in ((left, "loss"), (right, "metrics")):
        axes.set(title=title, xlabel="epoch")
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def confusion(labels: list[str], samples: list[Sample]) -> Figure:
    """The confusion matrix: a row per true label, a column per answer."""
    class_ids = {label: class_id for class_id, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), dtype=int)
    for sample in samples:
        counts[class_ids[sample.truth], class_ids[sample.answer[0]["label"]]] += 1
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    side = min(2 + 0.5 * len(labels), 14)
    figure = Figure(figsize=(side, side))
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(title="confusion matrix (test set)", xlabel="answer", ylabel="label")
    if len(labels) <= MAX_NAMED:
        axes.set_xticks(range(len(labels)), labels, rotation=90)
        axes.set_yticks(range(len(labels)), labels)
        for row, column in zip(*counts.nonzero(), strict=True):
            ink = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, counts[row, column], ha="center", va="center", color=ink, fontsize=8)
    return figure


def examples(transform: Transform, answered: list[tuple[Sample, bytes]]) -> Figure | None:
    """One input per label; None if the transform cannot draw."""
    first = {sample.truth: payload for sample, payload in reversed(answered)}
    drawn = [(label, transform.draw(transform(payload))) for label, payload in sorted(first.items())[:MAX_EXAMPLES]]
    drawn = [(label, image) for label, image in drawn if image is not None]
    if not drawn:
        return None
    columns = min(5, len(drawn))
    rows = -(-len(drawn) // columns)
    figure = Figure(figsize=(2.4 * columns, 2.2 * rows))
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.set_axis_off()
    for axes, (label, image) in zip(figure.axes, drawn, strict=False):
        axes.imshow(image, aspect="auto" if image.ndim == 2 else "equal", cmap="gray" if image.dtype == np.uint8 else "magma")
        axes.set_title(label, fontsize=9)
    return figure


def marked(transform: Transform, answered: list[tuple[Sample, bytes]]) -> Figure:
    """Some test pictures with the boxes and masks that were found in them."""
    shown = answered[:MAX_MARKED]
    figure = Figure(figsize=(12, 3.1 * -(-len(shown) // 4)))
    for axes in figure.subplots(-(-len(shown) // 4), 4, squeeze=False).flat:
        axes.set_axis_off()
    for axes, (answer, payload) in zip(figure.axes, ((sample.answer, payload) for sample, payload in shown), strict=False):
        sample = transform(payload)
        axes.imshow(transform.draw(sample), extent=(0, sample.width, sample.height, 0), cmap="gray")
        for index, entry in enumerate(answer):
            colour = f"C{index % 10}"
            if "mask" in entry:
                mask = pixels(entry["mask"]) > 127
                if not mask.any():
                    continue
                axes.contour(mask, [0.5], colors=colour)
                at = np.argwhere(mask)[0][::-1]
            else:
                box = entry["box"]
                at, size = (box["xmin"], box["ymin"]), (box["xmax"] - box["xmin"], box["ymax"] - box["ymin"])
                axes.add_patch(Rectangle(at, *size, fill=False, edgecolor=colour, linewidth=1.5))
            axes.text(*at, f"{entry['label']} {entry['score']:.2f}", fontsize=7, color="white", backgroundcolor=colour)
    return figure
