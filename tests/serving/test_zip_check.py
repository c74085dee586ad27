"""serving/zip_check.py: a zip that two readers read differently, names that no archive has, files that could run when read."""

import gzip
import io
import json
import os
import pickle
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

from serving.errors import UnsafeArchive
from serving.zip_check import check


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


GOOD = {
    "model.json": b"{}",
    "handlers/base.py": b"import os\nfrom x import y\n",
    "samples/0.png": b"\x89PNG",
    "vocabulary.txt": "näme\nund\n".encode(),
}


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
    texts = {f"samples/{index}.txt": file.read_bytes() for index, file in enumerate(files)}
    assert len(checked(zipped(texts))) == len(files) > 1


# --- two readers of one zip


def test_an_entry_that_only_torchserve_would_see():
    file = io.BytesIO(zipped(GOOD | {"sitecustomize.py": b"evil"}))
    with zipfile.ZipFile(file, "a") as archive:
        archive.filelist.pop()
        archive._didModify = True  # the list is written again, and the entry's bytes stay
    assert zipfile.ZipFile(file).namelist() == list(GOOD)
    with pytest.raises(UnsafeArchive, match="fewer entries than TorchServe would unpack"):
        check(file)


@pytest.mark.parametrize("prefix", [b"#!/bin/sh\n", zipped({"model.json": b"[]"})], ids=["a script", "another zip"])
def test_a_zip_behind_something_else(prefix):
    with pytest.raises(UnsafeArchive, match="where TorchServe would unpack something else"):
        checked(prefix + zipped(GOOD))


def test_an_entry_whose_own_header_bears_another_name():
    with pytest.raises(UnsafeArchive, match=r"tells of 'model\.json', where TorchServe would unpack something else"):
        checked(zipped({"model.json": b"{}"}).replace(b"model.json", b"evils.json", 1))


@pytest.mark.parametrize(("offset", "format"), [(6, "<H"), (8, "<H"), (18, "<I"), (22, "<I"), (28, "<H")])
def test_an_entry_whose_own_header_says_something_else(offset, format):
    """Its flags (1: encrypted), its compression, its two sizes, the length of its extra fields."""
    archive = bytearray(zipped({"model.json": b"{}"}))
    struct.pack_into(format, archive, offset, 1)
    with pytest.raises(UnsafeArchive, match="where TorchServe would unpack something else"):
        checked(bytes(archive))


def test_an_entry_with_two_sizes():
    archive = bytearray(zipped({"model.json": b"{}"}))
    for header, offset in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        struct.pack_into("<I", archive, archive.index(header) + offset, 1)
    with pytest.raises(UnsafeArchive, match=r"'model\.json' is compressed, encrypted or streamed"):
        checked(bytes(archive))


def test_an_entry_that_was_damaged():
    with pytest.raises(UnsafeArchive, match="Bad CRC"):
        checked(zipped({"model.json": b'{"name": "digits"}'}).replace(b"digits", b"dogits"))


def test_a_bomb_and_whatever_else_is_compressed():
    with pytest.raises(UnsafeArchive, match=r"'network\.bin' is compressed"):
        checked(zipped({"network.bin": bytes(10_000_000)}, compression=zipfile.ZIP_DEFLATED))


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
    with pytest.raises(UnsafeArchive, match=r"'model\.json' is compressed, encrypted or streamed"):
        checked(pipe.written)


def test_an_encrypted_entry():
    archive = bytearray(zipped({"model.json": b"{}"}))
    for header, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        archive[archive.index(header) + offset] |= 1
    with pytest.raises(UnsafeArchive, match="encrypted"):
        checked(bytes(archive))


def test_an_entry_may_have_the_long_sizes_of_those_above_2_gib():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, archive.open("network.bin", "w", force_zip64=True) as entry:
        entry.write(b"0123")
    assert len(check(file)) == 1


def test_a_list_of_entries_too_long_to_be_read_into_memory():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for index in range(70):
            entry = zipfile.ZipInfo(f"samples/{index}.txt")
            entry.comment = bytes(65_535)
            archive.writestr(entry, b"{}")
    with pytest.raises(UnsafeArchive, match="a list of them of more than 4 MiB"):
        check(file)


@pytest.mark.parametrize("count", [10_001, 70_000])
def test_more_entries_than_any_archive_has(count):
    with pytest.raises(UnsafeArchive, match="more than 10,000 entries"):
        checked(zipped({f"samples/{index}.txt": b"" for index in range(count)}))


@pytest.mark.parametrize("more", [b"\0", b"more", zipped(GOOD)[:-1]])
def test_something_behind_the_zip(more):
    with pytest.raises(UnsafeArchive, match="does not end with a list of its entries"):
        checked(zipped(GOOD) + more)


def test_a_comment():
    file = io.BytesIO(zipped(GOOD))
    with zipfile.ZipFile(file, "a") as archive:
        archive.comment = b"more"
    with pytest.raises(UnsafeArchive, match="does not end with a list of its entries"):
        check(file)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\3\4", zipped(GOOD)[:-30], zipped(GOOD)[:200]])
def test_what_is_no_zip_or_half_of_one(content):
    with pytest.raises(UnsafeArchive, match="no archive"):
        checked(content)


def test_an_archive_of_any_size_is_read_in_pieces(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.mar", "w") as archive, archive.open("network.bin", "w", force_zip64=True) as entry:
        for _ in range(200):
            entry.write(bytes(1 << 20))
    with (tmp_path / "x.mar").open("rb") as file:
        tracemalloc.start()
        try:
            check(file)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 32 << 20  # of 200 MiB


# --- names and modes


@pytest.mark.parametrize(
    "name",
    [
        "MAR-INF/MANIFEST.json", "torchserve.py", "model-config.yaml", "model-config.schema.json", "bom.cdx.json", "model.json",
        "comparison.json", "weights.safetensors", "network.onnx", "network.xml", "network.bin", "network.param",
        "handlers/__init__.py", "handlers/runtimes/eager.py", "model_defs/my_net/Net2.py", "tokenizer.json", "vocabulary.txt",
        "samples/expected.json", "samples/0001.jpeg", "samples/my-sound.flac",
    ],
)  # fmt: skip
def test_a_file_of_an_archive(name):
    content = safetensors.numpy.save({}) if name.endswith(".safetensors") else b"{}"
    assert list(checked(zipped({name: content}))) == [name]


def test_every_kind_of_file_that_a_model_may_be_trained_on_can_be_a_sample():
    from train.data.audio import SUFFIXES  # with torch, which the other tests here do without

    pictures = {".bmp", ".gif", ".heic", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
    names = {f"samples/0{suffix}" for suffix in SUFFIXES | pictures | {".json", ".txt"}}
    assert checked(zipped(dict.fromkeys(names, b"x"))).keys() == names


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
        "handlers/../../outside.py",
        "samples/../../outside.txt",
    ],
)
def test_a_path_that_leaves_the_archive(name):
    with pytest.raises(UnsafeArchive, match="is not a name that a file of an archive has"):
        checked(zipped({"model.json": b"{}", name: b""}))


@pytest.mark.parametrize(
    "name",
    [
        "./model.json", "a//b", "a\\b", "a\nb", "folder/", ".", "a\u202eb", "model.json\n", "model.json ", "ｍodel.json", ".json",
        "handlers//base.py", "handlers/./base.py", "samples", "samples/", "handlers/base.py/more.py", "samples/folder/0.png",
    ],
)  # fmt: skip
def test_a_name_that_is_no_plain_path(name):
    with pytest.raises(UnsafeArchive, match="is not a name that a file of an archive has"):
        checked(zipped({"vocabulary.txt": b"", name: b""}))


def test_a_name_with_a_zero_in_it():
    archive = zipped({"model.jsonxpng": b"{}"}).replace(b"model.jsonxpng", b"model.json\0png")
    with pytest.raises(UnsafeArchive, match="where TorchServe would unpack something else"):
        checked(archive)


@pytest.mark.parametrize("flags", [0, 0x800], ids=["without the flag of UTF-8", "with it"])
def test_a_name_that_two_readers_would_decode_differently(flags):
    archive = bytearray(zipped({"näme.txt": b""}))
    for header, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        struct.pack_into("<H", archive, archive.index(header) + offset, flags)
    with pytest.raises(UnsafeArchive, match=r"where TorchServe would unpack something else|is not a name"):
        checked(bytes(archive))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_that_stands_there_twice():
    file = io.BytesIO(zipped({"model.json": b"{}"}))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("model.json", b"[]")
    with pytest.raises(UnsafeArchive, match=r"stands there twice$"):
        check(file)


@pytest.mark.parametrize("other", ["Model.json", "MODEL.json"])
def test_names_that_some_file_system_takes_for_one(other):
    with pytest.raises(UnsafeArchive, match=r"stands there twice, once as 'model\.json'"):
        checked(zipped({"model.json": b"{}", other: b"[]"}))


@pytest.mark.parametrize("names", [("caf\u00e9.txt", "cafe\u0301.txt"), ("samples", "samples/0.txt"), ("a.json", "A.JSON")])
def test_names_that_are_refused_before_they_can_meet(names):
    """One accent in two spellings, a file that is a folder too, and a suffix in capitals."""
    with pytest.raises(UnsafeArchive, match="is not a name that a file of an archive has"):
        checked(zipped(dict.fromkeys(names, b"")))


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
    with pytest.raises(UnsafeArchive, match=rf"'secret\.txt' {said}"):
        checked(zipped({"secret.txt": b"/etc/passwd"}, mode))


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
    with pytest.raises(UnsafeArchive, match="is not a name that a file of an archive has"):
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


@pytest.mark.parametrize(
    "name",
    [
        "handlers/__pycache__/batch.pyc",
        "handlers/batch.so",
        "weights.bin",
        "batch.pyd",
        "samples/0.dll",
        "samples/0.py",
        "x/y.py",
    ],
)
def test_code_that_is_not_python_source_of_the_bundle(name):
    with pytest.raises(UnsafeArchive, match="is not a name that a file of an archive has"):
        checked(zipped({name: b"anything"}))


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
    "content",
    [
        b"",
        pickle.dumps(Evil(), 2),
        tensors({}, b"", length=2**62),
        tensors(b"[" * 100_000, b""),
        tensors(b"[]", b""),
        tensors({"a": {"dtype": "U8", "shape": [4]}}, bytes(4)),
        tensors({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}, bytes(5)),
        tensors({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}, bytes(3)),
        tensors({"a": {"dtype": "U8", "shape": [4], "data_offsets": [1, 5]}}, bytes(5)),
        tensors({name: {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]} for name in "ab"}, bytes(4)),
    ],
    ids=[
        "nothing", "a pickle", "a header longer than the file", "brackets", "a list", "no offsets", "bytes left over",
        "bytes missing", "a gap", "two tensors at once",
    ],
)  # fmt: skip
def test_safetensors_whose_header_lies(content):
    with pytest.raises(UnsafeArchive, match=r"'weights\.safetensors' is not safetensors: its header does not fit its bytes"):
        checked(zipped({"weights.safetensors": content}))
