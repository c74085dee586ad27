"""handlers/explain/perturbation.py and shapley.py: equal to Captum or to the game's own values."""

import captum.attr
import pytest
import torch

from handlers.explain.shapley import LinearFit
from handlers.explain.views import Parts

EXACT = [2.0, 1.5, 1.5, -1.0]  # of the game in conftest.py


def test_feature_ablation_is_what_the_score_loses_without_a_part(run, game):
    found = run("feature_ablation", game)
    assert found.values.tolist() == pytest.approx([2, 3, 3, -1])
    assert (found.score, found.baseline) == (5, 1) and found.error == pytest.approx(3 / 4)


def test_occlusion_leaves_out_neighbours_together(run):
    def score(masks):  # only the cell in the corner counts
        return masks[:, 0, 0]

    values = run("occlusion", Parts(score, (4, 4))).values
    expected = captum.attr.Occlusion(score).attribute(torch.ones(1, 4, 4), sliding_window_shapes=(2, 2))[0]
    assert torch.allclose(values, expected / 4) and values[0, 0] > 0 == values[3, 3]


def test_shapley_values_are_captums(run, game):
    found = run("shapley_values", game)
    expected = captum.attr.ShapleyValues(game.score).attribute(game.whole())[0]
    assert torch.allclose(found.values, expected, atol=1e-6)
    assert found.values.tolist() == pytest.approx(EXACT) and found.error < 1e-6


def test_sampled_shapley_values_are_near_and_add_up(run, game):
    found = run("shapley_values", game, samples=300)
    assert found.values.tolist() == pytest.approx(EXACT, abs=0.15) and found.error < 1e-6


def test_kernel_shap_is_near_and_adds_up(run, game):
    found = run("kernel_shap", game, samples=1000)
    assert found.values.tolist() == pytest.approx(EXACT, abs=0.15) and found.error < 1e-3


def test_kernel_shap_of_a_sum_is_its_terms(run):
    terms = torch.linspace(-2, 3, 30)
    found = run("kernel_shap", Parts(lambda masks: masks @ terms, (30,)))
    assert torch.allclose(found.values, terms, atol=1e-3)


def test_one_part_gets_the_whole_change(run):
    for method in ("kernel_shap", "shapley_values", "feature_ablation"):
        assert run(method, Parts(lambda masks: 3 * masks[:, 0], (1,))).values.tolist() == [3]


def test_many_parts_are_sampled(run):
    calls = []

    def score(masks):
        calls.append(len(masks))
        return masks.sum(1)

    assert run("shapley_values", Parts(score, (40,))).values.tolist() == pytest.approx([1] * 40)
    assert sum(calls) < 40 * 17 + 10


def test_the_fit_is_weighted_least_squares():
    subsets = torch.tensor([[1, 0], [0, 1], [1, 1], [0, 0]]).float()
    weights = torch.tensor([1.0, 1.0, 1e6, 1e6])
    fit = LinearFit()
    fit.fit([(subsets, torch.tensor([1.0, 5.0, 4.0, 0.0]), weights)])
    assert float(fit.representation().sum()) == pytest.approx(4, abs=1e-4)
    assert fit.representation().tolist() == pytest.approx([0, 4], abs=1e-3)
