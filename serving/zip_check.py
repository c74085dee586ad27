"""What may lie in an archive, entry by entry: plain files under plain names, none of which could run by being read.

TorchServe unpacks a zip from its first byte on and never looks at the directory at its end; Python reads only that
directory. Both must see the same here. Entries are stored, so none unpacks to more than it takes in the file, and one of
any size is checked a piece at a time. Knows nothing of what the files mean to the bundle; `serving/verify.py` does.
"""

import hashlib
import itertools
import json
import pickletools
import re
import stat
import struct
import unicodedata
import zipfile
from pathlib import PurePosixPath
from typing import BinaryIO

from model_defs.errors import BundleError

CHUNK = 1 << 20  # bytes read at once
TAIL = 66_000  # bytes at a file's end in which a zip's last record would lie
MOST_ENTRIES, MOST_NAME = 10_000, 500  # entries; bytes of a name
MOST_HEADER = 16 << 20  # bytes of a safetensors header

LOCAL = struct.Struct("<4s5H3I2H")  # a zip's local header, up to the name
ZIP64 = struct.Struct("<2H2Q")  # the sizes of an entry above 4 GiB
END = struct.Struct("<4s4H2IH")  # a zip's last record
STORED, UTF8, MANY = 0, 0x800, 0xFFFFFFFF
PROGRAM = 0o7111  # the bits that let a file be run, or as somebody else

# torch.save's and joblib's names, and how a pickle of protocol 2 and above begins.
PICKLES = {".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".dill"}
PICKLED = re.compile(rb"\x80[\x02-\x05]")
# Compiled Python may stand in for the source beside it without being it.
MACHINE_CODE = {".so", ".pyd", ".dll", ".dylib", ".pyc", ".pyo"}
PACKED = re.compile(
    rb"PK[\x03\x05]|\x1f\x8b\x08|BZh[1-9]1AY|\xfd7zXZ\0|7z\xbc\xaf\x27\x1c|\x28\xb5\x2f\xfd|Rar!\x1a|.{257}ustar", re.DOTALL
)
# What a pickle of any protocol that calls something is made of, and more operations than a text can look like by chance.
CALLS, ARGUMENTS = {"REDUCE", "NEWOBJ", "NEWOBJ_EX", "OBJ", "INST"}, {"MARK", "EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}
MOST_OPERATIONS = 10_000


class UnsafeArchive(BundleError):
    """The archive must not be hosted; the message says what is wrong, without the archive's name."""


def check(file: BinaryIO) -> dict[str, str]:
    """The SHA-256 of every entry by its name.

    Raises:
        UnsafeArchive: it is no zip, or one that says two things, or an entry is none that an archive may hold.
    """
    unpacked, place = walk(file)
    if file.seek(0, 2) - place > (len(unpacked) + 100) * 2 * MOST_NAME:  # all of it would be read into memory
        raise UnsafeArchive("no archive: far more follows the last entry than a list of the entries")
    try:
        with zipfile.ZipFile(file) as whole:
            entries = whole.infolist()
            if [(entry.header_offset, raw_name(entry), entry.file_size) for entry in entries] != unpacked:
                raise UnsafeArchive("its end tells of other entries than TorchServe would unpack")
            check_names([entry.orig_filename for entry in entries])  # `filename` ends at a zero byte
            return {entry.filename: check_entry(whole, entry) for entry in entries}
    except (zipfile.BadZipFile, NotImplementedError, UnicodeError, ValueError, OSError, EOFError) as error:
        raise UnsafeArchive(f"no archive: {error}") from None


def walk(file: BinaryIO) -> tuple[list[tuple[int, bytes, int]], int]:
    """The entries as TorchServe unpacks them, each as (place, name, size), and the place where the last one ends."""
    found, place = [], 0
    while True:
        file.seek(place)
        header = file.read(LOCAL.size)
        if len(header) < LOCAL.size or header[:4] != b"PK\3\4":
            return found, place
        _, _, flags, method, _, _, _, packed, size, name_length, extra_length = LOCAL.unpack(header)
        name, extra = file.read(name_length), file.read(extra_length)
        told = repr(name[:MOST_NAME].decode(errors="replace"))
        if flags & 1:
            raise UnsafeArchive(f"{told} is encrypted")
        if method != STORED or flags & ~UTF8:
            raise UnsafeArchive(
                f"{told} is compressed, or of a size that only its end tells; archives here are stored as they are"
            )
        if not flags & UTF8 and not name.isascii():
            raise UnsafeArchive(f"{told} is not written in UTF-8, so that two readers would read two names")
        if MANY in (packed, size) and extra[:4] == b"\1\0\x10\0" and len(extra) >= ZIP64.size:
            _, _, size, packed = ZIP64.unpack_from(extra)
        if packed != size:
            raise UnsafeArchive(f"{told} is longer than it says")
        found.append((place, name, size))
        if len(found) > MOST_ENTRIES or name_length > MOST_NAME:
            raise UnsafeArchive(f"more than {MOST_ENTRIES:,} entries, or a name of more than {MOST_NAME} bytes")
        place += LOCAL.size + name_length + extra_length + size


def raw_name(entry: zipfile.ZipInfo) -> bytes:
    return entry.orig_filename.encode("utf-8" if entry.flag_bits & UTF8 else "cp437")


def check_names(names: list[str]) -> None:
    """
    Raises:
        UnsafeArchive: a name leads out of the archive, is written oddly, or is another's on some file system.
    """
    known: dict[str, str] = {}
    for name in names:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in name.partition("/")[0]:
            raise UnsafeArchive(f"{name!r} leaves the archive")
        if name != str(path) or not name.isprintable() or name == ".":
            raise UnsafeArchive(f"{name!r} is no plain path of a file")
        if other := known.get(folded(name)):
            raise UnsafeArchive(f"{name!r} stands there twice" + (f", once as {other!r}" if other != name else ""))
        known[folded(name)] = name
    for name in names:
        for parent in PurePosixPath(folded(name)).parents:
            if str(parent) in known:
                raise UnsafeArchive(f"{known[str(parent)]!r} is a file, and a folder too")


def folded(name: str) -> str:
    """What file systems that ignore case or the way that an accent is written take a name for."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def check_entry(whole: zipfile.ZipFile, entry: zipfile.ZipInfo) -> str:
    """The entry's SHA-256.

    Raises:
        UnsafeArchive: it is not a plain file that only means something.
    """
    if wrong := fault_of_mode(entry.external_attr >> 16):
        raise UnsafeArchive(f"{entry.filename!r} {wrong}")
    digest = hashlib.sha256()
    with whole.open(entry) as stream:
        head = tail = stream.read(CHUNK)
        digest.update(head)
        while piece := stream.read(CHUNK):
            digest.update(piece)
            tail = tail[-TAIL:] + piece
    suffix = PurePosixPath(entry.filename).suffix.lower()
    if suffix == ".safetensors":
        with whole.open(entry) as stream:
            wrong = fault_of_tensors(stream, entry.file_size)
    else:
        wrong = fault_of_file(suffix, head, tail[-TAIL:], entry.file_size)
    if wrong:
        raise UnsafeArchive(f"{entry.filename!r} {wrong}")
    return digest.hexdigest()


def fault_of_mode(mode: int) -> str | None:
    if stat.S_ISLNK(mode):
        return "is a symbolic link"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "is not a plain file"
    return "is marked as a program" if mode & PROGRAM else None


def fault_of_file(suffix: str, head: bytes, tail: bytes, size: int) -> str | None:
    """What is wrong with a file of this name, beginning, end and size, if anything is.

    An exported network that is an archive with code inside, as TorchScript's .pt is, is refused here. Were one to be let in,
    this is the place: `check_entry` would pass over it if its digest is one that the bill of materials lists as written by
    `archive/export.py`, and nothing else about it would be taken on trust.
    """
    if suffix in PICKLES or PICKLED.match(head) or runs_something(head):
        return "is a pickle, which could run anything"
    if suffix in MACHINE_CODE or head[:4] == b"\x7fELF":
        return "is machine code, which nobody can read"
    if PACKED.match(head) or ends_as_zip(tail, size):
        return "is an archive itself, whose files nobody would check"
    return None


def runs_something(head: bytes) -> bool:
    """Whether these bytes, read as a pickle of any protocol, would call something before they make no more sense."""
    seen = set()
    try:
        for count, (operation, _, _) in enumerate(pickletools.genops(head)):
            seen.add(operation.name)
            if count > MOST_OPERATIONS or (operation.name in CALLS and seen & ARGUMENTS):
                return True
    except (ValueError, IndexError, OverflowError):
        return False
    return False


def ends_as_zip(tail: bytes, size: int) -> bool:
    """Whether a zip stands at the end of a file, behind whatever it begins with: Python would import from it."""
    place = tail.rfind(b"PK\5\6")
    if place < 0 or len(tail) - place < END.size:
        return False
    _, _, _, _, _, length, start, _ = END.unpack_from(tail, place)
    return MANY in (length, start) or length + start <= size


def fault_of_tensors(stream: BinaryIO, size: int) -> str | None:
    """Whether a safetensors file of `size` bytes is what its header says: tensors that fill the rest of it, each byte once."""
    length = int.from_bytes(stream.read(8), "little")
    if length > min(size - 8, MOST_HEADER):
        return "is no safetensors file: its header would be longer than it may"
    try:
        header = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        spans = sorted(tuple(tensor["data_offsets"]) for tensor in header.values())
        borders = [0, *itertools.chain.from_iterable(spans), size - 8 - length]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return "is no safetensors file: its header cannot be read"
    if any(before != begin for before, begin in zip(borders[::2], borders[1::2], strict=False)) or borders != sorted(borders):
        return "is not what its header says: bytes are left over, missing, or two tensors' at once"
    return None
