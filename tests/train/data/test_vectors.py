"""train/data/vectors.py and text.py: word vectors from files, in the formats of GloVe and of fastText."""

from pathlib import Path

import pytest
import torch

from model_defs.audio import MelCNN
from model_defs.lstm import WordLSTM, WordSequenceTransform
from model_defs.text import BagOfWords, NgramTransform
from model_defs.transformer import SubwordTransform
from train.__main__ import train
from train.data.example import DataError
from train.data.text import Intents

VECTORS = {
    "wake": [0.5, -1.0, 2.0],
    "me": [0.1, 0.2, 0.3],
    "zebra": [9.0, 8.0, 7.0],
    "東京": [1.0, 1.0, 1.0],
    "yak": [0, 0, 1],
}


def glove(file: Path) -> Path:
    """One line per word."""
    file.write_text("".join(f"{word} {' '.join(map(str, numbers))}\n" for word, numbers in VECTORS.items()), encoding="utf-8")
    return file


def fasttext(file: Path) -> Path:
    """First the number of words and of dimensions; a space at the end of each line."""
    lines = "".join(f"{word} {' '.join(map(str, numbers))} \n" for word, numbers in VECTORS.items())
    file.write_text(f"{len(VECTORS)} 3\n{lines}", encoding="utf-8")
    return file


@pytest.fixture(params=[glove, fasttext], ids=["GloVe", "fastText"])
def file(request, tmp_path) -> Path:
    return request.param(tmp_path / "vectors.txt")


@pytest.mark.parametrize(("network", "transform"), [(WordLSTM, WordSequenceTransform), (BagOfWords, NgramTransform)])
def test_the_file_s_vectors_are_the_words_initial_ones(file, network, transform):
    data, transform = Intents(vectors=str(file)), transform()
    data.setup()
    data.fit(transform)
    torch.manual_seed(0)
    made = network(10, **transform.facts(), dim=3)
    before = made.embedding.weight.detach().clone()
    data.init_weights(made, transform)
    is_new = (made.embedding.weight != before).any(dim=1)
    changed = {word for word, number in transform.vocabulary.items() if is_new[number]}
    assert changed == {*VECTORS}
    for word, numbers in VECTORS.items():
        assert made.embedding.weight[transform.vocabulary[word]].tolist() == pytest.approx(numbers)


@pytest.mark.parametrize(("unseen", "learned"), [(0, []), (2, ["zebra", "東京"]), (9, ["zebra", "東京", "yak"])])
def test_the_first_words_that_training_lacks_are_learned_too(file, unseen, learned):
    tokens = []
    for data in (Intents(), Intents(vectors=str(file), unseen=unseen)):
        transform = WordSequenceTransform()
        data.setup()
        data.fit(transform)
        tokens.append(transform.tokens)
    assert tokens[1] == tokens[0] + learned


def test_words_and_vectors_travel_in_the_artifact(file, tmp_path):
    overrides = [f"--data.vectors={file}", "--model.network.dim=3", "--model.network.hidden=4", "--trainer.max_epochs=1"]
    artifact = train("intents_lstm", [*overrides, "--model.learning_rate=1e-12"], tmp_path / "artifacts", tmp_path / "runs")
    file.unlink()
    transform, network = artifact.build_transform(), artifact.build_network()
    assert network.embedding.weight[transform.vocabulary["zebra"]].tolist() == pytest.approx(VECTORS["zebra"], abs=1e-5)
    assert not [left for left in artifact.folder.rglob("*") if left.suffix in (".pt", ".pkl")]


def test_nothing_is_left_beside_the_file_that_could_be_unpickled(file):
    Intents(vectors=str(file))
    assert [left.name for left in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize(
    ("network", "said"),
    [(WordLSTM(2, 9, dim=4), "dim: 3; this has vectors of 4"), (MelCNN(2), "dim: 3; this has no word vectors")],
)
def test_vectors_that_do_not_fit_the_network_are_an_error(file, network, said):
    data, transform = Intents(vectors=str(file)), WordSequenceTransform()
    with pytest.raises(DataError, match=f"vectors of 3 numbers are for a network with {said}"):
        data.init_weights(network, transform)


def test_word_vectors_are_not_for_word_pieces(file):
    data = Intents(vectors=str(file))
    data.setup()
    with pytest.raises(DataError, match="vectors: word vectors are for transforms of words; SubwordTransform is none"):
        data.fit(SubwordTransform())


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "no such file of word vectors"), (b"wake 0.5 one\n", "not word vectors"), (b"a 1 2 3\nb 1 2\n", "not word vectors"),
     (b"", "not word vectors")],
    ids=["missing", "not a number", "another length", "empty"],
)  # fmt: skip
def test_a_file_of_something_else_is_an_error(content, said, tmp_path):
    file = tmp_path / "vectors.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DataError, match=said):
        Intents(vectors=str(file))
