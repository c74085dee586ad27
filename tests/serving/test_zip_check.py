"""serving/zip_check.py: a zip that says two things, leads out of itself, or holds what could run by being read."""

import gzip
import io
import json
import os
import pickle
import py_compile
import stat
import struct
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from serving.zip_check import MOST_ENTRIES, UnsafeArchive, check


def zipped(entries: dict[str, bytes], mode: int = stat.S_IFREG | 0o644, compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in entries.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr, entry.compress_type = mode << 16, compression
            archive.writestr(entry, content)
    return file.getvalue()


def checked(archive: bytes) -> dict[str, str]:
    return check(io.BytesIO(archive))


GOOD = {"model.json": b"{}", "handlers/base.py": b"import os\nfrom x import y\n", "samples/0.png": b"\x89PNG", "näme.txt": b"x"}


def test_plain_files_have_their_digests():
    digests = checked(zipped(GOOD))
    assert list(digests) == list(GOOD)
    assert digests["model.json"] == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"  # echo -n '{}' | sha256sum


@pytest.mark.parametrize(
    "text",
    [
        "cats\nfunny\nround\n",
        "cats\nfunny\nReal\n",
        "cats\nfunny\nor\n",
        "(round\nthings\n",
        "import os\nfrom x import y\n(a)\n",
        "N.",
        "",
    ],
)
def test_a_text_that_begins_as_a_pickle_could_is_a_text(text):
    checked(zipped({"samples/0.txt": text.encode()}))


@pytest.mark.parametrize("package", ["handlers", "model_defs", "train", "tests", "docs"])
def test_no_text_of_the_project_is_taken_for_something_else(package):
    files = [file for file in Path(package).rglob("*") if file.suffix in (".py", ".md", ".csv", ".yaml")]
    assert len(checked(zipped({str(file): file.read_bytes() for file in files}))) == len(files) > 1


# --- two readers of one zip


def test_an_entry_that_only_torchserve_would_see():
    file = io.BytesIO(zipped(GOOD | {"sitecustomize.py": b"evil"}))
    with zipfile.ZipFile(file, "a") as archive:
        archive.filelist.pop()
        archive._didModify = True  # the directory is written anew, the entry's bytes stay
    assert zipfile.ZipFile(file).namelist() == list(GOOD)
    with pytest.raises(UnsafeArchive, match="other entries than TorchServe would unpack"):
        check(file)


def test_a_zip_behind_something_else():
    with pytest.raises(UnsafeArchive, match="other entries than TorchServe would unpack"):
        checked(b"#!/bin/sh\n" + zipped(GOOD))


def test_two_zips_in_one_file():
    with pytest.raises(UnsafeArchive, match="other entries than TorchServe would unpack"):
        checked(zipped({"model.json": b"[]"}) + zipped(GOOD))


def test_an_entry_whose_own_header_bears_another_name():
    with pytest.raises(UnsafeArchive, match="other entries"):
        checked(zipped({"model.json": b"{}"}).replace(b"model.json", b"evils.json", 1))


def test_an_entry_longer_than_its_header_says():
    archive = bytearray(zipped({"model.json": b"{}"}))
    struct.pack_into("<I", archive, 22, 1)  # the size when unpacked
    with pytest.raises(UnsafeArchive, match=r"'model\.json' is longer than it says"):
        checked(bytes(archive))


def test_an_entry_that_was_damaged():
    with pytest.raises(UnsafeArchive, match="Bad CRC"):
        checked(zipped({"model.json": b'{"name": "digits"}'}).replace(b"digits", b"dogits"))


def test_a_bomb_and_whatever_else_is_compressed():
    with pytest.raises(UnsafeArchive, match=r"'weights\.bin' is compressed"):
        checked(zipped({"weights.bin": bytes(10_000_000)}, compression=zipfile.ZIP_DEFLATED))


def test_a_size_that_comes_only_after_the_content():
    class Pipe(io.RawIOBase):
        def __init__(self):
            self.written = b""

        def writable(self):
            return True

        def write(self, content):
            self.written += bytes(content)
            return len(content)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w") as archive:
        archive.writestr("model.json", b"{}")
    with pytest.raises(UnsafeArchive, match="of a size that only its end tells"):
        checked(pipe.written)


def test_an_encrypted_entry():
    archive = bytearray(zipped({"model.json": b"{}"}))
    archive[6] |= 1  # in its own header
    with pytest.raises(UnsafeArchive, match="is encrypted"):
        checked(bytes(archive))


def test_an_entry_above_4_gib_is_read_by_its_long_sizes():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, archive.open("weights.bin", "w", force_zip64=True) as entry:
        entry.write(b"0123")
    assert len(check(file)) == 1


def test_a_directory_too_long_to_be_read_into_memory():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        entry = zipfile.ZipInfo("model.json")
        entry.comment = bytes(65_535)
        archive.writestr(entry, b"{}")
        archive.comment = bytes(65_535)
    with pytest.raises(UnsafeArchive, match="far more follows"):
        check(file)


def test_more_entries_than_any_archive_has():
    with pytest.raises(UnsafeArchive, match="more than 10,000 entries"):
        checked(zipped({f"{number}.txt": b"" for number in range(MOST_ENTRIES + 1)}))


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\3\4", zipped(GOOD)[:-30], zipped(GOOD)[:200]])
def test_what_is_no_zip_or_half_of_one(content):
    with pytest.raises(UnsafeArchive, match=r"no archive|other entries"):
        checked(content)


def test_a_gigabyte_needs_no_gigabyte_of_memory(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.mar", "w") as archive, archive.open("weights.bin", "w", force_zip64=True) as entry:
        for _ in range(200):
            entry.write(bytes(1 << 20))
    with (tmp_path / "x.mar").open("rb") as file:
        tracemalloc.start()
        try:
            check(file)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 8 << 20  # of 200 MiB


# --- names and modes


@pytest.mark.parametrize(
    "name",
    [
        "../outside.py",
        "/etc/passwd",
        "a/../../b",
        "..\\outside.py",
        "C:/outside.py",
        "C:outside.py",
        "\\\\host\\share\\x",
        "a/..",
    ],
)
def test_a_path_that_leaves_the_archive(name):
    with pytest.raises(UnsafeArchive, match="leaves the archive"):
        checked(zipped({"model.json": b"{}", name: b""}))


@pytest.mark.parametrize("name", ["./model.json", "a//b", "a\\b", "a\nb", "folder/", ".", "a\u202eb"])
def test_a_name_that_is_no_plain_path(name):
    with pytest.raises(UnsafeArchive, match="no plain path"):
        checked(zipped({"vocabulary.txt": b"", name: b""}))


def test_a_name_with_a_zero_in_it():
    archive = zipped({"model.jsonxpng": b"{}"}).replace(b"model.jsonxpng", b"model.json\0png")
    with pytest.raises(UnsafeArchive, match="is no plain path"):
        checked(archive)


def test_a_name_that_two_readers_would_decode_differently():
    archive = bytearray(zipped({"näme.txt": b""}))
    for header, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        struct.pack_into("<H", archive, archive.index(header) + flags, 0)
    with pytest.raises(UnsafeArchive, match="not written in UTF-8"):
        checked(bytes(archive))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_that_stands_there_twice():
    file = io.BytesIO(zipped({"model.json": b"{}"}))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("model.json", b"[]")
    with pytest.raises(UnsafeArchive, match=r"stands there twice$"):
        check(file)


@pytest.mark.parametrize("other", ["Model.json", "MODEL.JSON", "ｍodel.json"])
def test_names_that_some_file_system_takes_for_one(other):
    with pytest.raises(UnsafeArchive, match=r"stands there twice, once as 'model\.json'"):
        checked(zipped({"model.json": b"{}", other: b"[]"}))


def test_one_accent_written_in_two_ways():
    with pytest.raises(UnsafeArchive, match="stands there twice"):
        checked(zipped({"caf\u00e9.txt": b"", "cafe\u0301.txt": b""}))


def test_a_file_that_is_a_folder_too():
    with pytest.raises(UnsafeArchive, match="'samples' is a file, and a folder too"):
        checked(zipped({"samples": b"", "samples/0.txt": b""}))


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (stat.S_IFLNK | 0o777, "is a symbolic link"),
        (stat.S_IFIFO | 0o644, "is not a plain file"),
        (stat.S_IFCHR | 0o644, "is not a plain file"),
        (stat.S_IFREG | 0o755, "is marked as a program"),
        (stat.S_IFREG | 0o4644, "is marked as a program"),
    ],
)
def test_what_is_more_than_a_plain_file(mode, said):
    with pytest.raises(UnsafeArchive, match=f"'secret' {said}"):
        checked(zipped({"secret": b"/etc/passwd"}, mode))


# --- contents


class Evil:
    def __reduce__(self):
        return os.system, ("true",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_of_any_protocol_by_whatever_name(protocol):
    evil = pickle.dumps(Evil(), protocol)
    for name, content in {"labels.json": evil, "samples/0.png": evil, "vocabulary.txt": evil[:-1] + b"\nmore words\n"}.items():
        with pytest.raises(UnsafeArchive, match="is a pickle"):
            checked(zipped({name: content}))


def test_a_pickle_that_hides_its_call_behind_much_that_does_nothing():
    with pytest.raises(UnsafeArchive, match="is a pickle"):
        checked(zipped({"vocabulary.txt": b"N0" * 1_000_000 + pickle.dumps(Evil(), 0)}))


@pytest.mark.parametrize("name", ["weights.pt", "weights.PTH", "vocabulary.pkl", "samples/0.npy", "handlers/x.joblib"])
def test_what_is_named_as_pickles_are(name):
    with pytest.raises(UnsafeArchive, match="is a pickle"):
        checked(zipped({name: b"anything"}))


def written(write) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def script() -> bytes:
    return written(lambda file: torch.jit.save(torch.jit.script(torch.nn.ReLU()), file))


def tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.add("Makefile")
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        script,
        lambda: written(lambda file: torch.save(Evil(), file)),
        lambda: written(lambda file: np.savez(file, np.array([Evil()], dtype=object))),
        lambda: gzip.compress(pickle.dumps(Evil())),
        lambda: zipped(GOOD),
        lambda: b"\x89PNG and then " + zipped({"evil.py": b""}),
        tar,
    ],
    ids=["TorchScript", "torch.save", "npz", "gzip", "zip", "a zip behind a picture", "tar"],
)
@pytest.mark.parametrize("name", ["network.onnx", "samples/0.png"])
def test_an_archive_in_the_archive(name, content):
    with pytest.raises(UnsafeArchive, match="is an archive itself"):
        checked(zipped({name: content()}))


def test_machine_code_and_compiled_python(tmp_path):
    compiled = py_compile.compile("handlers/batch.py", tmp_path / "batch.pyc")
    library = Path(next(Path(torch.__file__).parent.glob("lib/libc10*.so"))).read_bytes()[:10_000]
    for name, content in {"handlers/__pycache__/batch.pyc": Path(compiled).read_bytes(), "weights.bin": library}.items():
        with pytest.raises(UnsafeArchive, match="is machine code"):
            checked(zipped({name: content}))


# --- safetensors


def tensors(header: dict | bytes, data: bytes, length: int | None = None) -> bytes:
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(header) if length is None else length).to_bytes(8, "little") + header + data


def test_safetensors_are_what_they_say():
    saved = safetensors.numpy.save(
        {"a": np.ones((3, 4), "float32"), "b": np.ones((), "int64"), "c": np.ones((0, 3))}, {"by": "x"}
    )
    checked(zipped({"weights.safetensors": saved}))


def test_a_header_of_640_bytes_is_no_pickle():
    """Its first two bytes are those of one."""
    saved = safetensors.numpy.save({"a": np.ones(3, "float32")}, {"note": "x" * 551})
    assert saved[:2] == b"\x80\x02"
    checked(zipped({"weights.safetensors": saved}))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "header"),
        (pickle.dumps(Evil(), 2), "header"),
        (tensors({}, b"", length=2**62), "would be longer"),
        (tensors(b"[" * 100_000, b""), "cannot be read"),
        (tensors(b"[]", b""), "cannot be read"),
        (tensors({"a": {"dtype": "U8", "shape": [4]}}, bytes(4)), "cannot be read"),
        (tensors({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}, bytes(5)), "left over"),
        (tensors({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}, bytes(3)), "missing"),
        (tensors({"a": {"dtype": "U8", "shape": [4], "data_offsets": [1, 5]}}, bytes(5)), "left over"),
        (
            tensors({name: {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]} for name in "ab"}, bytes(4)),
            "two tensors' at once",
        ),
    ],
)
def test_safetensors_whose_header_lies(content, said):
    with pytest.raises(UnsafeArchive, match=rf"weights\.safetensors' is no.*{said}"):
        checked(zipped({"weights.safetensors": content}))
