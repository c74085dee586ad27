"""Undo what a caller's headers say about the body: `Content-Encoding`, and the charset of a text."""

import codecs
import gzip
import io
import re
import zlib

from model_defs.errors import TooLarge, Unreadable, WrongKind

GZIP, DEFLATE = ("gzip", "x-gzip"), ("deflate",)  # names in the header; a client may add "identity", which changes nothing
UTF_8 = ("utf-8", "ascii")  # ASCII is a part of it
# Python's names of what else a text may be in: the encodings that the web's standard gives to old documents, and UTF-16.
CHARSETS = (
    *("iso8859-1", "iso8859-2", "iso8859-5", "iso8859-7", "iso8859-9", "iso8859-15", "cp1250", "cp1251", "cp1252", "cp1253"),
    *("cp1254", "koi8-r", "utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "shift_jis", "euc_jp", "gbk", "gb18030", "gb2312"),
    *("big5", "euc_kr"),
)
CHARSET = re.compile(r'charset\s*=\s*"?([^\s;"]+)', re.I)


def unpacked(body: bytes, encoding: str, limit: int) -> bytes:
    """The body without the `Content-Encoding` that its header names.

    Args:
        limit: bytes that it may have when it is unpacked.

    Raises:
        WrongKind: an encoding other than gzip and deflate, or several.
        Unreadable: the body is not encoded so, or is cut off.
        TooLarge: more than `limit`.
    """
    names = [name for name in encoding.lower().replace(" ", "").split(",") if name not in ("", "identity")]
    if not names:
        return body
    if len(names) > 1 or names[0] not in GZIP + DEFLATE:
        raise WrongKind(f"Content-Encoding: {encoding} is not taken; send the body with gzip or deflate, or as it is")
    try:
        found = gunzip(body, limit + 1) if names[0] in GZIP else inflate(body, limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise Unreadable(
            f"the header says Content-Encoding: {encoding}, and the body cannot be unpacked so ({error}); "
            "compress it so, or leave the header out"
        ) from None
    if len(found) > limit:
        raise TooLarge(f"the body unpacks to more than {limit:,} bytes, which is the most that is taken; send a smaller input")
    return found


def gunzip(body: bytes, most: int) -> bytes:
    """The first `most` bytes of all members of a gzip file."""
    with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
        return file.read(most)


def inflate(body: bytes, most: int) -> bytes:
    """The first `most` bytes of a zlib stream, or of a bare deflate stream, which some clients send under the same name.

    Raises:
        EOFError: the stream has no end.
    """
    try:
        stream = zlib.decompressobj()
        found = stream.decompress(body, most)
    except zlib.error:
        stream = zlib.decompressobj(-zlib.MAX_WBITS)
        found = stream.decompress(body, most)
    if not stream.eof and len(found) < most:
        raise EOFError("the stream has no end")
    if stream.unused_data:
        raise EOFError(f"{len(stream.unused_data)} bytes follow the end of the stream")
    return found


def decoded(text: bytes | str, content_type: str) -> bytes | str:
    """A text in the charset that the header names -> text. UTF-8, and text without a charset, stay as they are.

    Args:
        text: bytes, or text if the engine has decoded it as UTF-8 already.

    Raises:
        WrongKind: a charset that is not taken.
        Unreadable: bytes that are none of that charset.
    """
    match = CHARSET.search(content_type)
    if match is None:
        return text
    try:
        name = codecs.lookup(match[1]).name
    except (LookupError, ValueError):
        name = ""
    if name in UTF_8:
        return text
    if name not in CHARSETS:
        raise WrongKind(f"charset={match[1]} is not taken; send UTF-8, and charset=utf-8 or no charset")
    given = text.encode() if isinstance(text, str) else text
    try:
        return given.decode(name)
    except UnicodeDecodeError as error:
        byte = given[error.start]
        raise Unreadable(f"not text in {match[1]}: byte {error.start:,} is 0x{byte:02x}; send UTF-8, and charset=utf-8") from None
