"""Check the zip of an archive: only plain files, only under names that an archive of the bundle has.

The name says what reads a file: Python (`.py`), a parser of JSON, YAML or text, or a reader of weights, pictures or sounds. No
such reader runs what it reads, except Python. So all code of an archive is in its `.py` files.

TorchServe unpacks a zip from its first byte on and ignores the list of entries at its end. Python reads only that list. Both
must find the same entries. Entries are stored uncompressed, so none unpacks to more than its size in the file. Files of any
size are read in pieces.
"""

import hashlib
import itertools
import json
import pickletools
import re
import stat
import struct
import zipfile
from typing import BinaryIO

from serving.errors import UnsafeArchive

CHUNK = 1 << 20  # bytes that are read at once
MAX_ENTRIES, MAX_LIST = 10_000, 4 << 20  # entries; bytes of their list, which zipfile reads into memory
MAX_HEADER = 16 << 20  # bytes of a safetensors header

NAMES = re.compile(
    r"""MAR-INF/MANIFEST\.json
    |(handlers|model_defs)/(\w+/)*\w+\.py
    |[\w-]+\.(py|ya?ml)                                      # the entry and the recipe; manifest.py checks that it is these
    |[\w-]+(\.[\w-]+)*\.(json|txt)                           # model.json, bom.cdx.json, what the transform learned ...
    |weights\.safetensors|network\.(onnx|xml|param|bin)
    |(samples|backgrounds)/[\w-]+\.(txt|json
        |apng|avif|bmp|dds|gif|hei[cf]|icns|ico|j2k|jfif|jp2|jpe?g?|p[bgpn]m|pcx|png|psd|qoi|tga|tiff?|webp
        |aac|aiff?|amr|au|caf|flac|m4a|mka|mp[34]|og[ga]|opus|rf64|w64|wav|webm)""",
    re.VERBOSE | re.ASCII,
)
PACKED = re.compile(rb"\x1f\x8b\x08|BZh[1-9]1AY|\xfd7zXZ\0|7z\xbc\xaf\x27\x1c|\x28\xb5\x2f\xfd|Rar!\x1a|.{257}ustar", re.DOTALL)
PICKLED = re.compile(rb"\x80[\x02-\x05]")  # how a pickle of protocol 2 and above begins
# What a pickle of any protocol that calls something is made of, and more operations than a text can look like by chance.
CALLS, ARGUMENTS = {"REDUCE", "NEWOBJ", "NEWOBJ_EX", "OBJ", "INST"}, {"MARK", "EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}
MAX_OPERATIONS = 10_000

END = struct.Struct("<4s4H2IH")  # a zip's last record, without a comment
UTF8 = 0x800  # the flag of a name in UTF-8
PROGRAM = 0o7111  # mode bits: executable, setuid, setgid, sticky


def check(file: BinaryIO) -> dict[str, str]:
    """Check the whole zip, and return the SHA-256 of every entry by its name.

    Raises:
        UnsafeArchive: not a zip, a zip that two readers read differently, or an entry that no archive has.
    """
    try:
        file.seek(-END.size, 2)
        signature, _, _, _, count, length, _, _ = END.unpack(file.read())
        if signature != b"PK\5\6":
            raise UnsafeArchive("no archive: it does not end with a list of its entries")
        if count > MAX_ENTRIES or length > MAX_LIST:
            raise UnsafeArchive(f"more than {MAX_ENTRIES:,} entries, or a list of them of more than {MAX_LIST >> 20} MiB")
        with zipfile.ZipFile(file) as archive:
            check_layout(file, archive)
            check_names(archive.namelist())
            return {entry.filename: check_entry(archive, entry) for entry in archive.infolist()}
    except (zipfile.BadZipFile, zipfile.LargeZipFile, struct.error, NotImplementedError, ValueError, OSError, EOFError) as error:
        raise UnsafeArchive(f"no archive: {error}") from None


def check_layout(file: BinaryIO, archive: zipfile.ZipFile) -> None:
    """Check that the entries fill the file from its first byte up to the list, each with the header that zipfile gives it.

    Raises:
        UnsafeArchive: TorchServe would unpack other entries than those of the list.
    """
    offset = 0
    for entry in archive.infolist():
        is_stored = entry.compress_type == zipfile.ZIP_STORED and entry.compress_size == entry.file_size
        if not is_stored or entry.flag_bits & ~UTF8:
            raise UnsafeArchive(f"{entry.filename!r} is compressed, encrypted or streamed; archives here are stored as they are")
        entry.extra, entry.extract_version = b"", zipfile.DEFAULT_VERSION  # in the list they also tell of an offset above 2 GiB
        for has_long_sizes in (True,) if entry.file_size > zipfile.ZIP64_LIMIT else (False, True):
            header = entry.FileHeader(has_long_sizes)
            file.seek(offset)
            if entry.header_offset == offset and file.read(len(header)) == header:
                break
        else:
            raise UnsafeArchive(f"its list tells of {entry.filename!r}, where TorchServe would unpack something else")
        offset += len(header) + entry.file_size
    if offset != archive.start_dir:
        raise UnsafeArchive("its list tells of fewer entries than TorchServe would unpack")


def check_names(names: list[str]) -> None:
    """Compare the entries' names with those that an archive has, and with each other.

    Raises:
        UnsafeArchive: no archive has a file of that name, or some file systems take two of the names for one.
    """
    known: dict[str, str] = {}
    for name in names:
        if not NAMES.fullmatch(name):
            raise UnsafeArchive(f"{name!r} is not a name that a file of an archive has")
        if other := known.get(name.lower()):
            raise UnsafeArchive(f"{name!r} stands there twice" + (f", once as {other!r}" if other != name else ""))
        known[name.lower()] = name


def check_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> str:
    """Check one entry, and return its SHA-256.

    Raises:
        UnsafeArchive: it is not a plain file, or not a file of the kind that its name says.
    """
    digest = hashlib.sha256()
    with archive.open(entry) as stream:
        head = stream.read(CHUNK)
        digest.update(head)
        while piece := stream.read(CHUNK):
            digest.update(piece)
    if wrong := fault_of_mode(entry.external_attr >> 16) or fault_of_content(archive, entry, head):
        raise UnsafeArchive(f"{entry.filename!r} {wrong}")
    return digest.hexdigest()


def fault_of_mode(mode: int) -> str | None:
    if stat.S_ISLNK(mode):
        return "is a symbolic link"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "is not a plain file"
    return "is marked as a program" if mode & PROGRAM else None


def fault_of_content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, head: bytes) -> str | None:
    """What is wrong with the file, if anything is. `head` is its first MiB."""
    with archive.open(entry) as stream:
        if entry.filename.endswith(".safetensors"):
            return None if is_safetensors(stream, entry.file_size) else "is not safetensors: its header does not fit its bytes"
        if PACKED.match(head) or zipfile.is_zipfile(stream):
            return "is an archive itself, whose files nobody would check"
    return "is a pickle, which could run anything" if PICKLED.match(head) or calls_something(head) else None


def calls_something(head: bytes) -> bool:
    """Whether these bytes, read as a pickle of any protocol, call something before they make no sense any more.

    Names do not tell: a pickle of protocol 0 is plain text, which a vocabulary may be too.
    """
    seen = set()
    try:
        for count, (operation, _, _) in enumerate(pickletools.genops(head)):
            seen.add(operation.name)
            if count > MAX_OPERATIONS or (operation.name in CALLS and seen & ARGUMENTS):
                return True
    except (ValueError, IndexError, OverflowError):
        return False
    return False


def is_safetensors(stream: BinaryIO, size: int) -> bool:
    """Whether the tensors of the file's header fill the rest of its `size` bytes, each byte once."""
    length = int.from_bytes(stream.read(8), "little")
    try:
        header = json.loads(stream.read(min(length, MAX_HEADER)))
        spans = sorted(tensor["data_offsets"] for name, tensor in header.items() if name != "__metadata__")
        borders = [0, *itertools.chain(*spans), size - 8 - length]  # each tensor begins where the one before it ends
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return False
    return borders == sorted(borders) and borders[::2] == borders[1::2]
