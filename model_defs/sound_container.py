"""Sounds in WebM, MP4, AAC and AMR files, which PyAV reads where the extra `media` is installed."""

import importlib
import io

import numpy as np
import soundfile

from model_defs.errors import TooLarge, Unreadable, WrongKind, first_line
from model_defs.media_extra import EXTRA, has

# How a file begins, and the one FFmpeg demuxer that may read it. Others, such as playlists, could open further files.
CONTAINERS = (
    (0, b"\x1a\x45\xdf\xa3", "a WebM sound", "matroska"),
    (4, b"ftyp", "an M4A sound", "mov"),
    (0, b"#!AMR", "an AMR sound", "amr"),
    (0, b"\xff\xf1", "an AAC sound", "aac"),
    (0, b"\xff\xf9", "an AAC sound", "aac"),
)


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
