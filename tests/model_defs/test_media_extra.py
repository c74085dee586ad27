"""HEIC pictures, and WebM, M4A, AAC and AMR sounds: read where the extra `media` is installed, refused by name elsewhere."""

import io

import numpy as np
import pytest
from PIL import Image

from model_defs import image_file, sound_container, sound_file
from model_defs.audio import AudioTransform
from model_defs.errors import TooLarge, Unreadable, WrongKind
from model_defs.vision import ImageTransform

RATE, SECONDS, HERTZ = 16_000, 1.0, 440
EXTRA = "make setup EXTRAS=media on the server"


def sound(format: str, codec: str, rate: int = RATE) -> bytes:
    """A tone as FFmpeg writes it."""
    av = pytest.importorskip("av")
    samples = (0.3 * np.sin(2 * np.pi * HERTZ * np.arange(int(SECONDS * rate)) / rate)).astype(np.float32)
    file = io.BytesIO()
    with av.open(file, "w", format=format) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.rate = rate
        resampler = av.AudioResampler(stream.format, "mono", rate, frame_size=stream.frame_size or None)
        for part in [*resampler.resample(frame), *resampler.resample(None), None]:
            container.mux(stream.encode(part))
    return file.getvalue()


def heic() -> bytes:
    pytest.importorskip("pillow_heif").register_heif_opener()
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (200, 30, 30)).save(file, "HEIF", quality=90)
    return file.getvalue()


@pytest.mark.parametrize(("format", "codec"), [("webm", "libopus"), ("mp4", "aac"), ("adts", "aac")])
def test_a_recording_of_a_browser_or_a_phone_is_heard(format, codec):
    rate = 48_000 if codec == "libopus" else RATE
    frames, heard = sound_file.mono_of(sound(format, codec, rate), sound_file.decode)
    spectrum = np.abs(np.fft.rfft(frames[heard // 4 : heard * 3 // 4]))
    assert heard == rate
    assert spectrum.argmax() * 2 == pytest.approx(HERTZ, abs=2)  # half a second: bins of 2 Hz
    assert len(frames) / heard == pytest.approx(SECONDS, abs=0.15)  # the codec's padding


def test_amr_of_a_phone_call_is_heard():
    pytest.importorskip("av")
    frame = bytes([0x3C, *bytes(31)])  # 20 ms of 12.2 kbit/s (RFC 4867)
    frames, rate = sound_file.mono_of(b"#!AMR\n" + 50 * frame, sound_file.decode)
    assert (rate, len(frames)) == (8_000, 8_000)


def test_a_transform_takes_the_middle_of_a_recording():
    transform = AudioTransform(seconds=0.5, sample_rate=RATE)
    assert transform(sound("mp4", "aac")).numel() == RATE // 2


def test_a_heic_picture_is_seen():
    pixels = ImageTransform(size=16)(heic())
    assert pixels.shape == (3, 16, 16)
    assert np.allclose(pixels.float().mean((1, 2)), (200, 30, 30), atol=4)


@pytest.mark.parametrize("make", [lambda: sound("mp4", "aac"), lambda: sound("webm", "libopus", 48_000)])
def test_a_cut_recording_is_shorter_or_refused(make):
    whole = make()
    for end in (len(whole) // 2, 60, 12, 8):
        try:
            frames, _ = sound_file.mono_of(whole[:end], sound_file.decode)
        except Unreadable:
            continue
        assert len(frames)


def test_a_recording_longer_than_the_limit_is_refused():
    with pytest.raises(TooLarge, match="more than 1,000 samples of sound; send the part that matters"):
        sound_container.to_wav(sound("mp4", "aac"), 1_000)


def test_a_film_without_sound_is_refused():
    av = pytest.importorskip("av")
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for part in [av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8)), None]:
            container.mux(stream.encode(part))
    with pytest.raises(Unreadable, match="an M4A sound without a sound track; send a file that has one"):
        sound_file.mono_of(file.getvalue(), sound_file.decode)


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        (b"\x1a\x45\xdf\xa3" + bytes(60), "a WebM sound"),
        (b"\0\0\0\x20ftypM4A " + bytes(60), "an M4A sound"),
        (b"#!AMR\n" + bytes(60), "an AMR sound"),
    ],
)
def test_without_the_extra_the_refusal_names_it(payload, name, monkeypatch):
    monkeypatch.setattr(sound_container, "has", lambda package: False)
    with pytest.raises(WrongKind, match=f"{name} is read only after {EXTRA}; or send a WAV, FLAC, OGG or MP3 file"):
        sound_file.mono_of(payload, sound_file.decode)


def test_without_the_extra_a_heic_picture_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(image_file, "FORMATS", [name for name in image_file.FORMATS if name != "HEIF"])
    payload = b"\0\0\0\x18ftypheic" + bytes(60)
    with pytest.raises(WrongKind, match=f"a HEIC picture is read only after {EXTRA}; or send a JPEG, PNG or WebP file"):
        ImageTransform(size=16)(payload)
