"""train/data/bpe.py: a tokenizer of word pieces, trained on texts."""

import subprocess
import sys

import pytest

from train.data.bpe import SPECIAL, train_tokenizer

tokenizers = pytest.importorskip("tokenizers", reason="make setup EXTRAS=transformers")
CORPUS = ["Wake me at seven.", "wake me up at eight", "what is the weather like?", "will it rain at seven"] * 5


def test_the_same_corpus_gives_the_same_tokenizer():
    made = "import sys; from train.data.bpe import *; print(train_tokenizer(sys.argv[1:], 300))"
    again = subprocess.run([sys.executable, "-c", made, *CORPUS], capture_output=True, text=True, check=True).stdout
    assert again == train_tokenizer(iter(CORPUS), 300) + "\n"


def test_frequent_words_are_one_piece_and_the_special_ones_come_first():
    made = tokenizers.Tokenizer.from_str(train_tokenizer(CORPUS, 400))
    assert [made.id_to_token(token) for token in range(3)] == SPECIAL
    assert made.encode("WAKE me at SEVEN").tokens == ["[CLS]", "Ġwake", "Ġme", "Ġat", "Ġseven", "[SEP]"]
    assert made.get_vocab_size() <= 400


def test_no_text_is_unknown():
    made = tokenizers.Tokenizer.from_str(train_tokenizer(CORPUS, 400))
    assert made.decode(made.encode("東京 🙂 \x00").ids) == " 東京 🙂 \x00"


def test_what_a_phone_writes_is_read_as_what_a_keyboard_does():
    made = tokenizers.Tokenizer.from_str(train_tokenizer(CORPUS, 400))
    assert made.encode("don’t “wake” ｍｅ…").ids == made.encode('don\'t "wake" me...').ids
