"""Payloads that are wrong, or look so: odd, damaged and enormous files, and texts that are none. Pillow and libsndfile say which
of the files are good."""

import json
from collections.abc import Iterator

import hypothesis.strategies as st

from tests.faults import files
from tests.faults.case import Case
from tests.faults.drawn import drawn
from tests.faults.good import BYTES, JSON, TEXT, Offline

ODD_PICTURES = 513  # on the machines that have them
SURROGATES = st.text(st.characters(categories=["Cs"]), min_size=1, max_size=5)
NO_UTF8 = st.binary(max_size=200).map(lambda rest: rest + b"\xff")


def of_files(digits: Offline, sounds: Offline, each: int) -> Iterator[Case]:
    """
    Args:
        each: how many of every kind that is drawn, and a twentieth of the odd pictures.
    """
    odd_pictures, odd_sounds = files.odd("odd_images"), files.odd("odd_audio")
    pictures = [*files.pictures(digits.test_set[0][1]), digits.test_set[0][1], *odd_pictures]
    heard = [*files.sounds(sounds.test_set[0][1]), *filter(None, odd_sounds)]
    seconds = sounds.transform.seconds
    some = odd_pictures[:: max(1, ODD_PICTURES // (20 * each))]
    for kind, payloads in {
        "odd file": some,
        "truncated file": drawn(files.truncated(pictures), each),
        "file with changed bytes": drawn(files.flipped(pictures), each),
        "random bytes": drawn(st.binary(min_size=1, max_size=2_000), each),
        "decompression bomb": files.picture_bombs(),
        "30,000 pixels wide": files.wide_pictures(),
        "sound to a picture model": heard[:10],
    }.items():
        for payload in payloads:
            yield of_file(kind, digits, payload, files.picture(payload, digits.transform.max_pixels))
    for kind, payloads in {
        "odd file": odd_sounds,
        "truncated file": drawn(files.truncated(heard), each),
        "file with changed bytes": drawn(files.flipped(heard), each),
        "random bytes": drawn(st.binary(min_size=1, max_size=2_000), each),
        "decompression bomb": files.sound_bombs(),
        "ten minutes": files.long_sounds(),
        "picture to a sound model": pictures[:10],
    }.items():
        for payload in payloads:
            yield of_file(kind, sounds, payload, files.sound(payload, seconds))


def of_file(kind: str, model: Offline, payload: bytes, statuses: frozenset[int]) -> Case:
    best = model.best(payload) if 200 in statuses else None
    return Case(kind=kind, model=model.name, body=payload, headers=BYTES, statuses=statuses, best=best)


def of_texts(text: Offline, each: int) -> Iterator[Case]:
    longest = ("word " * 20_000)[: text.transform.max_chars].encode()
    yield Case(kind="text of the longest length", model=text.name, body=longest, headers=TEXT, best=text.best(longest))
    lone = [json.dumps({"inputs": f"wake {' '.join(one)}"}).encode() for one in drawn(SURROGATES, each)]
    for kind, code, says, headers, bodies in [
        ("1 MB of text", 413, "characters; this model takes", TEXT, [b"wake me " * 131_072, "é".encode() * 600_000]),
        ("invalid UTF-8", 400, "not UTF-8", TEXT, drawn(NO_UTF8, each)),
        ("invalid UTF-8", 400, "not UTF-8", BYTES, drawn(NO_UTF8, 5)),
        ("lone surrogate", 422, "surrogate", JSON, lone),
        ("no words", 422, "the text is empty", TEXT, [b" ", b"\n\n", b'"', "\u3000\u2003".encode(), b";:"]),
    ]:
        for body in bodies:
            yield Case(kind=kind, model=text.name, body=body, headers=headers, statuses=frozenset({code}), says=says)
