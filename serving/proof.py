"""The proof that a version answers as in training: its archive's samples, sent over HTTP."""

import json
import zipfile
from pathlib import Path

import msgspec
import yaml

from model_defs.answer_diff import difference
from model_defs.bundle_format import COMPARISON, MANIFEST, SAMPLES, SAMPLES_FILE, TOLERANCE
from serving.client import BYTES, TYPES, Client
from serving.errors import ServerError
from serving.retry import is_transient


class Busy(ServerError):
    """The answer was about the server's state: a full queue, a worker that died. It proves nothing."""


class NoSamples(ServerError):
    """An archive that brings no samples, as those of other builders."""


class Proof(msgspec.Struct):
    """The samples of one version.

    Args:
        samples: the file's name, its content and the answer of training, each.
        tolerance: how far a score may differ.
    """

    model: str
    version: str
    samples: list[tuple[str, bytes, object]]
    tolerance: float

    @classmethod
    def of(cls, archive: Path, model: str, version: str) -> "Proof":
        """Read it from the archive.

        Raises:
            NoSamples: there are none.
            OSError, zipfile.BadZipFile: the archive is not there any more, or damaged.
        """
        with zipfile.ZipFile(archive) as file:
            if SAMPLES_FILE not in file.namelist():
                raise NoSamples(f"{model} {version} brings no samples to prove it by; make archive MODEL={model}")
            expected = json.loads(file.read(SAMPLES_FILE))
            samples = [(each["file"], file.read(f"{SAMPLES}/{each['file']}"), each["answer"]) for each in expected]
        return cls(model, version, samples, tolerance_of(archive))

    def check(self, client: Client, most: int | None = None) -> None:
        """Send the samples, or the first `most` of them, and compare the answers with those of training.

        Raises:
            Busy: an answer came that says nothing about the model.
            ServerError: an answer differs, or none came.
        """
        for file, body, expected in self.samples[:most]:
            answer = client.predict(self.model, body, TYPES.get(Path(file).suffix, BYTES), self.version)
            given = answer.json() if answer.status_code == 200 else answer.text
            if wrong := difference(given, expected, self.tolerance):
                kind = Busy if is_transient(answer) else ServerError
                raise kind(f"{self.model} {self.version} answers {file} otherwise than in training: {wrong}")


def tolerance_of(archive: Path) -> float:
    """How far a score may differ from training's: the recipe's tolerance plus the difference measured for the runtime."""
    if not archive.exists():  # the server still hosts it
        return TOLERANCE
    with zipfile.ZipFile(archive) as file:
        recipe = yaml.safe_load(file.read(json.loads(file.read(MANIFEST))["model"]["configFile"]))
        measured = json.loads(file.read(COMPARISON)) if COMPARISON in file.namelist() else {}
    return recipe.get("handler", {}).get("tolerance", TOLERANCE) + measured.get("largest_difference", 0)
