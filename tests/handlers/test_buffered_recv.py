"""handlers/buffered_recv.py: it returns what TorchServe's own function returns, in whatever pieces the bytes come."""

import socket
import struct
import threading

import pytest

from handlers.buffered_recv import PIECE, BufferedReader
from handlers.torchserve import read_in_large_pieces

LARGE = bytes(range(256)) * 2_000


@pytest.fixture
def ends():
    """The two ends of a connection."""
    near, far = socket.socketpair(socket.AF_UNIX)
    with near, far:
        yield near, far


def number(value: int) -> bytes:
    return struct.pack("!i", value)


def word(value: bytes) -> bytes:
    return number(len(value)) + value


def batch(*bodies: bytes) -> bytes:
    """A batch as TorchServe's frontend sends it to a worker."""
    rows = (
        word(b"id %d" % index) + word(b"accept") + word(b"*/*") + number(-1)
        + word(b"body") + word(b"image/png") + word(body) + number(-1)
        for index, body in enumerate(bodies)
    )  # fmt: skip
    return b"I" + b"".join(rows) + number(-1)


@pytest.mark.parametrize("size", [1, 3, 1_000, PIECE, 10_000_000])
def test_batches_in_any_pieces_are_read_like_torchserve_reads_them(ends, monkeypatch, size):
    otf = pytest.importorskip("ts.protocol.otf_message_handler")
    near, far = ends
    sent = [batch(b"one", b"", b"three"), batch(LARGE if size >= 1_000 else b"small", b"after it"), batch(b"last")]

    def send():
        for start in range(0, len(whole := b"".join(sent)), size):
            far.sendall(whole[start : start + size])

    def read() -> list:
        sender = threading.Thread(target=send)
        sender.start()
        messages = [otf.retrieve_msg(near) for _ in sent]
        sender.join()
        return messages

    theirs = read()
    monkeypatch.setattr(otf, "_retrieve_buffer", BufferedReader())
    assert read() == theirs
    assert [len(rows) for _, rows in theirs] == [3, 2, 1] and theirs[2][1][0]["parameters"][0]["value"] == b"last"


def test_many_short_fields_take_one_call_of_recv(ends):
    near, far = ends
    far.sendall(b"abcdefgh")
    reader, asked = BufferedReader(), []

    class Counted:
        def recv(self, most: int) -> bytes:
            asked.append(most)
            return near.recv(most)

    assert [bytes(reader(Counted(), length)) for length in (1, 0, 3, 4)] == [b"a", b"", b"bcd", b"efgh"]
    assert asked == [PIECE]


@pytest.mark.parametrize(("version", "is_replaced"), [("0.12.0", True), ("0.13.0", False)])
def test_only_the_known_torchserve_version_gets_our_reader(monkeypatch, version, is_replaced):
    ts = pytest.importorskip("ts")
    otf = pytest.importorskip("ts.protocol.otf_message_handler")
    monkeypatch.setattr(otf, "_retrieve_buffer", otf._retrieve_buffer)  # so that it comes back
    monkeypatch.setattr(ts, "__version__", version)
    read_in_large_pieces()
    assert isinstance(otf._retrieve_buffer, BufferedReader) is is_replaced


@pytest.mark.parametrize("sent", [b"", b"abc"])
def test_the_worker_ends_when_the_connection_is_closed(ends, sent):
    near, far = ends
    far.sendall(sent)
    far.close()
    with pytest.raises(SystemExit) as ended:
        BufferedReader()(near, 4)
    assert ended.value.code == 0
