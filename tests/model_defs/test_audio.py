import io
import struct

import numpy as np
import pytest
import soundfile
import torch
import torchaudio

from model_defs.audio import MFCC, AudioTransform, LogMel, MelCNN, centred
from model_defs.build import SpecError
from model_defs.errors import InputError, TooLarge, Unreadable, WrongKind, WrongValue
from model_defs.sound_container import container_of
from model_defs.sound_file import BLOCK, MAX_DECODED, SAMPLE_RATES
from tests.sounds import ffmpeg_hears, sound_file

CODINGS = [  # format, subtype, the largest error of its compression for a tone
    ("WAV", "PCM_U8", 0.02), ("WAV", "PCM_16", 1e-3), ("WAV", "PCM_24", 1e-3), ("WAV", "PCM_32", 1e-3), ("WAV", "FLOAT", 1e-3),
    ("WAV", "DOUBLE", 1e-3), ("WAV", "ULAW", 0.03), ("FLAC", "PCM_16", 1e-3), ("FLAC", "PCM_24", 1e-3), ("AIFF", "PCM_16", 1e-3),
    ("AU", "PCM_16", 1e-3), ("OGG", "VORBIS", 0.1), ("OGG", "OPUS", 0.1), ("MP3", "MPEG_LAYER_III", 0.1),
]  # fmt: skip
SEEKABLE_NOT = [("WAV", "GSM610"), ("AU", "G721_32"), ("WAV", "NMS_ADPCM_32")]


def tone(seconds: float, rate: int, hertz: float = 100.0, channels: int = 1) -> np.ndarray:
    """(frames, channels) float32: a sine of amplitude 0.5."""
    time = np.arange(round(seconds * rate)) / rate
    return np.repeat(0.5 * np.sin(2 * np.pi * hertz * time)[:, None], channels, axis=1).astype(np.float32)


def steps(seconds: int, rate: int) -> np.ndarray:
    """(frames,) float32: each second has another value, which shows where a window was cut."""
    return np.repeat(np.linspace(-0.9, 0.9, seconds), rate).astype(np.float32)


def flac_saying(frames: int, payload: bytes) -> bytes:
    """The FLAC file with another number of frames in its header. A recorder writes 0 if it does not know it yet."""
    lying = bytearray(payload)
    lying[21] = lying[21] & 0xF0 | frames >> 32
    lying[22:26] = struct.pack(">I", frames & 0xFFFFFFFF)
    return bytes(lying)


@pytest.mark.parametrize("rate", [1_000, 8_000, 11_025, 16_000, 22_050, 44_100, 44_101, 48_000, 96_000, 192_000])
def test_a_sound_of_any_rate_is_resampled(rate):
    heard = AudioTransform(16_000)(sound_file(tone(1, rate), rate, subtype="FLOAT"))
    assert heard.shape == (16_000,)
    assert heard.dtype == torch.float32
    inner = slice(1_600, -1_600)  # the resampler rings at both ends
    assert np.abs(heard.numpy()[inner] - tone(1, 16_000)[inner, 0]).max() < 0.01


@pytest.mark.parametrize("rate", [SAMPLE_RATES[0] - 1, SAMPLE_RATES[1] + 1])
def test_a_sample_rate_outside_the_limits_is_refused(rate):
    with pytest.raises(WrongValue, match=f"a sample rate of {rate:,} Hz; this model takes 1,000 to 1,000,000"):
        AudioTransform()(sound_file(np.zeros(100), rate))


@pytest.mark.parametrize("channels", range(1, 9))
def test_channels_are_averaged(channels):
    loud = np.zeros((16_000, channels), np.float32)
    loud[:, 0] = 0.8
    assert torch.allclose(
        AudioTransform(16_000)(sound_file(loud, 16_000, subtype="FLOAT")), torch.full((16_000,), 0.8 / channels)
    )


@pytest.mark.parametrize(("format", "subtype", "error"), CODINGS, ids=lambda value: str(value))
def test_a_sound_of_any_coding_is_decoded(format, subtype, error):
    if subtype not in soundfile.available_subtypes(format):
        pytest.skip(f"this libsndfile does not write {format} {subtype}")
    sound = tone(1, 48_000, hertz=440, channels=2)
    heard = AudioTransform(48_000)(sound_file(sound, 48_000, format, subtype)).numpy()
    assert np.abs(heard[4_800:-4_800] - sound[4_800:-4_800, 0]).max() < error


@pytest.mark.parametrize("length", [1, 2, 999, 7_999])
def test_a_short_sound_is_padded_on_both_sides(length):
    heard = AudioTransform(8_000)(sound_file(np.full(length, 0.5), 8_000, subtype="FLOAT")).numpy()
    (indices,) = heard.nonzero()
    assert len(heard) == 8_000
    assert len(indices) == length
    assert abs(indices[0] - (8_000 - 1 - indices[-1])) <= 1


def test_a_single_sample_of_a_high_rate_is_almost_silence():
    assert AudioTransform(8_000)(sound_file(np.array([0.5]), 192_000, subtype="FLOAT")).abs().max() <= 0.5


def test_the_network_hears_the_middle_of_a_long_sound():
    sound = steps(5, 8_000)
    assert np.array_equal(AudioTransform(8_000)(sound_file(sound, 8_000, subtype="FLOAT")).numpy(), sound[16_000:24_000])
    assert np.array_equal(centred(sound, 8_000), sound[16_000:24_000])


@pytest.mark.parametrize(
    ("format", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")]
)
def test_the_middle_of_ten_minutes_is_the_same_as_after_decoding_all(format, subtype):
    rate = 8_000
    sound = np.random.default_rng(0).normal(0, 0.1, 600 * rate).astype(np.float32)
    payload = sound_file(sound, rate, format, subtype)
    whole, _ = soundfile.read(io.BytesIO(payload), dtype="float32")
    start = (len(whole) - rate) // 2
    assert np.abs(AudioTransform(rate)(payload).numpy() - whole[start : start + rate]).max() < 1e-4


@pytest.mark.parametrize(("format", "subtype"), SEEKABLE_NOT)
def test_a_coding_without_seeking_is_decoded_from_its_start(format, subtype):
    payload = sound_file(steps(5, 8_000), 8_000, format, subtype)
    with soundfile.SoundFile(io.BytesIO(payload)) as file:
        assert not file.seekable()
        whole = file.read(file.frames, dtype="float32")
    start = (len(whole) - 8_000) // 2
    assert np.array_equal(AudioTransform(8_000)(payload).numpy(), whole[start : start + 8_000])


@pytest.mark.parametrize("frames", [0, 10**9], ids=["unknown", "far too many"])
@pytest.mark.parametrize("seconds", [1, 5])
def test_a_flac_file_with_a_wrong_length_in_its_header_is_decoded(seconds, frames):
    payload = sound_file(steps(seconds, 8_000), 8_000, "FLAC")
    assert torch.equal(AudioTransform(8_000)(flac_saying(frames, payload)), AudioTransform(8_000)(payload))


def test_an_mp3_file_with_a_wrong_length_is_heard_from_its_real_middle():
    sound = np.random.default_rng(0).normal(0, 0.1, 80_000)
    payload = sound_file(sound, 8_000, "MP3")
    start = next(payload.find(name) for name in (b"Info", b"Xing") if name in payload) + 8  # after the name and the flags
    (count,) = struct.unpack(">I", payload[start : start + 4])
    lying = payload[:start] + struct.pack(">I", 100 * count) + payload[start + 4 :]
    with soundfile.SoundFile(io.BytesIO(lying)) as file:
        assert file.frames > 10 * len(sound)
    assert AudioTransform(8_000, seconds=8)(lying)[8_000:-8_000].abs().mean() > 0.05


@pytest.mark.parametrize("bit", [4, 8], ids=["before", "behind the end"])
def test_a_damaged_mp3_in_which_seeking_fails_is_decoded(bit):
    damaged = bytearray(sound_file(np.zeros(120_000), 24_000, "MP3"))
    damaged[241] ^= bit
    with soundfile.SoundFile(io.BytesIO(damaged)) as file:
        assert file.seek(file.frames - 1) != file.frames - 1
    assert AudioTransform(8_000)(bytes(damaged)).shape == (8_000,)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF])
def test_a_wav_file_that_was_written_to_a_pipe_is_decoded(size):
    payload = bytearray(sound_file(steps(3, 8_000), 8_000))
    streamed = bytes(payload[:40] + struct.pack("<I", size) + payload[44:])
    assert torch.equal(AudioTransform(8_000)(streamed), AudioTransform(8_000)(bytes(payload)))


@pytest.mark.parametrize("channels", [1, 8])
def test_too_many_samples_without_a_length_are_refused(channels):
    payload = flac_saying(0, sound_file(np.zeros((MAX_DECODED // channels + BLOCK, channels), np.float32), 1_000, "FLAC"))
    with pytest.raises(TooLarge, match="more than 20,000,000 samples of sound, in a file that says no length"):
        AudioTransform(1_000)(payload)


def test_a_float_sound_in_another_scale_is_scaled():
    heard = AudioTransform(8_000)(sound_file(100 * tone(1, 8_000), 8_000, subtype="FLOAT"))
    assert heard.abs().max() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_refused(bad):
    sound = tone(1, 8_000, channels=2)
    sound[500, 1] = bad
    with pytest.raises(WrongValue, match="NaN or infinite; send finite ones"):
        AudioTransform(8_000)(sound_file(sound, 8_000, subtype="FLOAT"))


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
def test_bytes_that_are_not_a_sound_are_refused_with_the_reason(payload, message):
    with pytest.raises(Unreadable) as caught:
        AudioTransform()(payload)
    assert str(caught.value).startswith(message)
    assert "0x" not in str(caught.value)  # no address of an object in this program


@pytest.mark.parametrize(("format", "share"), [("OGG", 0.02), ("FLAC", 0.02), ("FLAC", 0.4), ("FLAC", 0.8), ("FLAC", 0.999)])
def test_a_truncated_file_is_refused_if_its_format_shows_it(format, share):
    whole = sound_file(np.random.default_rng(0).normal(0, 0.1, 80_000), 8_000, format)
    with pytest.raises(Unreadable, match=r"not a sound: [0-9,]+ bytes that libsndfile cannot read"):
        AudioTransform(8_000)(whole[: int(len(whole) * share)])


def test_damage_outside_the_window_does_not_matter():
    whole = sound_file(np.random.default_rng(0).normal(0, 0.1, 80_000), 8_000, "FLAC")
    damaged = bytearray(whole)
    damaged[len(whole) // 5] ^= 1
    assert torch.equal(AudioTransform(8_000)(bytes(damaged)), AudioTransform(8_000)(whole))


def test_two_channels_with_an_infinite_sum_are_averaged():
    loud = np.full((8_000, 2), 3e38, np.float32)
    assert AudioTransform(8_000)(sound_file(loud, 8_000, subtype="FLOAT")).eq(1).all()


def test_a_midi_sample_dump_is_the_wrong_kind():
    with pytest.raises(WrongKind, match="a MIDI sample dump is not taken; send a WAV"):
        AudioTransform(8_000)(sound_file(tone(1, 8_000), 8_000, "SDS", "PCM_16"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG", "MP3", "AIFF", "AU", "CAF"])
def test_flipped_bytes_give_a_sound_or_a_refusal_and_nothing_else(format):
    whole = sound_file(tone(2, 8_000), 8_000, format)
    rng = np.random.default_rng(0)
    outcomes = set()
    for _ in range(60):
        flipped = bytearray(whole)
        for index in rng.integers(0, min(len(whole), 600), 3):
            flipped[index] ^= rng.integers(1, 256)
        try:
            outcomes.add(AudioTransform(8_000)(bytes(flipped)).shape)
        except InputError:
            continue
    assert outcomes <= {(8_000,)}


def test_a_real_odd_sound_is_decoded_if_its_library_reads_it(odd_sound):
    payload = odd_sound.read_bytes()
    try:
        readable = len(soundfile.read(io.BytesIO(payload))[0]) > 0
    except soundfile.SoundFileError:
        readable = container_of(payload) is not None and ffmpeg_hears(payload)
    if readable:
        heard = AudioTransform(16_000)(payload)
        assert heard.shape == (16_000,)
        assert heard.isfinite().all()
        assert heard.abs().max() <= 1.5  # the resampler may overshoot
    else:
        with pytest.raises(Unreadable):
            AudioTransform(16_000)(payload)


def test_the_network_gets_the_rate_and_a_sample_can_be_drawn():
    transform = AudioTransform(8_000, seconds=0.5)
    sample = transform(sound_file(tone(1, 8_000), 8_000))
    assert transform.facts() == {"sample_rate": 8_000}
    assert sample.shape == (4_000,)
    assert transform.draw(sample).shape == (64, 51)
    assert transform.collate([sample, sample])[0].shape == (2, 4_000)


def test_a_low_tone_is_drawn_below_a_high_one():
    transform = AudioTransform(8_000)
    low, high = (transform.draw(transform(sound_file(tone(1, 8_000, hertz), 8_000))) for hertz in (200, 3_000))
    assert low.mean(axis=1).argmax() > high.mean(axis=1).argmax()


def test_loudness_does_not_change_what_the_network_sees():
    sound = torch.randn(1, 8_000, generator=torch.Generator().manual_seed(0))
    seen = LogMel(8_000)
    assert torch.allclose(seen(sound), seen(0.2 * sound), atol=0.01)


def test_silence_gives_finite_features():
    assert LogMel(16_000)(torch.zeros(2, 16_000)).isfinite().all()


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_the_network_gives_one_logit_per_class(rate):
    network = MelCNN(7, sample_rate=rate, width=4).eval()
    assert network(torch.zeros(2, rate)).shape == (2, 7)


# --- several windows


def windowed(**options) -> AudioTransform:
    return AudioTransform(8_000, seconds=1.0, **{"windows": 5} | options)


@pytest.mark.parametrize(
    ("seconds", "starts"),
    [(0.3, [0]), (1, [0]), (1.25, [0, 2_000]), (1.5, [0, 4_000]), (2.2, [0, 4_000, 8_000, 9_600]),
     (3, [0, 4_000, 8_000, 12_000, 16_000])],
)  # fmt: skip
def test_windows_cover_the_whole_sound_and_the_last_ends_with_it(seconds, starts):
    transform = windowed()
    sample = transform(sound_file(tone(seconds, 8_000), 8_000))
    assert transform.starts(sample) == starts
    assert transform.spans(sample) == [(start / 8_000, start / 8_000 + 1) for start in starts]
    assert len(sample) == max(8_000, round(8_000 * seconds))


@pytest.mark.parametrize(("format", "rate"), [("WAV", 8_000), ("FLAC", 44_100), ("OGG", 48_000)])
def test_a_sound_longer_than_all_windows_is_refused(format, rate):
    transform = windowed()
    assert len(transform(sound_file(tone(3, rate), rate, format))) == 24_000
    with pytest.raises(TooLarge, match="more than 3 s of sound, which is all that this model hears; send it in parts"):
        transform(sound_file(tone(3.01, rate), rate, format))


def test_a_wrong_length_in_the_header_does_not_matter():
    payload = sound_file(steps(2, 8_000), 8_000, "FLAC")
    assert torch.equal(windowed()(flac_saying(10**9, payload)), windowed()(payload))
    with pytest.raises(TooLarge):
        windowed()(flac_saying(0, sound_file(steps(4, 8_000), 8_000, "FLAC")))


def test_a_hop_must_leave_no_gap():
    assert windowed(hop=1.0).longest == 40_000
    for wrong in ({"windows": 0}, {"hop": 1.5}, {"hop": 0}):
        with pytest.raises(SpecError, match="give 1 or more, each 1 s or less behind the one before"):
            windowed(**wrong)


def test_the_network_runs_on_a_limited_number_of_windows_at_once():
    runs = []

    def network(inputs):
        runs.append(tuple(inputs[0].shape))
        return inputs[0][:, :2]

    transform = windowed()
    lengths = [8_000, 24_000, 10_000] * 6  # of 1, 5 and 2 windows
    outputs = transform.outputs(network, [torch.arange(length).float() for length in lengths])
    assert [len(output) for output in outputs] == [1, 5, 2] * 6
    assert outputs[1][:, 0].tolist() == [0, 4_000, 8_000, 12_000, 16_000] and outputs[2][1].tolist() == [2_000, 2_001]
    assert runs == [(32, 8_000), (16, 8_000)]


def test_training_hears_the_middle_window_of_each_sound():
    (batch,) = windowed().collate([torch.arange(8_000), torch.arange(12_000)])
    assert batch[:, 0].tolist() == [0, 2_000] and batch.shape == (2, 8_000)


# --- MFCC


def test_the_mfcc_are_those_of_torchaudio():
    """Except for the scale of the spectrogram. The scale of each coefficient is 1 before training."""
    sound, seen = torch.randn(3, 8_000, generator=torch.Generator().manual_seed(0)), LogMel(8_000)
    cepstrum = MFCC(64, 20).eval()
    theirs = torchaudio.transforms.MFCC(
        8_000, 64, log_mels=True, melkwargs={"n_fft": 512, "win_length": 200, "hop_length": 80, "n_mels": 64}
    )
    theirs.MelSpectrogram.spectrogram.window = seen.mel.spectrogram.window
    spectrogram = (theirs.MelSpectrogram(sound) + 1e-6).log()
    std, mean = torch.std_mean(spectrogram, dim=(1, 2), keepdim=True)
    level = torch.zeros(1, 64, 1)
    level[0, 0] = 8.0  # the first coefficient of a spectrogram of ones is the square root of its 64 bands
    expected = (theirs(sound) - mean * level) / (std + 1e-5)
    assert torch.allclose(cepstrum(seen(sound))[:, 0], expected[:, :20], atol=1e-2)


@pytest.mark.parametrize("n_mfcc", [1, 13, 64])
def test_the_network_takes_any_number_of_coefficients(n_mfcc):
    assert MelCNN(7, sample_rate=8_000, width=4, n_mfcc=n_mfcc).eval()(torch.zeros(2, 8_000)).shape == (2, 7)


@pytest.mark.parametrize("n_mfcc", [0, 65])
def test_more_coefficients_than_bands_are_an_error(n_mfcc):
    with pytest.raises(SpecError, match=f"n_mfcc: {n_mfcc} coefficients of 64 mel bands; give 1 to 64"):
        MelCNN(7, n_mfcc=n_mfcc)
