"""Sounds for classification: synthetic ones, torchaudio's sets by name, and any folder of class folders."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import soundfile
import torchaudio

from model_defs import media_extra
from train.data.downloads import DOWNLOADS, open_set
from train.data.example import DataError, Example
from train.data.examples import Examples
from train.data.folders import class_folders, has_class_folders
from train.data.splits import TEST_SHARE, Splits, split
from train.data.synthetic.sounds import KINDS, clip

SUFFIXES = {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64", ".rf64"}
if media_extra.has("av"):
    SUFFIXES |= media_extra.SOUND_SUFFIXES


class AudioFolder(Examples):
    """`root/train/<class>/*.wav` and `root/test/<class>/*.wav`, or `root/<class>/*.wav`, in any format that libsndfile reads."""

    def read_root(self) -> Splits:
        return class_folders(self.root, SUFFIXES)


class Sounds(AudioFolder):
    """One-second sounds that `train/data/synthetic/sounds.py` makes. Or a folder of class folders.

    Args:
        per_class: clips per kind for training; a quarter as many more are for testing.
    """

    kinds = tuple(KINDS)
    built_in_options = ("per_class",)

    def __init__(self, *args: Any, per_class: int = 120, **options: Any):
        super().__init__(*args, **options)
        self.per_class = per_class

    def built_in(self) -> Splits:
        tested = max(1, self.per_class // 4)
        return {
            "train": self.clips(range(self.per_class)),
            "test": self.clips(range(self.per_class, self.per_class + tested)),
        }

    def clip(self, kind: str, seed: int) -> bytes:
        return clip(kind, seed)

    def clips(self, seeds: range) -> list[Example]:
        first = 1_000_000 * self.seed
        return [Example(self.clip(kind, first + seed), kind, f"{kind} {seed}", ".wav") for kind in self.kinds for seed in seeds]


class LongSounds(Sounds):
    """Two to four seconds of background with one of those sounds somewhere in it. Or a folder of class folders."""

    kinds = tuple(kind for kind in KINDS if kind not in ("noise", "wind"))  # these sound like the background
    LENGTHS = (2, 3, 4)  # s

    def clip(self, kind: str, seed: int) -> bytes:
        return clip(kind, seed, self.LENGTHS[seed % len(self.LENGTHS)])


class SPEECHCOMMANDS(AudioFolder):
    """Speech Commands: 35 spoken words, 105,829 recordings of up to a second, with the set's own splits. Or a folder of class
    folders."""

    default_root = DOWNLOADS
    SUBSETS: ClassVar = {"train": "training", "validation": "validation", "test": "testing"}  # torchaudio's names

    def read_root(self) -> Splits:
        if (self.root / "testing_list.txt").is_file():  # as class folders, a speaker could be in training and in test
            raise DataError(f"{self.root}: Speech Commands itself; give the folder that holds SpeechCommands/{self.root.name}/")
        if has_class_folders(self.root, SUFFIXES):
            return super().read_root()
        return {name: list(self.recordings(subset)) for name, subset in self.SUBSETS.items()}

    def recordings(self, subset: str) -> Iterator[Example]:
        source = open_set(torchaudio.datasets.SPEECHCOMMANDS, self.root, subset=subset)
        for index in range(len(source)):
            path, _, label, *_ = source.get_metadata(index)
            file = Path(source._archive) / path
            yield Example(file, label, str(file), ".wav")


class YESNO(AudioFolder):
    """60 recordings of eight words each, "yes" or "no" in Hebrew. Each is cut into its words. Or a folder of class folders."""

    default_root = DOWNLOADS
    WORDS = ("no", "yes")

    def read_root(self) -> Splits:
        if has_class_folders(self.root, SUFFIXES):
            return super().read_root()
        source = open_set(torchaudio.datasets.YESNO, self.root)
        files = [Path(source._path) / f"{name}.wav" for name in sorted(source._walker)]
        recordings = [Example(file, "recording", str(file), ".wav") for file in files]
        # Split before cutting: the background noise of a recording must not be in training and in test.
        train, test = split(recordings, TEST_SHARE, self.seed)
        return {"train": list(self.words(train)), "test": list(self.words(test))}

    def words(self, recordings: list[Example]) -> Iterator[Example]:
        """The eight words of each recording; its file's name says which: `0_1_1_1_0_0_1_0.wav`."""
        for recording in recordings:
            samples, rate = read_sound(recording)
            said = [int(digit) for digit in recording.payload.stem.split("_")]
            length = len(samples) // len(said)
            for index, word in enumerate(said):
                file = io.BytesIO()
                soundfile.write(file, samples[index * length : (index + 1) * length], rate, format="WAV")
                yield Example(file.getvalue(), self.WORDS[word], f"{recording.source}: word {index + 1}", ".wav")


def read_sound(example: Example) -> tuple[np.ndarray, int]:
    """(samples,) int16 and the sample rate in Hz.

    Raises:
        DataError: not a sound.
    """
    try:
        return soundfile.read(io.BytesIO(example.read()), dtype="int16")
    except soundfile.SoundFileError as error:
        raise DataError(f"{example.source}: not a sound: {error}") from error
