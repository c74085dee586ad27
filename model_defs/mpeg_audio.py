"""Find the first frame of an MP3 stream that libsndfile does not recognise.

libsndfile wants the first frame at the start of the file or behind one ID3 tag. Players also play a stream with several tags,
with zeros in front, or one that was cut out of a longer stream.

Source of the header's fields: ISO/IEC 11172-3 and 13818-3, Layer III; of the tag: id3.org/id3v2.4.0-structure.
"""

TAG, TAG_HEADER = b"ID3", 10  # how an ID3v2 tag begins, and the bytes of its header
HAS_FOOTER = 0x10  # a flag of the tag
SEARCHED = 1 << 16  # bytes behind tags and zeros; a frame has at most 1,441
CHAIN = 3  # headers that follow each other: one alone may be any two bytes
SAMPLE_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}  # Hz, by the version's bits
KILOBITS = {
    3: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
KILOBITS[0] = KILOBITS[2]


def first_frame(payload: bytes) -> int | None:
    """The offset of the first MP3 frame, in bytes; None if there is none behind tags, zeros and a part of a frame."""
    start = after_tags(payload)
    end = min(len(payload), start + SEARCHED)
    index = payload.find(b"\xff", start, end)
    while index >= 0:
        if is_chain(payload, index):
            return index
        index = payload.find(b"\xff", index + 1, end)
    return None


def after_tags(payload: bytes) -> int:
    """The offset of the first byte that belongs neither to an ID3v2 tag nor to zeros around it."""
    start = after_zeros(payload, 0)
    while payload.startswith(TAG, start) and len(payload) >= start + TAG_HEADER:
        size = 0
        for byte in payload[start + 6 : start + TAG_HEADER]:  # seven bits of each byte
            size = size << 7 | byte & 0x7F
        footer = TAG_HEADER if payload[start + 5] & HAS_FOOTER else 0
        start = after_zeros(payload, start + TAG_HEADER + size + footer)
    return start


def after_zeros(payload: bytes, start: int) -> int:
    return len(payload) - len(payload[start:].lstrip(b"\0"))


def is_chain(payload: bytes, index: int) -> bool:
    """Whether frames of one kind follow each other from here on, or up to the end of the payload."""
    kind = None
    for _ in range(CHAIN):
        length = frame_length(payload[index : index + 4])
        if length is None or (kind is not None and payload[index + 1] != kind):
            return False
        kind = payload[index + 1]
        index += length
    return True


def frame_length(header: bytes) -> int | None:
    """The bytes of the frame that begins with these four; None if they are not the header of a Layer III frame."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:  # eleven bits of sync, Layer III
        return None
    version, kilobits, rate = header[1] >> 3 & 3, header[2] >> 4, header[2] >> 2 & 3
    if version not in SAMPLE_RATES or not 1 <= kilobits <= len(KILOBITS[version]) or rate == 3:
        return None
    samples = 1_152 if version == 3 else 576
    return samples // 8 * KILOBITS[version][kilobits - 1] * 1_000 // SAMPLE_RATES[version][rate] + (header[2] >> 1 & 1)
