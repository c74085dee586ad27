import pytest
import torch

from model_defs.answers import top
from model_defs.errors import OutputError

LABELS = ["cat", "dog", "owl"]
LOGITS = torch.tensor([0.0, 2.0, -1.0])


def test_the_best_comes_first():
    assert [one["label"] for one in top(LOGITS, LABELS, 3)] == ["dog", "cat", "owl"]
    assert [one["label"] for one in top(LOGITS, LABELS, 2)] == ["dog", "cat"]


def test_more_than_there_are_gives_all():
    assert len(top(LOGITS, LABELS, 1000)) == 3


@pytest.mark.parametrize(
    ("function", "scores"),
    [("softmax", [0.8438, 0.1142, 0.0420]), ("sigmoid", [0.8808, 0.5, 0.2689]), ("none", [2.0, 0.0, -1.0])],
)
def test_scores_are_what_was_asked_for(function, scores):
    assert [one["score"] for one in top(LOGITS, LABELS, 3, function)] == pytest.approx(scores, abs=1e-4)


@pytest.mark.parametrize("function", ["softmax", "sigmoid", "none"])
@pytest.mark.parametrize("top_k", [1, 3])
def test_a_nan_is_refused_rather_than_answered(function, top_k):
    with pytest.raises(OutputError, match="scores that are not finite numbers"):
        top(torch.tensor([0.0, float("nan"), 1.0]), LABELS, top_k, function)


def test_a_class_that_the_network_rules_out_has_no_probability():
    assert top(torch.tensor([0.0, -torch.inf, 1.0]), LABELS, 3)[-1] == {"label": "dog", "score": 0.0}
