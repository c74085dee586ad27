"""The bundle's tokenizer, n-grams and vocabulary equal torchtext's."""

import random

import pytest
from torchtext.data.utils import get_tokenizer, ngrams_iterator

from model_defs.text import ngrams, tokenize
from train.data import torchtext_source, vocabulary

TORCHTEXT = get_tokenizer("basic_english")
TRICKY = [
    "", " ", "Hello, World!", "it's \"quoted\"; isn't it?", "a<br />b<br/>c", "semi;colon:dot.", "(brackets) [not]", "...",
    "\t\n tabs", "ÀÉÎ ß ﬁ İ", "中文\uff0c标点。", "emoji 👍🏽!", "e\u0301 combining", "\u2028line\x85breaks\x1c", "'", "''",
    "1,000.50", "<BR />", 'say "cheese"; now: go', '<br "/>', "a\tb\r\nc\u2028d\x85e\u00a0f", "<unk> unk", "\u03a3\u03a3",
    "It's (not) e.g. this?", "one<br />two<BR />three <br/> four",
]  # fmt: skip
PIECES = ["<br />", "<", "br", "BR", " />", '"', "'", ".", ",", "(", ")", "!", "?", ";", ":", " ", "\n", "a", "É"]


def random_unicode(generator: random.Random) -> str:
    """30 characters, half of them ASCII; no surrogates, which are not text."""
    return "".join(chr(generator.choice((generator.randrange(32, 127), generator.randrange(0xD7FF)))) for _ in range(30))


def random_pieces(generator: random.Random) -> str:
    """What the tokenizer's patterns look for, in any order."""
    return "".join(generator.choices(PIECES, k=generator.randint(1, 12)))


@pytest.mark.parametrize("text", TRICKY)
def test_tricky_texts_give_the_same_words_and_ngrams(text):
    tokens = TORCHTEXT(text)
    assert tokenize(text) == tokens
    for size in (1, 2, 3):
        assert ngrams(tokens, size) == list(ngrams_iterator(tokens, size))


@pytest.mark.parametrize("make", [random_unicode, random_pieces])
def test_random_texts_give_the_same_words_and_ngrams(make):
    generator = random.Random(0)
    for text in (make(generator) for _ in range(5_000)):
        tokens = TORCHTEXT(text)
        assert tokenize(text) == tokens, ascii(text)
        assert ngrams(tokens, 3) == list(ngrams_iterator(tokens, 3))


def test_real_texts_give_the_same_words(real_texts):
    assert [tokenize(text) for text in real_texts] == [TORCHTEXT(text) for text in real_texts]


LIMITS = [{}, {"most": 2}, {"most": 1_000}, {"min_freq": 3}, {"most": 500, "min_freq": 2}]


@pytest.mark.parametrize("limits", LIMITS, ids=str)
@pytest.mark.parametrize("size", [1, 2])
def test_real_texts_give_the_same_vocabulary_in_the_same_order(real_texts, size, limits):
    texts = real_texts[:1_500]
    found = vocabulary.build_vocabulary(texts, size, **limits)
    assert found == torchtext_source.build_vocabulary(texts, size, **limits)
    assert found[0] == "<unk>" and len(found) == len({*found})


@pytest.mark.parametrize("limits", LIMITS, ids=str)
@pytest.mark.parametrize("make", [random_unicode, random_pieces])
def test_random_texts_give_the_same_vocabulary_in_the_same_order(make, limits):
    """Nearly all counts are equal here, so the order within a count is compared too.

    No text has the word "<unk>": if one has, torchtext's vocabulary is an entry shorter than its limit.
    """
    generator = random.Random(1)
    texts = [*(text for text in TRICKY if "<unk>" not in text), *(make(generator) for _ in range(500))]
    assert vocabulary.build_vocabulary(texts, 2, **limits) == torchtext_source.build_vocabulary(texts, 2, **limits)
