"""train/data/vision.py: torchvision's sets as they lie on disk, and class folders."""

import gzip
import hashlib
import pickle

import numpy as np
import pytest
import torchvision
from PIL import Image

from model_defs.vision import ImageTransform
from train.data.example import DataError
from train.data.vision import CIFAR10, MNIST, Digits, FashionMNIST, ImageFolder


def ready(data):
    data.setup()
    data.decode(ImageTransform(size=8))
    return data


def picture(file, seed=0):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (12, 9, 3), dtype=np.uint8)).save(file)


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """CIFAR-10's python version with six pictures in each of its files."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (6, 3, 32, 32), dtype=np.uint8)
    batch = pickle.dumps({"data": pixels.reshape(6, -1), "labels": [0, 1, 0, 1, 0, 1]})
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    meta = pickle.dumps({"label_names": names})
    source = torchvision.datasets.CIFAR10
    digest = hashlib.md5(batch).hexdigest()
    for name, _ in source.train_list + source.test_list:
        (folder / name).write_bytes(batch)
    (folder / source.meta["filename"]).write_bytes(meta)
    monkeypatch.setattr(source, "train_list", [[name, digest] for name, _ in source.train_list])
    monkeypatch.setattr(source, "test_list", [[name, digest] for name, _ in source.test_list])
    monkeypatch.setattr(source, "meta", source.meta | {"md5": hashlib.md5(meta).hexdigest()})
    return tmp_path, pixels


def test_cifar10_in_its_own_format_keeps_pixels_and_names(cifar):
    root, pixels = cifar
    data = ready(CIFAR10(root=str(root)))
    assert data.labels == ["airplane", "automobile"] and data.counts()["test"] == 6
    assert (ImageTransform(size=32)(data.splits["test"][2].read()).numpy() == pixels[2]).all()


@pytest.mark.parametrize("kind", [MNIST, FashionMNIST])
def test_the_mnists_in_their_own_format(kind, tmp_path):
    folder = tmp_path / kind.__name__ / "raw"
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 28, 28), dtype=np.uint8)
    for part in ("train", "t10k"):
        images = np.array([2051, 8, 28, 28], ">i4").tobytes() + pixels.tobytes()
        labels = np.array([2049, 8], ">i4").tobytes() + bytes([3, 4] * 4)
        for name, content in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
            (folder / name).write_bytes(content)
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    data = ready(kind(root=str(tmp_path)))
    assert data.labels == sorted(kind.source.classes[index] for index in (3, 4))
    assert (ImageTransform(size=28, mode="L")(data.splits["test"][1].read()).numpy()[0] == pixels[1]).all()


def test_the_digits_are_split_by_class_and_the_same_each_time():
    data, again = ready(Digits()), ready(Digits())
    assert data.labels == [str(digit) for digit in range(10)] and sum(data.counts().values()) == 1797
    assert data.fingerprint() == again.fingerprint()


def test_a_set_that_is_nowhere_says_how_to_get_it(tmp_path, monkeypatch):
    def source(root, train, download=False):
        raise OSError("no network") if download else RuntimeError("Dataset not found")

    source.__name__ = "CIFAR10"
    monkeypatch.setattr(CIFAR10, "source", staticmethod(source))
    with pytest.raises(DataError, match=r"CIFAR10 is not in .*\(no network\); give a folder .* with DATA=<folder>"):
        ready(CIFAR10(root=str(tmp_path / "new")))


@pytest.mark.parametrize("kind", [ImageFolder, CIFAR10, MNIST, Digits])
def test_a_folder_of_class_folders_is_read_by_any_picture_set(kind, tmp_path):
    for part in ("train", "test"):
        for label in ("cat", "dog"):
            for index in range(4):
                picture(tmp_path / part / label / f"{index}.{'JPG' if index else 'png'}", index)
            (tmp_path / part / label / ".DS_Store").write_bytes(b"x")
    data = ready(kind(root=str(tmp_path)))
    assert data.labels == ["cat", "dog"] and data.counts() == {"train": 6, "validation": 2, "test": 8}
    assert {example.suffix for example in data.splits["test"]} == {".png", ".jpg"}


@pytest.mark.parametrize("kind", [ImageFolder, CIFAR10, Digits])
def test_class_folders_without_a_split_are_split_in_five(kind, tmp_path):
    for label in ("cat", "dog"):
        for index in range(10):
            picture(tmp_path / label / f"{index}.png", index)
    assert ready(kind(root=str(tmp_path))).counts() == {"train": 14, "validation": 2, "test": 4}


def test_hidden_files_are_left_out(tmp_path):
    for label in ("cat", "dog"):
        for name in ("1.png", "2.png", "more/3.png", ".4.png", ".cache/5.png"):
            picture(tmp_path / label / name)
    picture(tmp_path / ".git" / "6.png")
    assert sum(ready(ImageFolder(root=str(tmp_path))).counts().values()) == 6


@pytest.mark.parametrize(
    "names",
    [("Train", "Test"), ("training", "testing"), ("TRAIN", "test"), ("train_set", "test_set"), ("Train Data", "test-data")],
)
def test_splits_may_have_other_spellings(names, tmp_path):
    for part in names:
        for label in ("cat", "dog"):
            for index in range(4):
                picture(tmp_path / part / label / f"{index}.png", index)
    data = ready(ImageFolder(root=str(tmp_path)))
    assert data.labels == ["cat", "dog"] and data.counts() == {"train": 6, "validation": 2, "test": 8}


@pytest.mark.parametrize("name", ["val", "validation"])
def test_a_folder_s_own_validation_split_is_kept(name, tmp_path):
    for part, count in (("train", 4), (name, 3), ("test", 2)):
        for label in ("cat", "dog"):
            for index in range(count):
                picture(tmp_path / part / label / f"{index}.png", index)
    data = ready(ImageFolder(root=str(tmp_path)))
    assert data.counts() == {"train": 8, "validation": 6, "test": 4}
    assert all(f"/{name}/" in example.source for example in data.splits["validation"])


def test_a_broken_picture_is_named_before_the_first_epoch(tmp_path):
    for label in ("cat", "dog"):
        for index in range(10):
            picture(tmp_path / label / f"{index}.png", index)
    (tmp_path / "dog" / "3.png").write_bytes((tmp_path / "dog" / "3.png").read_bytes()[:50])
    with pytest.raises(DataError, match=r"dog/3\.png: not a picture: the PNG ends after 50 bytes"):
        ready(ImageFolder(root=str(tmp_path)))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([], "0 class folders"),
        (["cat/1.png"], "1 class folders"),
        (["cat/1.png", "dog/note.txt"], "dog: no file of a kind"),
        (["train/cat/1.png", "train/dog/1.png"], "has train/ and no test/"),
        (["test/cat/1.png", "cat/1.png", "dog/1.png"], "has test/ and no train/"),
        (["one/cat/1.png", "one/dog/1.png", "two/cat/1.png"], "one/, two/ hold folders, and no file .*: classes or splits"),
        (["cat/1.png", "dog/1.xcf", "dog/2.xcf"], "dog: no file of a kind .*; it has 2 .xcf; remove the folder or fill it"),
    ],
)
def test_a_folder_that_holds_no_data_set_says_what_is_expected(tmp_path, files, said):
    for file in files:
        picture(tmp_path / file) if file.endswith("png") else touched(tmp_path / file)
    with pytest.raises(DataError, match=said):
        ready(ImageFolder(root=str(tmp_path)))


def touched(file):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()


def test_what_is_left_out_is_said_in_one_line(tmp_path, capsys):
    for part in ("train", "test"):
        for label in ("cat", "dog"):
            for index in range(4):
                picture(tmp_path / part / label / f"{index}.png", index)
    for index in range(9):
        touched(tmp_path / "train" / "dog" / f"{index}.XCF")
    for stray in ("train/cat/notes.txt", "train/cat/Thumbs.db", "train/cat/.DS_Store", "extra/cat/1.png", "train/8.png", "9.png"):
        touched(tmp_path / stray)
    assert ready(ImageFolder(root=str(tmp_path))).counts() == {"train": 6, "validation": 2, "test": 8}
    name = tmp_path.name
    assert capsys.readouterr().out == (
        f"left out: 1 .png next to the folders of {name}, extra/, 1 .png next to the folders of {name}/train, "
        "1 .txt in train/cat, 9 .xcf in train/dog\n"
    )


def test_a_class_may_be_called_train(tmp_path):
    for label in ("bus", "car", "train"):
        for index in range(5):
            picture(tmp_path / label / f"{index}.png", index)
    data = ready(ImageFolder(root=str(tmp_path)))
    assert data.labels == ["bus", "car", "train"] and data.counts()["train"] == 9


def test_a_folder_that_is_not_there_is_named():
    with pytest.raises(DataError, match="nowhere: no such folder"):
        ready(ImageFolder(root="nowhere"))


def test_a_link_in_a_class_folder_is_said_to_be_left_out(tmp_path, capsys):
    for label in ("cat", "dog"):
        for index in range(6):
            picture(tmp_path / "own" / label / f"{index}.png", index)
    picture(tmp_path / "elsewhere" / "7.png")
    (tmp_path / "own" / "cat" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "own" / "cat" / "loop").symlink_to(tmp_path / "own")
    ready(ImageFolder(root=str(tmp_path / "own")))
    said = "left out: what the link cat/loop leads to, what the link cat/more leads to\n"
    assert capsys.readouterr().out == said


def test_a_file_in_place_of_a_folder_is_no_missing_folder(tmp_path):
    (tmp_path / "pictures.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"pictures\.zip: a file; unpack it into a folder"):
        ImageFolder(root=str(tmp_path / "pictures.zip")).setup()
