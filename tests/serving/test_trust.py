"""serving/trust.py: an archive that is not the one that was built, or that could reach beyond itself, is not hosted."""

import io
import os
import pickle
import stat
import zipfile
from pathlib import Path

import pytest

from serving.home import ServerError
from serving.trust import verify
from tests.serving.conftest import sign


@pytest.fixture
def made(tmp_path):
    """Write an archive of these entries, and its line in SHA256SUMS."""

    def make(entries: dict[str, bytes], links: tuple[str, ...] = ()) -> Path:
        archive = tmp_path / "model-1.0.mar"
        with zipfile.ZipFile(archive, "w") as file:
            for name, content in entries.items():
                entry = zipfile.ZipInfo(name)
                entry.external_attr = ((stat.S_IFLNK if name in links else stat.S_IFREG) | 0o644) << 16
                file.writestr(entry, content)
        sign(archive)
        return archive

    return make


def test_the_archive_that_was_built_is_trusted(made):
    assert len(verify(made({"model.json": b"{}", "handlers/base.py": b"", "samples/0.png": b"\x89PNG"}))) == 64


def test_one_changed_byte_is_noticed(made):
    archive = made({"model.json": b"{}"})
    content = bytearray(archive.read_bytes())
    content[40] ^= 1
    archive.write_bytes(content)
    with pytest.raises(ServerError, match="is not the one that was built"):
        verify(archive)


def test_an_archive_from_elsewhere_is_not_hosted(made):
    archive = made({"model.json": b"{}"})
    with pytest.raises(ServerError, match=r"other-1\.0\.mar is not in SHA256SUMS"):
        verify(archive.rename(archive.with_name("other-1.0.mar")))


@pytest.mark.parametrize("name", ["../outside.py", "/etc/passwd", "a/../../b", "..\\outside.py", "C:/outside.py"])
def test_a_path_that_leaves_the_archive(made, name):
    with pytest.raises(ServerError, match="leaves the archive"):
        verify(made({"model.json": b"{}", name: b""}))


def test_a_symbolic_link(made):
    with pytest.raises(ServerError, match="'secret' is a symbolic link"):
        verify(made({"secret": b"/etc/passwd"}, links=("secret",)))


class Evil:
    def __reduce__(self):
        return os.system, ("true",)


def torch_save() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("weights/data.pkl", pickle.dumps(Evil()))
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("weights.safetensors", pickle.dumps(Evil(), protocol=2)),
        ("labels.json", pickle.dumps(Evil(), protocol=5)),
        ("model.json", torch_save()),
        ("weights.pt", b"anything"),
        ("vocabulary.pkl", pickle.dumps(Evil(), protocol=0)),
    ],
)
def test_a_pickle_by_whatever_name(made, name, content):
    with pytest.raises(ServerError, match="is a pickle"):
        verify(made({name: content}))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_that_stands_there_twice(made, tmp_path):
    archive = made({"model.json": b"{}"})
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("model.json", b"[]")
    sign(archive)
    with pytest.raises(ServerError, match="stands there twice"):
        verify(archive)


def test_what_is_no_zip(tmp_path):
    (tmp_path / "x-1.0.mar").write_bytes(b"no zip")
    sign(tmp_path / "x-1.0.mar")
    with pytest.raises(ServerError, match="is no archive"):
        verify(tmp_path / "x-1.0.mar")
