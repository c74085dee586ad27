"""Sound files from samples, for the tests of several folders."""

import io

import av
import numpy as np
import soundfile


def sound_file(samples: np.ndarray, rate: int, format: str = "WAV", subtype: str | None = None) -> bytes:
    """(frames,) or (frames, channels) -> a file that libsndfile writes."""
    stream = io.BytesIO()
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with soundfile.SoundFile(stream, "w", rate, channels, subtype, format=format) as file:
        for start in range(0, len(samples), 50_000):  # libsndfile's Vorbis encoder overflows the stack on millions at once
            file.write(samples[start : start + 50_000])
    return stream.getvalue()


def ffmpeg_hears(payload: bytes) -> bool:
    """Whether FFmpeg finds samples in a file of sound, whatever its format."""
    try:
        with av.open(io.BytesIO(payload)) as container:
            return sum(frame.samples for frame in container.decode(audio=0)) > 0
    except (av.error.FFmpegError, IndexError):
        return False
