"""Files of word vectors: the bundle reads them as torchtext's `Vectors` does."""

from pathlib import Path

import pytest
import torch

from train.data import torchtext_source, vectors
from train.data.examples import DataError

GLOVE = b"wake 0.5 -1.0 2\nme 0.1 1e-3 .3\n\xe6\x9d\xb1\xe4\xba\xac 1 1 1\n. 7 8 9\n"
FILES = {
    "GloVe": GLOVE,
    "fastText: counts first, spaces at the ends": b"4 3\n" + GLOVE.replace(b"\n", b" \n"),
    "a word twice": GLOVE + b"wake 9 9 9\n",
    "a word that is not UTF-8": b"caf\xe9 4 5 6\n" + GLOVE,
    "a word twice, and one that is not UTF-8 between": b"a 1 2 3\ncaf\xe9 4 5 6\na 7 8 9\n",
    "a header in the middle": GLOVE + b"4 3\n" + b"last 1 2 3\n",
    "carriage returns": GLOVE.replace(b"\n", b"\r\n"),
    "no end of the last line": GLOVE.rstrip(),
    "a no-break space in a word": "a\u00a0b 1 2 3\nc 4 5 6\n".encode(),
    "values beyond float32": b"a 1e39 -1e39 1e-50\nb 0.1 0.2 0.30000000000000004\n",
}


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "vectors.txt"


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_words_rows_and_vectors_are_the_same(content, file):
    file.write_bytes(content)
    found, expected = vectors.read_vectors(file), torchtext_source.read_vectors(file)
    assert found.index == expected.index and [*found.index] == [*expected.index]
    assert torch.equal(found.table, expected.table) and found.table.dtype == expected.table.dtype


@pytest.mark.parametrize(
    "content", [b"", b"a 1\nb 2\n", b"wake 0.5 one\n", b"a 1 2 3\nb 1 2\n"], ids=["empty", "one number", "not a number", "ragged"]
)
@pytest.mark.parametrize("reader", [vectors, torchtext_source], ids=["bundle", "torchtext"])
def test_what_is_not_word_vectors_is_refused_by_both(reader, content, file):
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"vectors\.txt: not word vectors"):
        reader.read_vectors(file)


@pytest.mark.parametrize("reader", [vectors, torchtext_source], ids=["bundle", "torchtext"])
def test_a_missing_file_is_named_by_both(reader, file):
    with pytest.raises(DataError, match=r"vectors\.txt: no such file of word vectors"):
        reader.read_vectors(file)


def test_torchtexts_pickle_cache_is_not_kept(file, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    file.write_bytes(GLOVE)
    torchtext_source.read_vectors(file)
    assert [left.name for left in tmp_path.iterdir()] == [file.name]
