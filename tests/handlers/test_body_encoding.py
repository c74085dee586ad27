"""Compressed bodies and texts in other charsets: read as the header says, or refused with the header's name."""

import gzip
import tracemalloc
import zlib

import pytest

from handlers.body_encoding import decoded, unpacked
from handlers.classifier import ClassifierParameters
from handlers.request import RawRequest, parse_request
from handlers.tables import ROW
from handlers.text import TEXT
from handlers.vision import PICTURE
from model_defs.errors import InputError, TooLarge, Unreadable, WrongKind

BODY = b"wake me at seven"
LIMIT = 1_000


def bare(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(BODY)),
        ("x-gzip", gzip.compress(BODY)),
        ("GZIP", gzip.compress(BODY)),
        ("gzip, identity", gzip.compress(BODY)),
        ("gzip", gzip.compress(BODY[:5]) + gzip.compress(BODY[5:])),
        ("deflate", zlib.compress(BODY)),
        ("deflate", bare(BODY)),
        ("identity", BODY),
        ("", BODY),
    ],
)
def test_a_compressed_body_is_unpacked(encoding, packed):
    assert unpacked(packed, encoding, LIMIT) == BODY


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "deflate, gzip", "x"])
def test_another_encoding_is_refused_by_the_headers_name(encoding):
    with pytest.raises(WrongKind, match=f"Content-Encoding: {encoding} is not taken; send the body with gzip or deflate"):
        unpacked(BODY, encoding, LIMIT)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize(
    "spoil", [lambda packed: packed[:-5], lambda packed: packed + b"x", lambda packed: BODY, lambda packed: b"\0"]
)
def test_a_body_that_does_not_unpack_says_which_header_claims_it(encoding, spoil):
    packed = gzip.compress(BODY) if encoding == "gzip" else zlib.compress(BODY)
    with pytest.raises(Unreadable, match=f"the header says Content-Encoding: {encoding}, and the body cannot be unpacked so"):
        unpacked(spoil(packed), encoding, LIMIT)


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, bare])
def test_a_bomb_is_refused_before_it_takes_memory(pack):
    bomb, encoding = pack(bytes(50_000_000)), "gzip" if pack is gzip.compress else "deflate"
    tracemalloc.start()
    with pytest.raises(TooLarge, match="unpacks to more than 1,000 bytes"):
        unpacked(bomb, encoding, LIMIT)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    assert len(unpacked(pack(bytes(LIMIT)), encoding, LIMIT)) == LIMIT


@pytest.mark.parametrize(
    ("body", "content_type", "accepts", "payload"),
    [
        (BODY, "text/plain", TEXT, BODY.decode()),
        (b'{"inputs": "wake me"}', "application/json", TEXT, "wake me"),
        (b'{"inputs": [1, 2]}', "", ROW, [1, 2]),
        (b"\x89PNG", "image/png", PICTURE, b"\x89PNG"),
    ],
)
def test_every_kind_of_body_may_be_compressed(body, content_type, accepts, payload):
    raw = RawRequest({"body": bytearray(gzip.compress(body))}, content_type, encoding="gzip")
    assert parse_request(raw, accepts, ClassifierParameters).payload == payload


def test_a_compressed_form_is_refused_by_the_headers_name():
    raw = RawRequest({"data": b"x"}, "multipart/form-data; boundary=x", encoding="gzip")
    with pytest.raises(WrongKind, match="Content-Encoding: gzip of a form"):
        parse_request(raw, PICTURE, ClassifierParameters)


@pytest.mark.parametrize(
    ("charset", "text"),
    [("iso-8859-1", "réveil"), ("windows-1252", "it’s"), ("utf-16", "réveil"), ("utf-16le", "早上"), ("Shift_JIS", "早上"),
     ("utf-8", "早上"), ('"utf-8"', "早上"), ("us-ascii", "wake"), ("GBK", "早上")],
)  # fmt: skip
@pytest.mark.parametrize("media", ["text/plain", "text/plain; format=flowed", "application/octet-stream"])
def test_a_text_is_read_in_the_charset_of_its_header(charset, text, media):
    raw = RawRequest({"body": text.encode(charset.strip('"'))}, f"{media}; charset={charset}")
    found = parse_request(raw, TEXT, ClassifierParameters).payload
    assert (found if isinstance(found, str) else found.decode()).removeprefix("\ufeff") == text


@pytest.mark.parametrize("charset", ["klingon", "unicode_escape", "base64", "idna", "utf-7", "x" * 1_000])
def test_a_charset_that_is_not_taken_is_named(charset):
    with pytest.raises(WrongKind, match=f"charset={charset} is not taken; send UTF-8"):
        decoded(b"wake me", f"text/plain; charset={charset}")


def test_bytes_that_are_none_of_the_charset_are_named():
    with pytest.raises(Unreadable, match="not text in utf-16: byte 2 is 0x00"):
        decoded(b"a\0\0\xd8", "text/plain; charset=utf-16")


def test_a_text_that_the_engine_has_decoded_gets_its_own_charset():
    assert decoded("a\0b\0", "text/plain; charset=utf-16-le") == "ab"


@pytest.mark.parametrize("body", [b"\xff", b"{", b""])
def test_an_error_of_the_callers_is_an_input_error(body):
    with pytest.raises(InputError):
        unpacked(body, "br", LIMIT)
