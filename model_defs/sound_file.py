"""Read sound files: the middle of one, or all of it.

It takes every format that libsndfile reads, and those of `sound_container` where that extra is installed.
"""

import contextlib
import io
import math
from collections.abc import Callable

import numpy as np
import soundfile

from model_defs.errors import TooLarge, Unreadable, WrongKind, WrongValue
from model_defs.mpeg_audio import first_frame
from model_defs.sound_container import container_of, to_wav

SAMPLE_RATES = (1_000, 1_000_000)  # Hz; a header with another rate is wrong, and resampling would take very long
MAX_DECODED = 20_000_000  # samples in all channels: 40 minutes of GSM telephone sound, which take 2 to 4 s to decode
BLOCK = 1 << 16  # frames to decode at once
SDS = b"\xf0\x7e"  # the first two bytes of a MIDI sample dump


def mono_of(payload: bytes, read: Callable[[bytes], tuple[np.ndarray, int]]) -> tuple[np.ndarray, int]:
    """The mean of a sound file's channels: (frames,) float64, and its sample rate in Hz.

    Args:
        read: which part of the file: `middle` or `decode`.

    Raises:
        Unreadable: not a sound, a corrupt one, or one without samples.
        TooLarge: see `read`.
        WrongKind: a MIDI sample dump, or a file that only the extra `media` reads.
        WrongValue: the sample rate is outside `SAMPLE_RATES`, or a sample is NaN or infinite.
    """
    if not payload:
        raise Unreadable("the body is empty; send the bytes of a sound file")
    if payload.startswith(SDS):  # for each block of one, libsndfile prints a line into the worker's log
        raise WrongKind("a MIDI sample dump is not taken; send a WAV, FLAC, OGG or MP3 file")
    try:
        frames, rate = from_first_frame(payload, read)
    except soundfile.SoundFileError as error:
        why = getattr(error, "error_string", str(error)).rstrip(".")
        raise Unreadable(
            f"not a sound: {len(payload):,} bytes that libsndfile cannot read ({why}); send a WAV, FLAC, OGG or MP3 file"
        ) from error
    if not len(frames):
        raise Unreadable("the sound file holds no samples; send one that does")
    if not np.isfinite(frames).all():
        raise WrongValue("the sound has samples that are NaN or infinite; send finite ones")
    return frames.mean(axis=1, dtype=np.float64), rate  # float64, because the sum of two large float32 is infinite


def from_first_frame(payload: bytes, read: Callable[[bytes], tuple[np.ndarray, int]]) -> tuple[np.ndarray, int]:
    """What `read` makes of the file, or of the sound in it that libsndfile does not recognise by itself."""
    try:
        return read(payload)
    except soundfile.SoundFileError:
        if container_of(payload):
            payload = to_wav(payload, MAX_DECODED)
        elif start := first_frame(payload):
            payload = payload[start:]
        else:
            raise
    return read(payload)


def middle(payload: bytes, seconds: float) -> tuple[np.ndarray, int]:
    """The middle of a sound file, or all of a shorter one: (frames, channels) float32, and its sample rate in Hz.

    Raises:
        soundfile.SoundFileError: libsndfile cannot read it.
        TooLarge, WrongValue: see `decode` and `checked_rate`.
    """
    with soundfile.SoundFile(io.BytesIO(payload)) as file:
        rate = checked_rate(file.samplerate)
        wanted = math.ceil(seconds * rate)
        if file.frames <= wanted:
            return file.read(wanted, dtype="float32", always_2d=True), rate
        with contextlib.suppress(soundfile.SoundFileError):
            last, start = file.frames - 1, (file.frames - wanted) // 2
            # Read the last frame first: a truncated file has none. In a damaged MP3, libsndfile may seek to a wrong frame.
            if file.seek(last) == last and len(file.read(1)) and file.seek(start) == start:
                frames = file.read(wanted, dtype="float32", always_2d=True)
                if len(frames) == wanted:
                    return frames, rate
    # The coding cannot seek, or the header promises more than the file has, as after recording to a pipe. Decode it whole.
    frames, rate = decode(payload)
    start = max(0, (len(frames) - wanted) // 2)
    return frames[start : start + wanted], rate


def decode(payload: bytes, seconds: float = math.inf) -> tuple[np.ndarray, int]:
    """A whole sound file: (frames, channels) float32, and its sample rate in Hz.

    Args:
        seconds: the maximum length.

    Raises:
        soundfile.SoundFileError: libsndfile cannot read it.
        TooLarge: it has more than `MAX_DECODED` samples or more than `seconds`. The header's length does not count.
    """
    blocks: list[np.ndarray] = []
    with Stream(io.BytesIO(payload)) as file:
        rate, heard = checked_rate(file.samplerate), 0
        while not blocks or len(blocks[-1]):
            if len(blocks) * BLOCK * file.channels > MAX_DECODED:
                raise TooLarge(
                    f"more than {MAX_DECODED:,} samples of sound, in a file that says no length or cannot be sought; "
                    "send the part that matters"
                )
            blocks.append(file.read(BLOCK, dtype="float32", always_2d=True))
            heard += len(blocks[-1])
            if heard >= seconds * rate + 1:
                raise TooLarge(f"more than {seconds:g} s of sound, which is all that this model hears; send it in parts")
    return np.concatenate(blocks), rate


def checked_rate(rate: int) -> int:
    """The sample rate in Hz.

    Raises:
        WrongValue: it is outside `SAMPLE_RATES`.
    """
    if not SAMPLE_RATES[0] <= rate <= SAMPLE_RATES[1]:
        raise WrongValue(f"a sample rate of {rate:,} Hz; this model takes {SAMPLE_RATES[0]:,} to {SAMPLE_RATES[1]:,}")
    return rate


class Stream(soundfile.SoundFile):
    """A sound file that is only read forward. Otherwise soundfile seeks after each read, which fails at the end of some FLACs."""

    def seekable(self) -> bool:
        return False
