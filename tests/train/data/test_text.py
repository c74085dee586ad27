"""train/data/text.py: torchtext's sets in their own formats on disk, CSV files, the vocabulary, and the tokenizers' equality."""

import hashlib
import io
import random
import sys
import tarfile
from pathlib import Path

import pytest
from torchtext.data.utils import get_tokenizer, ngrams_iterator

from model_defs.text import Words, ngrams, tokenize
from train.data.examples import DataError
from train.data.text import AG_NEWS, CSV, IMDB, Intents

SHARED = Path("../shared/data")
GOOD = "label,text\n" + "".join(f"{label},a text of {label} {place}\n" for place in range(6) for label in ("up", "down"))


def ready(data):
    data.setup()
    return data


@pytest.fixture
def folder(tmp_path):
    for name in ("train", "test"):
        (tmp_path / f"{name}.csv").write_text(GOOD)
    return tmp_path


def module(name: str):
    return sys.modules[f"torchtext.datasets.{name}"]  # the package's attribute of that name is the function


def test_ag_news_in_its_own_format(tmp_path, monkeypatch):
    folder = tmp_path / "datasets" / "AG_NEWS"
    folder.mkdir(parents=True)
    content = "".join(
        f'"{number}","Title {number}, {place}","Says ""so"" here"\n' for place in range(4) for number in (1, 2, 3, 4)
    )
    for name in ("train", "test"):
        (folder / f"{name}.csv").write_text(content)
        monkeypatch.setitem(module("ag_news").MD5, name, hashlib.md5(content.encode()).hexdigest())
    data = ready(AG_NEWS(root=str(tmp_path)))
    assert set(data.labels) == {"World", "Sports", "Business", "Sci/Tech"} and data.counts()["test"] == 16
    first = data.test_examples()[0]
    assert first.truth == "World" and first.read() == b'Title 1, 0 Says "so" here'


def test_imdb_in_its_own_format(tmp_path, monkeypatch):
    folder = tmp_path / "datasets" / "IMDB"
    folder.mkdir(parents=True)
    with tarfile.open(folder / "aclImdb_v1.tar.gz", "w:gz") as archive:
        for part in ("train", "test"):
            for label in ("neg", "pos"):
                for place in range(4):
                    content = f"A {label} review, number {place} of {part}.<br />The end.".encode()
                    entry = tarfile.TarInfo(f"aclImdb/{part}/{label}/{place}_7.txt")
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))
    monkeypatch.setattr(module("imdb"), "MD5", hashlib.md5((folder / "aclImdb_v1.tar.gz").read_bytes()).hexdigest())
    data = ready(IMDB(root=str(tmp_path)))
    assert data.labels == ["neg", "pos"] and data.counts()["test"] == 8
    assert sorted(example.read() for example in data.test_examples())[0] == b"A neg review, number 0 of test.<br />The end."


@pytest.mark.parametrize("kind", [AG_NEWS, IMDB])
def test_a_set_that_is_nowhere_says_why_and_how_to_get_it(kind, tmp_path, monkeypatch):
    def source(root, split):
        try:
            raise OSError("no network")
        except OSError as error:
            raise RuntimeError("\nThis exception is thrown by __iter__ of HTTPReaderIterDataPipe") from error

    monkeypatch.setattr(kind, "source", staticmethod(source))
    with pytest.raises(DataError, match=rf"{kind.__name__} is not in .*\(no network\); give a folder .* with DATA=<folder>"):
        ready(kind(root=str(tmp_path)))


@pytest.mark.parametrize("kind", [CSV, AG_NEWS, IMDB, Intents])
def test_a_folder_with_train_and_test_csv_is_read_by_any_text_set(kind, folder):
    assert ready(kind(root=str(folder))).counts() == {"train": 10, "validation": 2, "test": 12}


def test_one_csv_file_is_split_in_five(folder):
    assert ready(CSV(root=str(folder / "train.csv"))).counts()["test"] == 2


def test_quoted_fields_may_hold_commas_quotes_and_line_breaks(folder):
    (folder / "test.csv").write_text('label,text\nup,"a, ""b""\nand c"\ndown,d\n')
    data = ready(CSV(root=str(folder)))
    assert [(example.read(), example.source.rpartition(":")[2]) for example in data.test_examples()] == [
        (b'a, "b"\nand c', "2"), (b"d", "4")
    ]  # fmt: skip


def test_a_byte_order_mark_and_other_column_names_are_fine(tmp_path):
    for name in ("train", "test"):
        (tmp_path / f"{name}.csv").write_text("\ufeff" + GOOD.replace("label,text", "mood,words"), encoding="utf-8")
    assert ready(CSV(root=str(tmp_path), label="mood", text="words")).labels == ["down", "up"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"train\.csv:1: no column 'label'; the header is missing"),
        (b"text,kind\na,b\n", r"train\.csv:1: no column 'label'; the header is text,kind"),
        (b"label,text\nup,a\nup\n", r"train\.csv:3: 1 fields; the header has 2"),
        (b"label,text\nup,a, b\n", r"train\.csv:2: 3 fields; the header has 2"),
        (b"label,text\nup,a\n,b\n", r"train\.csv:3: the label is empty"),
        (b'label,text\nup,"a\n\nb"\nup," "\n', r"train\.csv:5: the text is empty"),
        (b"label,text\nup,a\n\nup,\n", r"train\.csv:4: the text is empty"),
        (b"label,text\n" + 3_000 * b"up,a\n" + b"up,\xff\n" + 3_000 * b"up,a\n", r"train\.csv:3002: not UTF-8: byte 0xff"),
        (b"label,t\xe9xt\nup,a\n", r"train\.csv:1: not UTF-8: byte 0xe9"),
        ("label,text\nup,a\n".encode("utf-16"), r"train\.csv:1: not UTF-8: byte 0xff"),
        (b"label,text\nup,a\nup,b\0c\n", r"train\.csv:3: .*NUL"),
        (b'label,text\nup,"a\n', r"train\.csv:2: not CSV"),
    ],
)
def test_a_csv_that_cannot_be_read_names_file_and_line(folder, content, said):
    (folder / "train.csv").write_bytes(content)
    with pytest.raises(DataError, match=said):
        ready(CSV(root=str(folder)))


def test_a_missing_file_is_named(folder):
    (folder / "test.csv").unlink()
    with pytest.raises(DataError, match=r"test\.csv: no such file"):
        ready(CSV(root=str(folder)))


def test_the_intents_are_held_out_in_other_words():
    data = ready(Intents())
    training = {example.read().lower() for name in ("train", "validation") for example in data.splits[name]}
    assert len(data.labels) == 10 and data.counts()["test"] == 140
    assert not training & {example.read().lower() for example in data.test_examples()}


def test_the_vocabulary_is_learned_from_the_training_split_alone(folder):
    (folder / "validation.csv").write_text("label,text\nup,unheard\n")
    data, transform = ready(CSV(root=str(folder))), Words(ngrams=2)
    data.fit(transform)
    assert transform.tokens[0] == "<unk>" and {"text", "a text"} <= set(transform.tokens) and "unheard" not in transform.tokens
    short = Words(ngrams=1, max_tokens=3)
    data.fit(short)
    assert len(short.tokens) == 3


TRICKY = [
    "", " ", "Hello, World!", "it's \"quoted\"; isn't it?", "a<br />b<br/>c", "semi;colon:dot.", "(brackets) [not]", "...",
    "\t\n tabs", "ÀÉÎ ß ﬁ İ", "中文\uff0c标点。", "emoji 👍🏽!", "e\u0301 combining", "\u2028line\x85breaks\x1c", "'", "''",
    "1,000.50", "<BR />",
]  # fmt: skip


@pytest.mark.parametrize("text", TRICKY)
def test_the_serving_tokenizer_equals_torchtexts(text):
    tokens = get_tokenizer("basic_english")(text)
    assert tokenize(text) == tokens
    for most in (1, 2, 3):
        assert ngrams(tokens, most) == list(ngrams_iterator(tokens, most))


def test_the_serving_tokenizer_equals_torchtexts_on_random_unicode():
    generator, theirs = random.Random(0), get_tokenizer("basic_english")
    for _ in range(2_000):
        text = "".join(chr(generator.choice((generator.randrange(32, 127), generator.randrange(0xD7FF)))) for _ in range(30))
        assert tokenize(text) == theirs(text), ascii(text)


def test_the_serving_tokenizer_equals_torchtexts_where_its_patterns_meet():
    generator, theirs = random.Random(0), get_tokenizer("basic_english")
    pieces = ["<br />", "<", "br", "BR", " />", '"', "'", ".", ",", "(", ")", "!", "?", ";", ":", " ", "\n", "a", "É"]
    for _ in range(5_000):
        text = "".join(generator.choices(pieces, k=generator.randint(1, 12)))
        tokens = theirs(text)
        assert tokenize(text) == tokens, ascii(text)
        assert ngrams(tokens, 3) == list(ngrams_iterator(tokens, 3))


@pytest.mark.parametrize("name", ["ag_news", "imdb"])
def test_the_serving_tokenizer_equals_torchtexts_on_real_text(name):
    if not (SHARED / name).is_dir():
        pytest.skip(f"no {SHARED / name}")
    theirs = get_tokenizer("basic_english")
    texts = [example.read().decode() for example in ready(CSV(root=str(SHARED / name))).test_examples()]
    assert [tokenize(text) for text in texts] == [theirs(text) for text in texts]
