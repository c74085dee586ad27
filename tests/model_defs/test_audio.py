import io
import struct

import numpy as np
import pytest
import soundfile
import torch

from model_defs.audio import BLOCK, MOST_DECODED, SAMPLE_RATES, LogMel, MelCNN, Sound, centred
from model_defs.errors import InputError, TooLarge, Unreadable, WrongKind, WrongValue
from tests.sounds import sound_file

CODINGS = [  # format, subtype, the largest error that its compression makes on a tone
    ("WAV", "PCM_U8", 0.02), ("WAV", "PCM_16", 1e-3), ("WAV", "PCM_24", 1e-3), ("WAV", "PCM_32", 1e-3), ("WAV", "FLOAT", 1e-3),
    ("WAV", "DOUBLE", 1e-3), ("WAV", "ULAW", 0.03), ("FLAC", "PCM_16", 1e-3), ("FLAC", "PCM_24", 1e-3), ("AIFF", "PCM_16", 1e-3),
    ("AU", "PCM_16", 1e-3), ("OGG", "VORBIS", 0.1), ("OGG", "OPUS", 0.1), ("MP3", "MPEG_LAYER_III", 0.1),
]  # fmt: skip
SEEKABLE_NOT = [("WAV", "GSM610"), ("AU", "G721_32"), ("WAV", "NMS_ADPCM_32")]


def tone(seconds: float, rate: int, hertz: float = 100.0, channels: int = 1) -> np.ndarray:
    """(frames, channels) float32: half as loud as can be."""
    time = np.arange(round(seconds * rate)) / rate
    return np.repeat(0.5 * np.sin(2 * np.pi * hertz * time)[:, None], channels, axis=1).astype(np.float32)


def steps(seconds: int, rate: int) -> np.ndarray:
    """(frames,) float32: another loudness in each second, so that a window shows where it was cut."""
    return np.repeat(np.linspace(-0.9, 0.9, seconds), rate).astype(np.float32)


def flac_saying(frames: int, payload: bytes) -> bytes:
    """The FLAC file with another number of frames in its header; 0 is what a recorder writes that does not know it yet."""
    lying = bytearray(payload)
    lying[21] = lying[21] & 0xF0 | frames >> 32
    lying[22:26] = struct.pack(">I", frames & 0xFFFFFFFF)
    return bytes(lying)


@pytest.mark.parametrize("rate", [1_000, 8_000, 11_025, 16_000, 22_050, 44_100, 44_101, 48_000, 96_000, 192_000])
def test_a_sound_of_any_rate_is_resampled(rate):
    heard = Sound(16_000)(sound_file(tone(1, rate), rate, subtype="FLOAT"))
    assert heard.shape == (16_000,)
    assert heard.dtype == torch.float32
    inner = slice(1_600, -1_600)  # the resampler rings at both ends
    assert np.abs(heard.numpy()[inner] - tone(1, 16_000)[inner, 0]).max() < 0.01


@pytest.mark.parametrize("rate", [SAMPLE_RATES[0] - 1, SAMPLE_RATES[1] + 1])
def test_a_rate_that_no_sound_has_is_refused(rate):
    with pytest.raises(WrongValue, match=f"a sample rate of {rate:,} Hz; this model takes 1,000 to 1,000,000"):
        Sound()(sound_file(np.zeros(100), rate))


@pytest.mark.parametrize("channels", range(1, 9))
def test_channels_are_averaged(channels):
    loud = np.zeros((16_000, channels), np.float32)
    loud[:, 0] = 0.8
    assert torch.allclose(Sound(16_000)(sound_file(loud, 16_000, subtype="FLOAT")), torch.full((16_000,), 0.8 / channels))


@pytest.mark.parametrize(("format", "subtype", "error"), CODINGS, ids=lambda value: str(value))
def test_a_sound_of_any_coding_is_heard(format, subtype, error):
    if subtype not in soundfile.available_subtypes(format):
        pytest.skip(f"this libsndfile does not write {format} {subtype}")
    sound = tone(1, 48_000, hertz=440, channels=2)
    heard = Sound(48_000)(sound_file(sound, 48_000, format, subtype)).numpy()
    assert np.abs(heard[4_800:-4_800] - sound[4_800:-4_800, 0]).max() < error


@pytest.mark.parametrize("length", [1, 2, 999, 7_999])
def test_a_short_sound_stands_in_the_middle_of_silence(length):
    heard = Sound(8_000)(sound_file(np.full(length, 0.5), 8_000, subtype="FLOAT")).numpy()
    (places,) = heard.nonzero()
    assert len(heard) == 8_000
    assert len(places) == length
    assert abs(places[0] - (8_000 - 1 - places[-1])) <= 1


def test_a_single_sample_of_a_high_rate_is_almost_silence():
    assert Sound(8_000)(sound_file(np.array([0.5]), 192_000, subtype="FLOAT")).abs().max() <= 0.5


def test_of_a_long_sound_the_middle_is_heard():
    sound = steps(5, 8_000)
    assert np.array_equal(Sound(8_000)(sound_file(sound, 8_000, subtype="FLOAT")).numpy(), sound[16_000:24_000])
    assert np.array_equal(centred(sound, 8_000), sound[16_000:24_000])


@pytest.mark.parametrize(
    ("format", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")]
)
def test_of_ten_minutes_the_middle_is_what_decoding_all_would_give(format, subtype):
    rate = 8_000
    sound = np.random.default_rng(0).normal(0, 0.1, 600 * rate).astype(np.float32)
    payload = sound_file(sound, rate, format, subtype)
    whole, _ = soundfile.read(io.BytesIO(payload), dtype="float32")
    start = (len(whole) - rate) // 2
    assert np.abs(Sound(rate)(payload).numpy() - whole[start : start + rate]).max() < 1e-4


@pytest.mark.parametrize(("format", "subtype"), SEEKABLE_NOT)
def test_a_coding_that_cannot_be_sought_is_decoded_from_its_start(format, subtype):
    payload = sound_file(steps(5, 8_000), 8_000, format, subtype)
    with soundfile.SoundFile(io.BytesIO(payload)) as file:
        assert not file.seekable()
        whole = file.read(file.frames, dtype="float32")
    start = (len(whole) - 8_000) // 2
    assert np.array_equal(Sound(8_000)(payload).numpy(), whole[start : start + 8_000])


@pytest.mark.parametrize("frames", [0, 10**9], ids=["unknown", "far too many"])
@pytest.mark.parametrize("seconds", [1, 5])
def test_a_flac_file_whose_header_does_not_know_its_length_is_heard(seconds, frames):
    payload = sound_file(steps(seconds, 8_000), 8_000, "FLAC")
    assert torch.equal(Sound(8_000)(flac_saying(frames, payload)), Sound(8_000)(payload))


def test_an_mp3_file_whose_header_promises_too_much_is_heard_from_its_real_middle():
    sound = np.random.default_rng(0).normal(0, 0.1, 80_000)
    payload = sound_file(sound, 8_000, "MP3")
    place = next(payload.find(name) for name in (b"Info", b"Xing") if name in payload) + 8  # after the name and the flags
    (count,) = struct.unpack(">I", payload[place : place + 4])
    lying = payload[:place] + struct.pack(">I", 100 * count) + payload[place + 4 :]
    with soundfile.SoundFile(io.BytesIO(lying)) as file:
        assert file.frames > 10 * len(sound)
    assert np.abs(Sound(8_000, seconds=8)(lying)[8_000:-8_000]).mean() > 0.05


@pytest.mark.parametrize("bit", [4, 8], ids=["before", "behind the end"])
def test_a_damaged_mp3_in_which_the_library_lands_elsewhere_is_heard(bit):
    damaged = bytearray(sound_file(np.zeros(120_000), 24_000, "MP3"))
    damaged[241] ^= bit
    with soundfile.SoundFile(io.BytesIO(damaged)) as file:
        assert file.seek(file.frames - 1) != file.frames - 1
    assert Sound(8_000)(bytes(damaged)).shape == (8_000,)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF])
def test_a_wav_file_written_to_a_pipe_is_heard(size):
    payload = bytearray(sound_file(steps(3, 8_000), 8_000))
    streamed = bytes(payload[:40] + struct.pack("<I", size) + payload[44:])
    assert torch.equal(Sound(8_000)(streamed), Sound(8_000)(bytes(payload)))


@pytest.mark.parametrize("channels", [1, 8])
def test_more_samples_without_a_length_than_can_be_decoded_in_time_are_too_large(channels):
    payload = flac_saying(0, sound_file(np.zeros((MOST_DECODED // channels + BLOCK, channels), np.float32), 1_000, "FLAC"))
    with pytest.raises(TooLarge, match="more than 20,000,000 samples of sound, in a file that says no length"):
        Sound(1_000)(payload)


def test_a_float_sound_in_another_scale_is_brought_into_range():
    heard = Sound(8_000)(sound_file(100 * tone(1, 8_000), 8_000, subtype="FLOAT"))
    assert heard.abs().max() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_refused(bad):
    sound = tone(1, 8_000, channels=2)
    sound[500, 1] = bad
    with pytest.raises(WrongValue, match="NaN or infinite; send finite ones"):
        Sound(8_000)(sound_file(sound, 8_000, subtype="FLOAT"))


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", "the body is empty; send the bytes of a sound file"),
        (b"RIFF", "not a sound: 4 bytes that libsndfile cannot read"),
        (bytes(1000), "not a sound: 1,000 bytes that libsndfile cannot read"),
        (b"\xff\xd8\xff\xe0 a picture perhaps", "not a sound: 22 bytes that libsndfile cannot read"),
        (sound_file(np.zeros(0), 8_000), "the sound file holds no samples; send one that does"),
        (sound_file(np.zeros(8_000), 8_000)[:44], "the sound file holds no samples; send one that does"),
    ],
)
def test_what_is_no_sound_is_refused_with_the_reason(payload, message):
    with pytest.raises(Unreadable) as caught:
        Sound()(payload)
    assert str(caught.value).startswith(message)
    assert "0x" not in str(caught.value)  # of the objects in this program


@pytest.mark.parametrize(("format", "share"), [("OGG", 0.02), ("FLAC", 0.02), ("FLAC", 0.4), ("FLAC", 0.8), ("FLAC", 0.999)])
def test_a_file_that_was_cut_is_refused_where_its_format_shows_it(format, share):
    whole = sound_file(np.random.default_rng(0).normal(0, 0.1, 80_000), 8_000, format)
    with pytest.raises(Unreadable, match=r"not a sound: [0-9,]+ bytes that libsndfile cannot read"):
        Sound(8_000)(whole[: int(len(whole) * share)])


def test_damage_outside_the_window_does_not_cost_the_answer():
    whole = sound_file(np.random.default_rng(0).normal(0, 0.1, 80_000), 8_000, "FLAC")
    damaged = bytearray(whole)
    damaged[len(whole) // 5] ^= 1
    assert torch.equal(Sound(8_000)(bytes(damaged)), Sound(8_000)(whole))


def test_two_channels_whose_sum_no_float_holds_are_heard():
    loud = np.full((8_000, 2), 3e38, np.float32)
    assert Sound(8_000)(sound_file(loud, 8_000, subtype="FLOAT")).eq(1).all()


def test_a_midi_sample_dump_is_the_wrong_kind():
    with pytest.raises(WrongKind, match="a MIDI sample dump is not taken; send a WAV"):
        Sound(8_000)(sound_file(tone(1, 8_000), 8_000, "SDS", "PCM_16"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG", "MP3", "AIFF", "AU", "CAF"])
def test_flipped_bytes_give_a_sound_or_a_refusal_and_nothing_else(format):
    whole = sound_file(tone(2, 8_000), 8_000, format)
    rng = np.random.default_rng(0)
    outcomes = set()
    for _ in range(60):
        flipped = bytearray(whole)
        for place in rng.integers(0, min(len(whole), 600), 3):
            flipped[place] ^= rng.integers(1, 256)
        try:
            outcomes.add(Sound(8_000)(bytes(flipped)).shape)
        except InputError:
            continue
    assert outcomes <= {(8_000,)}


def test_a_real_odd_sound_is_heard_where_soundfile_reads_it_and_else_refused(odd_sound):
    payload = odd_sound.read_bytes()
    try:
        readable = len(soundfile.read(io.BytesIO(payload))[0]) > 0
    except soundfile.SoundFileError:
        readable = False
    if readable:
        heard = Sound(16_000)(payload)
        assert heard.shape == (16_000,)
        assert heard.isfinite().all()
        assert heard.abs().max() <= 1.5  # the resampler may overshoot
    else:
        with pytest.raises(Unreadable):
            Sound(16_000)(payload)


def test_the_network_is_told_the_rate_and_a_sample_can_be_drawn():
    transform = Sound(8_000, seconds=0.5)
    sample = transform(sound_file(tone(1, 8_000), 8_000))
    assert transform.facts() == {"sample_rate": 8_000}
    assert sample.shape == (4_000,)
    assert transform.draw(sample).shape == (64, 51)
    assert transform.collate([sample, sample])[0].shape == (2, 4_000)


def test_a_drawn_tone_of_low_pitch_is_at_the_bottom():
    transform = Sound(8_000)
    low, high = (transform.draw(transform(sound_file(tone(1, 8_000, hertz), 8_000))) for hertz in (200, 3_000))
    assert low.mean(axis=1).argmax() > high.mean(axis=1).argmax()


def test_loudness_does_not_change_what_the_network_sees():
    sound = torch.randn(1, 8_000, generator=torch.Generator().manual_seed(0))
    seen = LogMel(8_000)
    assert torch.allclose(seen(sound), seen(0.2 * sound), atol=0.01)


def test_silence_gives_finite_features():
    assert LogMel(16_000)(torch.zeros(2, 16_000)).isfinite().all()


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_the_network_gives_one_logit_a_class(rate):
    network = MelCNN(7, sample_rate=rate, width=4).eval()
    assert network(torch.zeros(2, rate)).shape == (2, 7)
