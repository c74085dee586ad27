"""SHAP's own picture of a few test inputs, drawn by the package `shap`: an extra, for the artifact's `report/` alone.

No worker imports it; workers explain by Captum.
"""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.explain_subjects import Asked, spread, subject_of
from handlers.base import Handler
from handlers.classifier import Classifier
from handlers.explain.pictures import PictureSubject
from handlers.explain.sounds import SoundSubject
from handlers.explain.subject import Subject
from handlers.explain.tables import RowSubject

MISSING = "no picture by SHAP: its package is missing; make setup EXTRAS=shap"
UNSUITED = "no picture by SHAP: it has none for this model; a picture or sound needs labels, gradients and training inputs"
ROWS, BEES = 4, 32  # pictures or sounds; rows of a table
LABELS = 3  # maps in a row: of the best labels
SAMPLES = 64  # of each map
SUBSETS = 512  # of an input's parts
SEED = 0


def write(handler: Handler, given: list[Asked], file: Path) -> str:
    """Draw SHAP's picture of some inputs. Returns the file's name, or why there is no picture.

    Pictures and sounds get a row of maps each, by SHAP's GradientExplainer. Rows of a table get a beeswarm, texts, series and
    graphs a waterfall, both by its KernelExplainer.
    """
    if importlib.util.find_spec("shap") is None:
        return MISSING
    import matplotlib

    matplotlib.use("Agg")
    import shap
    from matplotlib import pyplot

    # One label for all rows, because a beeswarm lays them over each other.
    target = {"target": 0} if handler.labels and isinstance(handler, Classifier) else {}
    found = [subject for one in spread(given, BEES) if (subject := subject_of(handler, one, **target))]
    kind = found[0] if found else None
    if isinstance(kind, RowSubject):
        beeswarm(shap, found)
    elif isinstance(kind, PictureSubject | SoundSubject):
        if not has_maps(handler, kind):
            return UNSUITED
        maps(shap, found[:: -(-len(found) // ROWS)])
    elif kind:
        shap.plots.waterfall(explanation(shap, next(filter(None, (subject_of(handler, one) for one in given)))), show=False)
    else:
        return UNSUITED
    pyplot.savefig(file, dpi=100, bbox_inches="tight")
    pyplot.close("all")
    return str(file)


def has_maps(handler: Handler, subject: Subject) -> bool:
    return isinstance(handler, Classifier) and not subject.is_in_a_file and len(subject.dense().backgrounds) > 0


def maps(shap: Any, subjects: list[Subject]) -> None:
    """What in each input speaks for its best labels, in the network's outputs: a row of maps per input."""
    views = [subject.dense() for subject in subjects]
    inputs = torch.cat([view.inputs[:1] for view in views])
    explainer = shap.GradientExplainer(views[0].network.network, views[0].backgrounds)
    labels = subjects[0].handler.labels
    values, class_ids = explainer.shap_values(inputs, nsamples=SAMPLES, ranked_outputs=min(LABELS, len(labels)), rseed=SEED)
    per_label = [np.moveaxis(values[..., rank], 1, -1) for rank in range(values.shape[-1])]  # (N, H, W, C) each
    pixels = inputs.detach().movedim(1, -1).numpy()
    low, high = pixels.min(), pixels.max()
    named = np.array(labels)[np.asarray(class_ids)]
    shap.image_plot(per_label, (pixels - low) / (high - low), labels=named, show=False)


def beeswarm(shap: Any, subjects: list[Subject]) -> None:
    """What each column adds, over many rows: a dot per row, coloured by the column's value."""
    found = [explanation(shap, subject) for subject in subjects]
    together = shap.Explanation(
        np.stack([one.values for one in found]),
        np.array([one.base_values for one in found]),
        np.stack([torch.cat([one.sample.numbers, one.sample.categories.float()]).numpy() for one in subjects]),
        feature_names=list(subjects[0].transform.columns),
    )
    shap.plots.beeswarm(together, show=False)


def explanation(shap: Any, subject: Subject) -> Any:
    """What each part adds to the score."""
    parts = subject.parts()

    @torch.no_grad()
    def score(masks: np.ndarray) -> np.ndarray:
        return parts.score(torch.tensor(masks, dtype=torch.float32)).numpy()

    explainer = shap.KernelExplainer(score, np.zeros((1, *parts.shape)))
    values = explainer.shap_values(np.ones((1, *parts.shape)), nsamples=SUBSETS, silent=True)[0]
    return shap.Explanation(values, float(explainer.expected_value), feature_names=subject.names())
