"""Sounds: synthesised ones, torchaudio's sets by name, and any folder of class folders.

Knows nothing of sample rates or lengths: `model_defs/audio.py` decodes.
"""

import io
from collections.abc import Iterable
from pathlib import Path

import soundfile
import torchaudio

from train.data.examples import DOWNLOADS, DataError, Example, Examples, open_set, split
from train.data.folders import class_folders, has_class_folders
from train.data.synthetic.sounds import KINDS, clip

SUFFIXES = {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64", ".rf64"}


class AudioFolder(Examples):
    """`root/train/<class>/*.wav` and `root/test/<class>/*.wav`, or `root/<class>/*.wav`, in any format that libsndfile reads."""

    def read(self) -> dict[str, list[Example]]:
        return class_folders(self.root, SUFFIXES, self.seed)


class Sounds(AudioFolder):
    """Sounds that `train/data/synthetic/sounds.py` makes; or a folder of class folders.

    Args:
        per_class: clips of each kind for training; a quarter as many more are for testing.
    """

    def __init__(self, per_class: int = 120, **options):
        super().__init__(**options)
        self.per_class = per_class

    def read(self) -> dict[str, list[Example]]:
        if self.root != Path(DOWNLOADS):
            return super().read()
        tested = max(1, self.per_class // 4)
        return {"train": self.made(range(self.per_class)), "test": self.made(range(self.per_class, self.per_class + tested))}

    def clip(self, kind: str, seed: int) -> bytes:
        return clip(kind, seed)

    def made(self, seeds: range) -> list[Example]:
        first = 1_000_000 * self.seed
        return [Example(self.clip(kind, first + seed), kind, f"{kind} {seed}", ".wav") for kind in KINDS for seed in seeds]


class LongSounds(Sounds):
    """Two to four seconds of background with one of those sounds somewhere in it; or a folder of class folders."""

    LENGTHS = (2, 3, 4)  # s

    def clip(self, kind: str, seed: int) -> bytes:
        return clip(kind, seed, self.LENGTHS[seed % len(self.LENGTHS)])


class SPEECHCOMMANDS(AudioFolder):
    """35 spoken words, 105,829 recordings of up to a second, with the set's own split; or a folder of class folders."""

    def read(self) -> dict[str, list[Example]]:
        if (self.root / "testing_list.txt").is_file():  # read as class folders, its speakers would stand on both sides
            raise DataError(f"{self.root}: Speech Commands itself; give the folder that holds SpeechCommands/{self.root.name}/")
        if has_class_folders(self.root, SUFFIXES):
            return super().read()
        return {
            name: list(self.load(subset)) for name, subset in (("train", "training"), ("validation",) * 2, ("test", "testing"))
        }

    def load(self, subset: str) -> Iterable[Example]:
        recordings = open_set(torchaudio.datasets.SPEECHCOMMANDS, self.root, subset=subset)
        for place in range(len(recordings)):
            path, _, label, *_ = recordings.get_metadata(place)
            file = Path(recordings._archive) / path
            yield Example(file, label, str(file), ".wav")


class YESNO(AudioFolder):
    """60 recordings of eight words each, "yes" or "no" in Hebrew, cut in eight; a fifth of the recordings is for testing. Or a
    folder of class folders."""

    WORDS = ("no", "yes")

    def read(self) -> dict[str, list[Example]]:
        if has_class_folders(self.root, SUFFIXES):
            return super().read()
        recordings = open_set(torchaudio.datasets.YESNO, self.root)
        files = [Path(recordings._path) / f"{name}.wav" for name in sorted(recordings._walker)]
        whole = [Example(file, "recording", str(file), ".wav") for file in files]
        train, test = split(whole, 0.2, self.seed)  # by recording: one voice's noise must not stand on both sides
        return {"train": list(self.cut(train)), "test": list(self.cut(test))}

    def cut(self, recordings: list[Example]) -> Iterable[Example]:
        for recording in recordings:
            samples, rate = read_sound(recording)
            said = [int(digit) for digit in recording.payload.stem.split("_")]
            length = len(samples) // len(said)
            for place, word in enumerate(said):
                file = io.BytesIO()
                soundfile.write(file, samples[place * length : (place + 1) * length], rate, format="WAV")
                yield Example(file.getvalue(), self.WORDS[word], f"{recording.source}: word {place + 1}", ".wav")


def read_sound(example: Example):
    try:
        return soundfile.read(io.BytesIO(example.read()), dtype="int16")
    except soundfile.SoundFileError as error:
        raise DataError(f"{example.source}: not a sound: {error}") from error
