"""bench/small_models.py: what is generated, and that each model can be imported and measured."""

import random

import numpy as np
import pytest
import torch

from bench import explain_check, small_models
from bench.explain_subjects import inputs
from handlers import base
from importers.__main__ import parser, run

HANDLERS = {
    "entities": "handlers.tokens.TokenClassifier",
    "embeddings": "handlers.embeddings.FeatureExtractor",
    "pictures": "handlers.zero_shot.ZeroShotImageClassifier",
}


def test_a_name_is_a_person_or_a_place_by_the_words_around_it():
    chance = random.Random(0)
    words = [pair for _ in range(200) for pair in small_models.tagged(chance)]
    assert {word for word, class_id in words if class_id} == set(small_models.NAMES)
    assert {class_id for word, class_id in words if word == "paris"} == {1, 2}


def test_a_shape_has_its_colour():
    pixels = np.asarray(small_models.drawn("a red square", np.random.default_rng(0)))
    assert pixels.shape == (64, 64, 3) and 18**2 <= (pixels == small_models.COLOURS["red"]).all(-1).sum() <= 30**2 + 60


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "steps"), [("entities", 80), ("embeddings", 2), ("pictures", 2)])
def test_a_small_model_is_imported_and_its_explanations_are_measured(kind, steps, tmp_path):
    pytest.importorskip("transformers", reason="make setup EXTRAS=transformers")
    torch.manual_seed(0)
    made = small_models.KINDS[kind][0](steps)
    small_models.write(made, tmp_path / "owner")
    tried = tmp_path / "owner" / "try"
    flags = ["--labels", str(tmp_path / "owner" / small_models.FILE)] if made.labels else made.flags.split()
    folder = run(parser().parse_args([kind, str(tmp_path / "owner" / "model"), "--try", str(tried), *flags]), tmp_path)[0]
    handler = base.load(folder, {"class_path": HANDLERS[kind], "threads": 1})
    where, given = inputs(handler, None if made.labels else tried, 2)
    rows, _ = explain_check.check(handler, given, ["occlusion"])
    assert where == ("the test set" if made.labels else str(tried)) and {row.method for row in rows} == {
        "random map",
        "occlusion",
    }
