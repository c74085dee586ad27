"""The peers' wire formats, and how a peer is started and ended.

The peers themselves are not started: seven environments of up to 0.5 GB are too much for a test. `make bench-peers` checks the
answer of each before it measures it.
"""

import base64
import email
import json
import struct
import sys
from pathlib import Path

import msgspec
import pytest

from bench.peers import running
from bench.peers.options import OPTIONS, Options, options
from bench.peers.wire import PEERS, wire

PICTURE = bytes(range(256)) * 3
ANSWER = [{"label": "cat", "score": 0.75}, {"label": "dög", "score": 0.25}]


def test_every_peer_has_a_file_a_lock_and_a_group():
    names = {module.stem for module in Path("bench/peers").glob("*.py")} - {"__init__", "options", "running", "wire"}
    assert set(PEERS) == names == {lock.stem for lock in Path("bench/requirements").glob("*.txt")}
    groups = Path("pyproject.toml").read_text(encoding="utf-8")
    assert not [name for name in PEERS if f"\nbench-{name} = [" not in groups]


def test_an_unknown_peer_is_an_error_that_names_the_nearest():
    with pytest.raises(ValueError, match="no peer 'fastapy'; did you mean 'fastapi'"):
        wire("fastapy")
    with pytest.raises(ValueError, match="no peer 'x'; known: fastapi, litserve"):
        wire("x")


@pytest.mark.parametrize("name", ["fastapi", "litserve", "mosec", "pytriton", "ray_serve"])
def test_most_peers_take_the_bytes_of_a_picture(name):
    assert wire(name).wrap(PICTURE) == PICTURE


def test_bentoml_takes_a_multipart_form():
    spoken = wire("bentoml")
    head = f"Content-Type: {spoken.headers['Content-Type']}\r\n\r\n".encode()
    (part,) = email.message_from_bytes(head + spoken.wrap(PICTURE)).get_payload()
    assert part.get_param("name", header="content-disposition") == "pictures"
    assert part.get_payload(decode=True) == PICTURE


def test_mlserver_takes_v2_with_base64():
    (given,) = json.loads(wire("mlserver").wrap(PICTURE))["inputs"]
    assert base64.b64decode(given["data"][0]) == PICTURE
    assert given["datatype"] == "BYTES" and given["parameters"] == {"content_type": "base64"}


def v2() -> bytes:
    columns = {name: [entry[name] for entry in ANSWER] for name in ("score", "label")}
    return json.dumps({"outputs": [{"name": name, "shape": [1, 2], "data": data} for name, data in columns.items()]}).encode()


def binary() -> bytes:
    texts = b"".join(struct.pack("<I", len(text)) + text for text in (entry["label"].encode() for entry in ANSWER))
    parts = {"label": ("BYTES", texts), "score": ("FP32", struct.pack("<2f", 0.75, 0.25))}
    outputs = [
        {"name": name, "datatype": kind, "parameters": {"binary_data_size": len(part)}} for name, (kind, part) in parts.items()
    ]
    return json.dumps({"outputs": outputs}).encode() + b"".join(part for _, part in parts.values())


ANSWERS = {"bentoml": json.dumps([ANSWER]).encode(), "mlserver": v2(), "pytriton": binary()}


@pytest.mark.parametrize("name", PEERS)
def test_the_answers_of_all_peers_are_read_into_one_form(name):
    assert wire(name).answer(ANSWERS.get(name, json.dumps(ANSWER).encode())) == ANSWER


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("body", [b"", b"\xff", b"null", b"[7]", b'{"error": "x"}', b'{"outputs": [{"name": "label"}]}'])
def test_a_body_that_is_not_an_answer_is_an_error(name, body):
    with pytest.raises(ValueError, match="not an answer"):
        wire(name).answer(body)


def test_a_peers_child_processes_read_the_options_of_the_command_line(monkeypatch):
    monkeypatch.setenv(OPTIONS, "")
    chosen = Options(port=8000, archive="x.mar", runtime="fast", threads=2, delay_ms=0.5)
    monkeypatch.setattr(sys, "argv", ["peer", *running.command_line(chosen)])
    read = options(workers=3)
    assert read == msgspec.structs.replace(chosen, workers=3)
    monkeypatch.setattr(sys, "argv", ["worker"])
    assert options() == read


def test_a_peer_without_an_environment_says_how_to_make_it(monkeypatch, tmp_path):
    monkeypatch.setattr(running, "ROOT", tmp_path)
    monkeypatch.setattr(running, "ENVIRONMENTS", tmp_path / ".venv-bench")
    with (
        pytest.raises(running.PeerError, match=r"make \.venv-bench/mosec/\.installed"),
        running.started("mosec", "x", "fast", b""),
    ):
        pass


@pytest.fixture
def fake_python(monkeypatch, tmp_path):
    """Makes mosec's environment, with a shell script as its `python`."""

    def make(script: str) -> None:
        python = tmp_path / "mosec" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(f"#!/bin/sh\n{script}\n")
        python.chmod(0o755)

    monkeypatch.setattr(running, "ENVIRONMENTS", tmp_path)
    return make


def test_a_peer_that_ends_shows_its_log(fake_python):
    fake_python("echo no such archive; exit 3")
    with (
        pytest.raises(running.PeerError, match="mosec ended with 3 before it answered; its log:\nno such archive"),
        running.started("mosec", "x", "eager", PICTURE),
    ):
        pass


def test_a_peer_that_hangs_is_ended_with_its_children(fake_python, tmp_path):
    fake_python(f"sleep 600 & echo $! > {tmp_path}/child; wait")
    with (
        pytest.raises(running.PeerError, match="mosec did not answer within 1 s"),
        running.started("mosec", "x", "eager", PICTURE, seconds=1),
    ):
        pass
    child = Path(f"/proc/{(tmp_path / 'child').read_text().strip()}/cmdline")
    assert not child.exists() or not child.read_bytes()  # a zombie has none
