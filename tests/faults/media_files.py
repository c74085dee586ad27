"""Image and sound files, whole, odd and damaged, and the HTTP statuses that are right for each.

Pillow, libsndfile and FFmpeg decide: they decode every pixel and every sample. Of the bundle's own decoders only the limits are
used.
"""

import contextlib
import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import soundfile
from PIL import Image

from model_defs.image_file import EPS
from model_defs.mpeg_audio import first_frame
from model_defs.sound_container import container_of
from model_defs.sound_file import MAX_DECODED, SAMPLE_RATES, SDS
from tests.sounds import ffmpeg_hears, sound_file

ODD_FILES = Path(os.environ.get("SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
UNREADABLE, TOO_LARGE, WRONG_KIND, WRONG_VALUE = 400, 413, 415, 422
BLOCK = 1 << 16  # frames


def odd(folder: str) -> list[bytes]:
    """The odd files of this machine; an empty list if it has none."""
    return [file.read_bytes() for file in sorted((ODD_FILES / folder).glob("*")) if file.is_file()]


# --- the right statuses, from what the libraries say


def image_statuses(payload: bytes, max_pixels: int) -> frozenset[int]:
    """200 if Pillow decodes the whole file.

    The bundle refuses EPS, and IPTC, which may hold EPS: Pillow passes both to Ghostscript, an external program without limits.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(payload)) as opened:
                if opened.format in ("EPS", "IPTC"):
                    return frozenset({WRONG_KIND if payload[:4] in EPS else UNREADABLE})
                if opened.width * opened.height > max_pixels:
                    return frozenset({TOO_LARGE})
                opened.load()
        except Image.DecompressionBombError:
            return frozenset({TOO_LARGE})
        except Exception:
            return frozenset({WRONG_KIND if payload[:4] in EPS else UNREADABLE})
    return frozenset({200})


class ForwardSoundFile(soundfile.SoundFile):
    """Reads without a seek after each block. That seek fails at the end of a FLAC file whose header has no length."""

    def seekable(self) -> bool:
        return False


def sound_statuses(payload: bytes, seconds: float) -> frozenset[int]:
    """200 if libsndfile, or FFmpeg for its kinds of files, decodes the whole file and finds samples.

    The bundle refuses MIDI sample dumps, because libsndfile prints a line for each of their blocks. If the damage is outside of
    the window of `seconds` that the model uses, both answers are right: the bundle does not decode that part.
    """
    if payload.startswith(SDS):
        return frozenset({WRONG_KIND})
    with contextlib.suppress(soundfile.SoundFileError):
        soundfile.info(io.BytesIO(payload))
        return statuses_of_stream(payload, seconds)
    if container_of(payload):
        return frozenset({200 if ffmpeg_hears(payload) else UNREADABLE})
    start = first_frame(payload)  # an MP3 stream behind something that libsndfile does not skip
    return statuses_of_stream(payload[start:], seconds) | {UNREADABLE} if start else frozenset({UNREADABLE})


def statuses_of_stream(payload: bytes, seconds: float) -> frozenset[int]:
    """The same for a sound file that libsndfile recognises."""
    try:
        with ForwardSoundFile(io.BytesIO(payload)) as file:
            rate, channels = file.samplerate, file.channels
            if not SAMPLE_RATES[0] <= rate <= SAMPLE_RATES[1]:
                return frozenset({WRONG_VALUE})
            frames, is_finite = 0, True
            while len(block := file.read(BLOCK, dtype="float32", always_2d=True)):
                frames += len(block)
                is_finite = is_finite and bool(np.isfinite(block).all())
                if frames * channels > MAX_DECODED:
                    return frozenset({200} if has_window(payload, seconds) else {TOO_LARGE})
    except soundfile.SoundFileError:
        return frozenset({200, UNREADABLE} if has_window(payload, seconds) else {UNREADABLE})
    if not frames:
        return frozenset({UNREADABLE})
    return frozenset({200} if is_finite else {200, WRONG_VALUE})


def has_window(payload: bytes, seconds: float) -> bool:
    """Whether libsndfile can read the middle and the end without the rest."""
    try:
        with soundfile.SoundFile(io.BytesIO(payload)) as file:
            wanted = round(seconds * file.samplerate)
            last, start = file.frames - 1, max(0, (file.frames - wanted) // 2)
            has_end = file.seek(last) == last and len(file.read(1)) == 1
            return has_end and file.seek(start) == start and len(file.read(wanted)) > 0
    except soundfile.SoundFileError:
        return False


# --- whole files


def encoded(pixels: Image.Image, format: str, **options) -> bytes:
    stream = io.BytesIO()
    pixels.save(stream, format, **options)
    return stream.getvalue()


def images(payload: bytes) -> list[bytes]:
    """One image in many formats."""
    image = Image.open(io.BytesIO(payload)).convert("RGB").resize((64, 48))
    formats = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "JPEG2000", "ICO", "PPM", "TGA", "AVIF")
    return [encoded(image, format) for format in formats if format in Image.SAVE]


def sounds(payload: bytes) -> list[bytes]:
    """One sound in many formats, a little longer than a model's window."""
    samples, rate = soundfile.read(io.BytesIO(payload))
    long = np.tile(samples, 3)
    formats = [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "GSM610"), ("FLAC", None), ("OGG", "VORBIS"), ("OGG", "OPUS"),
               ("MP3", None), ("AIFF", None), ("AU", None), ("CAF", None)]  # fmt: skip
    return [sound_file(long, rate, *format) for format in formats]


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A grey PNG. Its header may claim more pixels than it has."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def image_bombs() -> list[bytes]:
    """A few kilobytes that decode to hundreds of millions of pixels, or claim to."""
    tiny = Image.new("L", (8, 8))
    gif = bytearray(encoded(tiny, "GIF"))
    gif[6:10] = struct.pack("<HH", 65_535, 65_535)
    webp = bytearray(encoded(tiny, "WEBP", lossless=True))
    start = webp.index(b"VP8L") + 9  # after the chunk's length and the signature
    webp[start : start + 4] = struct.pack("<I", struct.unpack("<I", webp[start : start + 4])[0] & 0xF0000000 | (1 << 28) - 1)
    hidden = png(60_000, 60_000)
    icon = struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(hidden), 22) + hidden
    blank = encoded(Image.new("1", (12_000, 12_000)), "TIFF", compression="group4")
    return [png(30_000, 30_000), png(2**31 - 1, 2**31 - 1), bytes(gif), bytes(webp), icon, blank,
            encoded(Image.new("1", (12_000, 12_000)), "PNG")]  # fmt: skip


def wide_images() -> list[bytes]:
    """30,000 pixels wide, but within the limit of pixels."""
    return [encoded(Image.new("L", (30_000, 1_000), 200), "PNG"), encoded(Image.new("1", (30_000, 1_600)), "TIFF"),
            encoded(Image.new("L", (30_000, 500), 9), "JPEG"), encoded(Image.new("RGBA", (30_000, 300)), "PNG")]  # fmt: skip


def sound_bombs() -> list[bytes]:
    """Silence: kilobytes that decode to more samples than the limit, with a header that does not say how many."""
    silence = bytearray(sound_file(np.zeros(MAX_DECODED + BLOCK, np.float32), 655_350, "FLAC"))
    silence[21] &= 0xF0
    silence[22:26] = bytes(4)
    return [bytes(silence)]


def long_sounds() -> list[bytes]:
    """Ten minutes."""
    noise = np.random.default_rng(0).normal(0, 0.1, 600 * 8_000).astype(np.float32)
    silence = np.zeros_like(noise)
    return [sound_file(noise, 8_000, "WAV", "PCM_16"), sound_file(noise, 8_000, "WAV", "GSM610"), sound_file(noise, 8_000, "MP3"),
            sound_file(silence, 8_000, "FLAC"), sound_file(silence, 8_000, "OGG")]  # fmt: skip


# --- damaged files


def truncated(files: list[bytes]) -> st.SearchStrategy[bytes]:
    return st.builds(lambda file, share: file[: int(share * len(file))], st.sampled_from(files), st.floats(0.001, 0.999))


def with_changed_bytes(files: list[bytes]) -> st.SearchStrategy[bytes]:
    """One to eight bytes are changed: anywhere, or in the first 200, where the headers are."""
    positions = st.one_of(st.floats(0, 0.999), st.integers(0, 199))
    return st.builds(
        change_bytes, st.sampled_from(files), st.lists(st.tuples(positions, st.integers(1, 255)), min_size=1, max_size=8)
    )


def change_bytes(file: bytes, changes: list[tuple[float | int, int]]) -> bytes:
    """XOR bytes of a file. A position is a share of the file's length (float) or an index (int)."""
    damaged = bytearray(file)
    for position, change in changes:
        damaged[int(position * len(file)) if isinstance(position, float) else position % len(file)] ^= change
    return bytes(damaged)
