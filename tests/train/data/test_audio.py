"""train/data/audio.py and synthetic/sounds.py: torchaudio's sets as they lie on disk, class folders, synthetic sounds."""

import io

import numpy as np
import pytest
import soundfile

from model_defs.audio import AudioTransform
from train.data.audio import SPEECHCOMMANDS, YESNO, AudioFolder, LongSounds, Sounds
from train.data.example import DataError
from train.data.synthetic.sounds import KINDS, SAMPLE_RATE, clip


def ready(data, sample_rate=8_000):
    data.setup()
    data.decode(AudioTransform(sample_rate=sample_rate))
    return data


def sound(file, seconds=0.2, rate=8_000, seed=0):
    file.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(file, np.random.default_rng(seed).uniform(-0.5, 0.5, int(seconds * rate)), rate)


def test_speech_commands_keeps_the_sets_own_split(tmp_path):
    folder = tmp_path / "SpeechCommands" / "speech_commands_v0.02"
    names = {word: [f"{word}/{speaker:08x}_nohash_0.wav" for speaker in range(6)] for word in ("go", "stop")}
    for word in names:
        for index, name in enumerate(names[word]):
            sound(folder / name, rate=16_000, seed=index)
    sound(folder / "_background_noise_" / "hum.wav")
    (folder / "validation_list.txt").write_text("".join(f"{names[word][0]}\n" for word in names))
    (folder / "testing_list.txt").write_text("".join(f"{names[word][1]}\n" for word in names))
    data = ready(SPEECHCOMMANDS(root=str(tmp_path)))
    assert data.labels == ["go", "stop"] and data.counts() == {"train": 8, "validation": 2, "test": 2}
    assert data.splits["test"][0].payload == folder / names["go"][1]


def test_the_inner_folder_of_speech_commands_is_not_taken_for_class_folders(tmp_path):
    for word in ("go", "stop"):
        sound(tmp_path / word / "1_nohash_0.wav")
    (tmp_path / "testing_list.txt").write_text("go/1_nohash_0.wav\n")
    with pytest.raises(DataError, match="give the folder that holds SpeechCommands/"):
        ready(SPEECHCOMMANDS(root=str(tmp_path)))


def test_yesno_recordings_are_cut_in_eight_and_split_by_recording(tmp_path):
    names = ["0_1_0_1_1_1_0_0", "1_1_1_1_0_0_0_0", "0_0_1_1_0_1_0_1", "1_0_0_0_1_1_1_0", "0_1_1_0_1_0_0_1"]
    for index, name in enumerate(names):
        sound(tmp_path / "waves_yesno" / f"{name}.wav", seconds=4, seed=index)
    data = ready(YESNO(root=str(tmp_path)))
    tested = data.splits["test"]
    assert data.labels == ["no", "yes"] and len(tested) == 8
    name = next(name for name in names if name in tested[0].source)
    assert [example.truth for example in tested] == ["yes" if digit == "1" else "no" for digit in name.split("_")]
    whole, _ = soundfile.read(tmp_path / "waves_yesno" / f"{name}.wav", dtype="int16")
    parts = [soundfile.read(io.BytesIO(example.read()), dtype="int16")[0] for example in tested]
    assert (np.concatenate(parts) == whole).all()


@pytest.mark.parametrize("kind", [AudioFolder, SPEECHCOMMANDS, YESNO, Sounds])
def test_a_folder_of_class_folders_in_several_formats_and_rates(kind, tmp_path):
    for part in ("train", "test"):
        for label in ("1", "2", "10"):
            for index, (suffix, rate) in enumerate((("wav", 8_000), ("flac", 44_100), ("ogg", 22_050), ("mp3", 16_000))):
                sound(tmp_path / part / label / f"{index}.{suffix}", rate=rate, seconds=0.5)
    data = ready(kind(root=str(tmp_path)))
    assert data.labels == ["1", "2", "10"] and data.counts()["test"] == 12
    assert {sample.shape for sample in data.samples["test"]} == {(8_000,)}


@pytest.mark.parametrize("kind", [AudioFolder, SPEECHCOMMANDS, YESNO, Sounds])
def test_class_folders_without_a_split_are_split_in_five(kind, tmp_path):
    for label in ("a", "b"):
        for index in range(10):
            sound(tmp_path / label / f"{index}.wav", seed=index)
    assert ready(kind(root=str(tmp_path))).counts() == {"train": 14, "validation": 2, "test": 4}


@pytest.mark.parametrize("kind", [SPEECHCOMMANDS, YESNO])
def test_a_file_where_a_folder_is_expected_is_named(kind, tmp_path):
    sound(tmp_path / "one.wav")
    with pytest.raises(DataError, match=r"one\.wav"):
        ready(kind(root=str(tmp_path / "one.wav")))


def test_a_broken_sound_is_named_before_the_first_epoch(tmp_path):
    for label in ("a", "b"):
        for index in range(6):
            sound(tmp_path / label / f"{index}.wav", seed=index)
    (tmp_path / "b" / "4.wav").write_bytes(b"RIFF")
    with pytest.raises(DataError, match=r"b/4\.wav: not a sound"):
        ready(AudioFolder(root=str(tmp_path)))


def test_synthetic_sounds_are_the_same_each_time_and_splits_share_none():
    data = ready(Sounds(per_class=4), 16_000)
    assert data.labels == sorted(KINDS) and data.counts()["test"] == 10
    assert data.fingerprint() == ready(Sounds(per_class=4), 16_000).fingerprint()
    payloads = [example.payload for name in data.splits for example in data.splits[name]]
    assert len(set(payloads)) == len(payloads)


@pytest.mark.parametrize("kind", KINDS)
def test_a_synthetic_sound_is_a_second_long_finite_and_audible(kind):
    for seed in range(5):
        samples, rate = soundfile.read(io.BytesIO(clip(kind, seed)))
        assert len(samples) == rate == SAMPLE_RATE and np.isfinite(samples).all() and 0.02 < np.abs(samples).max() <= 1


def test_a_long_sound_is_two_to_four_seconds_of_one_of_the_kinds():
    data = ready(LongSounds(per_class=6, classes=["tone", "siren"]), sample_rate=16_000)
    sounds = {example.source: soundfile.read(io.BytesIO(example.payload)) for example in data.splits["train"]}
    assert {len(samples) / rate for samples, rate in sounds.values()} == {2, 3, 4} and data.labels == ["siren", "tone"]
    assert LongSounds(per_class=6).clip("tone", 5) == LongSounds(per_class=6).clip("tone", 5)
