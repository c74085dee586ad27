"""train/data/text.py and csv_rows.py: AG News and IMDB as they lie on disk, CSV files, and the vocabulary."""

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from model_defs.text import NgramTransform
from train.data.example import DataError
from train.data.text import AG_NEWS, IMDB, Intents, TextCSV

SHARED = Path("../shared/data")
GOOD = "label,text\n" + "".join(f"{label},a text of {label} {index}\n" for index in range(6) for label in ("up", "down"))


def ready(data):
    data.setup()
    return data


@pytest.fixture
def folder(tmp_path):
    for name in ("train", "test"):
        (tmp_path / f"{name}.csv").write_text(GOOD)
    return tmp_path


def test_ag_news_in_its_own_format(tmp_path, monkeypatch):
    folder = tmp_path / "datasets" / "AG_NEWS"
    folder.mkdir(parents=True)
    content = "".join(
        f'"{class_id}","Title {class_id}, {index}","Says ""so"" here"\n' for index in range(4) for class_id in (1, 2, 3, 4)
    )
    for name in ("train", "test"):
        (folder / f"{name}.csv").write_text(content)
        md5 = hashlib.md5(content.encode()).hexdigest()
        monkeypatch.setitem(AG_NEWS.files, f"{name}.csv", ("http://127.0.0.1:9/none", md5))
    data = ready(AG_NEWS(root=str(tmp_path)))
    assert set(data.labels) == {"World", "Sports", "Business", "Sci/Tech"} and data.counts()["test"] == 16
    first = data.splits["test"][0]
    assert first.truth == "World" and first.read() == b'Title 1, 0 Says "so" here'


def test_imdb_in_its_own_format(tmp_path, monkeypatch):
    folder = tmp_path / "datasets" / "IMDB"
    folder.mkdir(parents=True)
    with tarfile.open(folder / "aclImdb_v1.tar.gz", "w:gz") as archive:
        for part in ("train", "test"):
            for label in ("neg", "pos"):
                for index in range(4):
                    content = f"A {label} review, number {index} of {part}.<br />The end.".encode()
                    entry = tarfile.TarInfo(f"aclImdb/{part}/{label}/{index}_7.txt")
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))
    file = folder / "aclImdb_v1.tar.gz"
    monkeypatch.setitem(IMDB.files, file.name, ("http://127.0.0.1:9/none", hashlib.md5(file.read_bytes()).hexdigest()))
    data = ready(IMDB(root=str(tmp_path)))
    assert data.labels == ["neg", "pos"] and data.counts()["test"] == 8
    assert sorted(example.read() for example in data.splits["test"])[0] == b"A neg review, number 0 of test.<br />The end."


@pytest.mark.parametrize("kind", [AG_NEWS, IMDB])
def test_a_set_that_is_nowhere_says_why_and_how_to_get_it(kind, tmp_path, monkeypatch):
    for name, (_, md5) in kind.files.items():
        monkeypatch.setitem(kind.files, name, ("http://127.0.0.1:9/none", md5))
    with pytest.raises(DataError, match=rf"{kind.__name__} is not in .*refused.*; give a folder .* with DATA=<folder>"):
        ready(kind(root=str(tmp_path)))


@pytest.mark.parametrize("kind", [TextCSV, AG_NEWS, IMDB, Intents])
def test_a_folder_with_train_and_test_csv_is_read_by_any_text_set(kind, folder):
    assert ready(kind(root=str(folder))).counts() == {"train": 10, "validation": 2, "test": 12}


@pytest.mark.parametrize("name", ["validation", "val", "valid"])
def test_a_folder_s_own_validation_file_is_used(folder, name):
    (folder / f"{name}.csv").write_text("label,text\nup,a\ndown,b\ndown,c\n")
    assert ready(TextCSV(root=str(folder))).counts() == {"train": 12, "validation": 3, "test": 12}


def test_one_csv_file_is_split_in_five(folder):
    assert ready(TextCSV(root=str(folder / "train.csv"))).counts()["test"] == 2


def test_quoted_fields_may_hold_commas_quotes_and_line_breaks(folder):
    (folder / "test.csv").write_text('label,text\nup,"a, ""b""\nand c"\ndown,d\n')
    data = ready(TextCSV(root=str(folder)))
    assert [(example.read(), example.source.rpartition(":")[2]) for example in data.splits["test"]] == [
        (b'a, "b"\nand c', "2"), (b"d", "4")
    ]  # fmt: skip


def test_a_byte_order_mark_and_other_column_names_are_fine(tmp_path):
    for name in ("train", "test"):
        (tmp_path / f"{name}.csv").write_text("\ufeff" + GOOD.replace("label,text", "mood,words"), encoding="utf-8")
    assert ready(TextCSV(root=str(tmp_path), label="mood", text="words")).labels == ["down", "up"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"train\.csv:1: no column 'label'; the header is missing"),
        (b"text,kind\na,b\n", r"train\.csv:1: no column 'label'; the header is text,kind"),
        (b"label,text,label\nup,a,b\n", r"train\.csv:1: two columns are called 'label'; rename or remove one"),
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
        ready(TextCSV(root=str(folder)))


def test_a_missing_file_is_named(folder):
    (folder / "test.csv").unlink()
    with pytest.raises(DataError, match=r"test\.csv: no such file"):
        ready(TextCSV(root=str(folder)))


def test_the_intents_are_held_out_in_other_words():
    data = ready(Intents())
    training = {example.read().lower() for name in ("train", "validation") for example in data.splits[name]}
    assert len(data.labels) == 10 and data.counts()["test"] == 140
    assert not training & {example.read().lower() for example in data.splits["test"]}


def test_the_vocabulary_is_learned_from_the_training_split_alone(folder):
    (folder / "validation.csv").write_text("label,text\nup,unheard\n")
    data, transform = ready(TextCSV(root=str(folder))), NgramTransform(ngrams=2)
    data.fit(transform)
    assert transform.tokens[0] == "<unk>" and {"text", "a text"} <= set(transform.tokens) and "unheard" not in transform.tokens
    short = NgramTransform(ngrams=1, max_tokens=3)
    data.fit(short)
    assert len(short.tokens) == 3


def test_names_of_files_may_be_in_capitals_and_other_tables_are_said(tmp_path, capsys):
    for name in ("Train.CSV", "TEST.csv", "val.Csv", "more.tsv", "old.csv"):
        (tmp_path / name).write_text(GOOD)
    data = ready(TextCSV(root=str(tmp_path)))
    assert data.counts() == {"train": 12, "validation": 12, "test": 12}
    assert capsys.readouterr().out == "left out: more.tsv, old.csv\n"
