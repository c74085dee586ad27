"""Payloads that are wrong, or look wrong: odd, damaged and enormous files, and bytes that are no text.

Pillow and libsndfile decide which of the files are valid.
"""

import json
from collections.abc import Iterator

import hypothesis.strategies as st

from tests.faults import media_files
from tests.faults.hypothesis_examples import examples
from tests.faults.request_case import RequestCase
from tests.faults.valid_requests import BYTES, JSON, TEXT, OfflineModel

ODD_IMAGES = 513  # files, on the machines that have them
SURROGATES = st.text(st.characters(categories=["Cs"]), min_size=1, max_size=5)
NOT_UTF8 = st.binary(max_size=200).map(lambda rest: rest + b"\xff")


def file_cases(digits: OfflineModel, sounds: OfflineModel, each: int) -> Iterator[RequestCase]:
    """
    Args:
        each: the number of examples of each random kind, and a twentieth of the number of odd images.
    """
    odd_images, odd_sounds = media_files.odd("odd_images"), media_files.odd("odd_audio")
    images = [*media_files.images(digits.test_set[0][1]), digits.test_set[0][1], *odd_images]
    sound_files = [*media_files.sounds(sounds.test_set[0][1]), *filter(None, odd_sounds)]
    seconds = sounds.transform.seconds
    some_odd_images = odd_images[:: max(1, ODD_IMAGES // (20 * each))]
    for kind, payloads in {
        "odd file": some_odd_images,
        "truncated file": examples(media_files.truncated(images), each),
        "file with changed bytes": examples(media_files.with_changed_bytes(images), each),
        "random bytes": examples(st.binary(min_size=1, max_size=2_000), each),
        "decompression bomb": media_files.image_bombs(),
        "30,000 pixels wide": media_files.wide_images(),
        "sound to a picture model": sound_files[:10],
    }.items():
        for payload in payloads:
            yield file_case(kind, digits, payload, media_files.image_statuses(payload, digits.transform.max_pixels))
    for kind, payloads in {
        "odd file": odd_sounds,
        "truncated file": examples(media_files.truncated(sound_files), each),
        "file with changed bytes": examples(media_files.with_changed_bytes(sound_files), each),
        "random bytes": examples(st.binary(min_size=1, max_size=2_000), each),
        "decompression bomb": media_files.sound_bombs(),
        "ten minutes": media_files.long_sounds(),
        "picture to a sound model": images[:10],
    }.items():
        for payload in payloads:
            yield file_case(kind, sounds, payload, media_files.sound_statuses(payload, seconds))


def file_case(kind: str, model: OfflineModel, payload: bytes, statuses: frozenset[int]) -> RequestCase:
    expected = model.expected(payload) if 200 in statuses else None
    return RequestCase(kind=kind, model=model.name, body=payload, headers=BYTES, statuses=statuses, expected=expected)


def text_cases(model: OfflineModel, each: int) -> Iterator[RequestCase]:
    longest = ("word " * 20_000)[: model.transform.max_chars].encode()
    kind = "text of the longest length"
    yield RequestCase(kind=kind, model=model.name, body=longest, headers=TEXT, expected=model.expected(longest))
    surrogates = [json.dumps({"inputs": f"wake {' '.join(one)}"}).encode() for one in examples(SURROGATES, each)]
    for kind, status, message, headers, bodies in [
        ("1 MB of text", 413, "characters; this model takes", TEXT, [b"wake me " * 131_072, "é".encode() * 600_000]),
        ("invalid UTF-8", 400, "not UTF-8", TEXT, examples(NOT_UTF8, each)),
        ("invalid UTF-8", 400, "not UTF-8", BYTES, examples(NOT_UTF8, 5)),
        ("lone surrogate", 422, "surrogate", JSON, surrogates),
        ("no words", 422, "the text is empty", TEXT, [b" ", b"\n\n", b'"', "\u3000\u2003".encode(), b";:"]),
    ]:
        for body in bodies:
            yield RequestCase(
                kind=kind, model=model.name, body=body, headers=headers, statuses=frozenset({status}), message=message
            )
