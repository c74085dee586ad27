"""Kinds of files that only the extra `media` reads: HEIC pictures by pillow-heif, and WebM, MP4, AAC and AMR sounds by PyAV.

Both packages are optional, so they are imported by name: an archive does not need them, and does not list them.
"""

import importlib
import importlib.util
import io

import numpy as np
import soundfile

from model_defs.errors import TooLarge, Unreadable, WrongKind, first_line

EXTRA = "make setup EXTRAS=media on the server"
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")  # ISO/IEC 23008-12, behind "ftyp"
# How a file begins, and the one FFmpeg demuxer that may read it. Others, such as playlists, could open further files.
CONTAINERS = (
    (0, b"\x1a\x45\xdf\xa3", "a WebM sound", "matroska"),
    (4, b"ftyp", "an M4A sound", "mov"),
    (0, b"#!AMR", "an AMR sound", "amr"),
    (0, b"\xff\xf1", "an AAC sound", "aac"),
    (0, b"\xff\xf9", "an AAC sound", "aac"),
)
SUFFIXES = {".webm", ".mka", ".mp4", ".m4a", ".amr", ".aac"}  # of files that `to_wav` reads


def has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def register_heif() -> None:
    """Let Pillow open HEIC pictures, if pillow-heif is installed."""
    if has("pillow_heif"):
        importlib.import_module("pillow_heif").register_heif_opener(thumbnails=False)


def is_heic(payload: bytes) -> bool:
    return payload[4:8] == b"ftyp" and payload[8:12] in HEIC_BRANDS


def container_of(payload: bytes) -> tuple[str, str] | None:
    """A container of sound: its name for messages, and FFmpeg's demuxer. None if it is no such file."""
    for offset, magic, name, demuxer in CONTAINERS:
        if payload.startswith(magic, offset):
            return name, demuxer
    return None


def to_wav(payload: bytes, most_samples: int) -> bytes:
    """The first sound track of a WebM, MP4, AAC or AMR file, as a WAV file of 32-bit floats.

    Args:
        most_samples: in all channels together.

    Raises:
        WrongKind: PyAV is not installed.
        Unreadable: a corrupt file, or one without a sound track.
        TooLarge: more than `most_samples`.
    """
    name, demuxer = container_of(payload) or ("this sound", "")
    if not has("av"):
        raise WrongKind(f"{name} is read only after {EXTRA}; or send a WAV, FLAC, OGG or MP3 file")
    av = importlib.import_module("av")
    try:
        with av.open(io.BytesIO(payload), format=demuxer) as container:
            if not container.streams.audio:
                raise Unreadable(f"{name} without a sound track; send a file that has one")
            stream = container.streams.audio[0]
            blocks, count = [], 0
            resampler = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
            for frame in container.decode(stream):
                for part in resampler.resample(frame):
                    blocks.append(part.to_ndarray())  # (channels, samples) float32
                    count += blocks[-1].size
                    if count > most_samples:
                        raise TooLarge(f"more than {most_samples:,} samples of sound; send the part that matters")
            rate = stream.rate
    except av.error.FFmpegError as error:
        raise Unreadable(f"{name} that FFmpeg cannot read ({first_line(error)}); send the file as it was saved") from error
    if not blocks:
        raise Unreadable(f"{name} that holds no samples; send one that does")
    wav = io.BytesIO()
    soundfile.write(wav, np.concatenate(blocks, axis=1).T, rate, format="WAV", subtype="FLOAT")
    return wav.getvalue()
