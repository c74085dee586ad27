"""Explanations of texts: words with their places in the text as it was sent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.base import load
from handlers.explain.texts import MAX_WORDS
from model_defs.text import tokenize, words_of
from tests.handlers.explain.asking import explained, good, is_additive, refused

SECTION = {"class_path": "handlers.text.TextClassifier", "threads": 1}
METHODS = [None, "integrated_gradients", "noise_tunnel", "occlusion", "feature_ablation", "shapley_values", "kernel_shap"]


@pytest.fixture(params=["text", "sequence", "transformer"])
def texts(request):
    return load(request.getfixturevalue(f"{request.param}_artifact"), SECTION)


@pytest.fixture
def bag(text_artifact):
    return load(text_artifact, SECTION)


@pytest.mark.parametrize("method", METHODS)
def test_every_word_gets_its_weight_and_its_place(texts, method):
    text = "A round  thing"
    answer = good(texts, text, **({"method": method} if method else {}))
    assert [text[word["start"] : word["end"]] for word in answer["words"]] == ["A", "round", "thing"]
    assert any(word["weight"] for word in answer["words"])
    if method in (None, "shapley_values", "kernel_shap", "integrated_gradients"):
        assert is_additive(answer, [word["weight"] for word in answer["words"]], within=0.05 * abs(answer["target_score"]))


def test_an_unknown_word_changes_nothing(bag):
    weights = {word["word"]: word["weight"] for word in good(bag, "round unheard corners")["words"]}
    assert weights["unheard"] == pytest.approx(0, abs=2e-4) and abs(weights["round"]) > 3 * abs(weights["unheard"])


def test_a_pairs_weight_is_shared_by_its_words(bag):
    answer = good(bag, "a round", method="integrated_gradients")
    assert is_additive(answer, [word["weight"] for word in answer["words"]], within=1e-3)


@pytest.mark.parametrize("text", ["\ufeffA, B", 'say "round" now', "a<br />b;c", "İ five Σ", "don't"])
def test_the_places_are_those_of_the_text_as_it_was_sent(bag, text):
    for word in good(bag, text)["words"]:
        assert text[word["start"] : word["end"]] == word["word"]
        assert tokenize(word["word"].removeprefix("\ufeff")) or word["word"] == '"'


@given(st.text())
def test_the_words_with_places_are_the_tokenizers(text):
    assert [word.token for word in words_of(text)] == tokenize(text)


@given(st.text(alphabet="aB\"<br />;:.,'()!? \u0130\u03a3\n"))
def test_the_words_of_odd_texts_are_the_tokenizers(text):
    found = words_of(text)
    assert [word.token for word in found] == tokenize(text)
    assert all(word.text == text[word.start : word.end] for word in found)


def test_show_colours_the_words(bag):
    html = good(bag, "round <i>corners</i>", show=True)["html"]
    assert "<span style=" in html and "<i>" not in html


def test_a_text_too_long_to_explain_is_still_classified(bag):
    code, body = explained(bag, "round " * (MAX_WORDS + 1))
    assert code == 413 and "501 words; an explanation takes 500 at most" in body["message"]


def test_a_layer_is_nothing_for_a_text(bag):
    assert "no parameter 'layer'" in refused(bag, "round", layer="head")
