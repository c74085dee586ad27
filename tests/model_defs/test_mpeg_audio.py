"""MP3 streams that players play, and libsndfile alone does not recognise."""

import io

import numpy as np
import pytest
import soundfile

from model_defs.audio import AudioTransform
from model_defs.errors import Unreadable
from model_defs.mpeg_audio import first_frame, frame_length

RATE = 16_000


def mp3(seconds: float = 3.0) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE)) / RATE) / 2, RATE, format="MP3")
    return file.getvalue()


STREAM = mp3()


def tag(size: int) -> bytes:
    """An ID3v2.4 tag of so many bytes of padding."""
    return b"ID3\x04\x00\x00" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + bytes(size)


@pytest.mark.parametrize(
    "head",
    [b"", tag(1_000), tag(1_000) + tag(2_000_000), tag(500) + bytes(3_000), bytes(5_000), bytes(10) + tag(300)],
    ids=["plain", "one tag", "two tags", "zeros behind the tag", "zeros first", "zeros before the tag"],
)
def test_an_mp3_is_heard_behind_tags_and_zeros(head):
    transform = AudioTransform(RATE)
    wanted = transform(STREAM).numpy()
    heard = transform(head + STREAM).numpy()
    assert np.corrcoef(np.abs(np.fft.rfft(heard)), np.abs(np.fft.rfft(wanted)))[0, 1] > 0.99
    assert np.abs(np.fft.rfft(heard)).argmax() == 440


def test_a_stream_that_was_cut_out_of_a_longer_one_is_heard():
    for start in (1, 100, 777, 1_500):
        assert np.abs(np.fft.rfft(AudioTransform(RATE)(STREAM[start:]).numpy())).argmax() == 440


def test_the_first_frame_is_the_one_behind_the_tag():
    assert first_frame(STREAM) == 0
    assert first_frame(tag(1_234) + STREAM) == len(tag(1_234))
    assert first_frame(b"\xff" * 70_000) is None and first_frame(b"") is None and first_frame(b"ID3") is None


def test_the_length_of_a_frame_is_as_the_standard_says():
    assert frame_length(b"\xff\xfb\x90\x00") == 417  # MPEG-1, 128 kbit/s, 44,100 Hz
    assert frame_length(b"\xff\xfb\x92\x00") == 418  # the same with a byte of padding
    assert frame_length(b"\xff\xf3\x40\x00") == 104  # MPEG-2, 32 kbit/s, 22,050 Hz
    assert frame_length(b"\xff\xff\xff\xff") is None and frame_length(b"\xff\xfb") is None


def test_random_bytes_have_no_frame_and_stay_refused():
    for seed in range(20):
        payload = np.random.default_rng(seed).bytes(100_000)
        assert first_frame(payload) is None
    with pytest.raises(Unreadable, match="libsndfile cannot read"):
        AudioTransform(RATE)(payload)
