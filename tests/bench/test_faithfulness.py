"""bench/faithfulness.py and explain_check.py: measures of a game whose values are known, and a whole check of a small model."""

import numpy as np
import pytest
import torch

from bench import explain_check, faithfulness
from bench.explain_subjects import Asked, inputs, spread
from handlers.base import load
from handlers.explain.views import Parts
from model_defs.errors import BundleError
from tests.conftest import png

TERMS = torch.arange(16).float() - 4
GAME = Parts(lambda masks: masks @ TERMS, (16,))


def test_the_true_weights_delete_and_insert_best():
    best, worst = faithfulness.curves(GAME, TERMS), faithfulness.curves(GAME, -TERMS)
    assert best.deletion.mean() < worst.deletion.mean() and best.insertion.mean() > worst.insertion.mean()
    assert best.deletion[0] == best.insertion[-1] == float(TERMS.sum()) and best.deletion[-1] == best.insertion[0] == 0
    assert best.deletion[1] == float(TERMS.sum() - TERMS.max())


def test_true_weights_have_no_infidelity_and_random_ones_have_much():
    assert faithfulness.infidelity(GAME, TERMS) == pytest.approx(0, abs=1e-6)
    assert faithfulness.infidelity(GAME, 3 * TERMS) == pytest.approx(0, abs=1e-6)  # only the proportions count
    assert faithfulness.infidelity(GAME, faithfulness.random_weights((16,), 0)) > 0.1


def test_sensitivity_is_that_of_captum():
    sample = torch.linspace(0, 1, 8)
    assert faithfulness.sensitivity(sample, lambda one: torch.ones(8)) == pytest.approx(0, abs=1e-6)
    assert faithfulness.sensitivity(sample, lambda one: 1 + one) > 0.001


def test_ranks_count_not_sizes():
    one = torch.tensor([1.0, -5.0, 2.0, 0.5])
    assert faithfulness.rank_correlation(one, one.sign() * one**2) == pytest.approx(1)
    assert abs(faithfulness.rank_correlation(torch.arange(100.0), torch.rand(100))) < 0.4


def test_the_weights_are_random_only_inside_the_block(pictures_handler):
    pixels = torch.rand(1, 3, 16, 16) * 255
    before = pictures_handler.eager(pixels)
    with faithfulness.randomised(pictures_handler):
        assert not torch.allclose(pictures_handler.eager(pixels), before)
    assert torch.equal(pictures_handler.eager(pixels), before)


@pytest.fixture
def pictures_handler(picture_artifact):
    return load(picture_artifact, {"class_path": "handlers.vision.ImageClassifier", "threads": 1})


def test_a_check_measures_each_method_beside_a_random_map(pictures_handler, tmp_path):
    where, given = inputs(pictures_handler, None, 3)
    rows, drawn = explain_check.check(pictures_handler, given, ["deep_lift", "grad_cam"])
    by_name = {row.method: row for row in rows}
    assert where == "the test set" and len(given) == 3
    assert by_name.keys() == {"random map", "deep_lift", "grad_cam"} == drawn.keys()
    assert by_name["deep_lift"].error < 0.05 and by_name["grad_cam"].error is None
    assert all(row.inputs == 3 and row.verdict for row in rows if row.method != "random map")
    explain_check.draw(drawn, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1_000
    with pytest.raises(BundleError, match="no method 'x' for pictures; it has deep_lift"):
        explain_check.check(pictures_handler, given, ["x"])


def test_own_inputs_stand_in_for_the_test_set_and_samples_where_there_is_none(pictures_handler, tmp_path):
    (tmp_path / "own").mkdir()
    with pytest.raises(BundleError, match="no inputs there; give a folder"):
        inputs(pictures_handler, tmp_path / "own", 3)
    (tmp_path / "own" / "mine.png").write_bytes(png(7))
    assert inputs(pictures_handler, tmp_path / "own", 3) == (str(tmp_path / "own"), [Asked("mine.png", png(7))])
    (pictures_handler.artifact.folder / "test.zip").unlink()
    where, given = inputs(pictures_handler, None, 3)
    assert "samples, because it has no test set" in where and len(given) == 3


def test_the_inputs_come_from_all_over_the_test_set_which_may_be_sorted():
    assert spread(list(range(10)), 3) == [0, 3, 6] and spread([1, 2], 5) == [1, 2] and spread(list(range(4)), 4) == [0, 1, 2, 3]


def test_a_map_like_the_random_one_is_not_called_faithful():
    curve = faithfulness.Curves(np.linspace(1, 0, 17), np.linspace(0, 1, 17))
    better = faithfulness.Curves(curve.deletion / 2, 1 - curve.deletion / 2)
    assert explain_check.row_of("x", [curve] * 5, [curve] * 5).verdict == "not better than a random map"
    assert explain_check.row_of("x", [better] * 5, [curve] * 5).verdict == "faithful"
