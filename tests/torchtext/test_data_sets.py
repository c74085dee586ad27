"""AG News and IMDB in their formats on disk: the bundle reads the same labels and texts as `torchtext.datasets`."""

import hashlib
import io
import sys
import tarfile
from importlib import import_module
from pathlib import Path

import pytest

from train.data import torchtext_source
from train.data.examples import DataError
from train.data.text import AG_NEWS, IMDB

TITLES = ['Says ""so"" here', "Ünïcode 東京, quoted", r"a \$46 barrel \b next", "two\nlines", " spaces ", "#39;s"]
REVIEWS = ["A {label} review, number {index}.<br />The end.", "İt's {label}: ünïcode {index}", "{label} 'quoted' \"{index}\""]


def constants(name: str):
    """The module of a data set; `torchtext.datasets` hides it behind the function of that name."""
    import_module(f"torchtext.datasets.{name}")
    return sys.modules[f"torchtext.datasets.{name}"]


@pytest.fixture
def ag_news(tmp_path, monkeypatch) -> Path:
    """The root of a small AG News. Both readers check digests, so both are given those of the small files."""
    folder = tmp_path / "datasets" / "AG_NEWS"
    folder.mkdir(parents=True)
    for part in ("train", "test"):
        rows = [f'"{1 + index % 4}","Title {index} of {part}","{title}"\n' for index, title in enumerate(TITLES * 4)]
        content = "".join(rows).encode()
        (folder / f"{part}.csv").write_bytes(content)
        md5 = hashlib.md5(content).hexdigest()
        monkeypatch.setitem(AG_NEWS.files, f"{part}.csv", ("http://127.0.0.1:9/none", md5))
        monkeypatch.setitem(constants("ag_news").MD5, part, md5)
    return tmp_path


@pytest.fixture
def imdb(tmp_path, monkeypatch) -> Path:
    """As `ag_news`, an archive with the entries that the real one has."""
    file = tmp_path / "datasets" / "IMDB" / "aclImdb_v1.tar.gz"
    file.parent.mkdir(parents=True)
    with tarfile.open(file, "w:gz") as archive:
        for folder in ("aclImdb", "aclImdb/test", "aclImdb/train"):
            entry = tarfile.TarInfo(folder)
            entry.type = tarfile.DIRTYPE
            archive.addfile(entry)
        add(archive, "aclImdb/README", "about")
        for part in ("test", "train"):
            add(archive, f"aclImdb/{part}/labeledBow.feat", "9 0:1")
            for label in ("neg", "pos", "unsup"):
                add(archive, f"aclImdb/{part}/urls_{label}.txt", "http://127.0.0.1/none")
                for index in range(6):
                    add(archive, f"aclImdb/{part}/{label}/{index}_7.txt", REVIEWS[index % 3].format(label=label, index=index))
    md5 = hashlib.md5(file.read_bytes()).hexdigest()
    monkeypatch.setitem(IMDB.files, file.name, ("http://127.0.0.1:9/none", md5))
    monkeypatch.setattr(constants("imdb"), "MD5", md5)
    return tmp_path


def add(archive: tarfile.TarFile, name: str, text: str) -> None:
    entry = tarfile.TarInfo(name)
    content = text.encode()
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


@pytest.mark.parametrize("part", ["train", "test"])
def test_ag_news_is_read_in_the_same_order(ag_news, part):
    expected = torchtext_source.read_pairs("AG_NEWS", AG_NEWS.names, ag_news, part)
    assert [*AG_NEWS(root=str(ag_news)).pairs(part)] == expected
    assert len(expected) == 24 and expected[0] == ("World", f'Title 0 of {part} Says "so" here')


@pytest.mark.parametrize("part", ["train", "test"])
def test_imdb_is_read_with_the_same_labels(imdb, part):
    expected = torchtext_source.read_pairs("IMDB", IMDB.names, imdb, part)
    assert sorted(IMDB(root=str(imdb)).pairs(part)) == sorted(expected)
    assert len(expected) == 12 and ("neg", "neg 'quoted' \"2\"") in expected


@pytest.mark.parametrize(("kind", "root"), [(AG_NEWS, "ag_news"), (IMDB, "imdb")])
def test_a_training_reads_the_named_sets_with_torchtext(kind, root, request, capsys):
    data = kind(root=str(request.getfixturevalue(root)))
    assert capsys.readouterr().out == f"texts by torchtext {torchtext_source.VERSION}\n"
    data.setup()
    pairs = [(example.truth, example.read().decode()) for example in data.splits["test"]]
    assert pairs == torchtext_source.read_pairs(kind.__name__, kind.names, data.root, "test")


@pytest.mark.parametrize("kind", [AG_NEWS, IMDB])
def test_a_set_that_is_nowhere_says_why_and_how_to_get_it(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(DataError, match=rf"{kind.__name__} is not in .*refused.*; give a folder .* with DATA=<folder>"):
        kind(root=str(tmp_path)).setup()
