"""`artifacts/<model>/`: everything that training leaves behind, in plain files.

`train` writes it; `archive` and the handlers read it. An archive holds the same files. None of them is a pickle:

    weights.safetensors     the network's state; a FileNetwork, such as one from an ONNX file, has files of its own
    model.json              the network and the transform, the labels, metrics, data and versions
    vocabulary.txt ...      what the transform learned, if it learns
    samples/                a few test inputs, and `expected.json`: the network's answers to them
    test.zip                the whole test set, laid out like samples/ (not archived)
    calibration.zip         some training inputs, which an int8 export needs (not archived)
    report/                 pictures of the training (not archived)
"""

import json
import os
import platform
import sys
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import safetensors.torch
import torch
from torch import Tensor, nn

from model_defs.build import build
from model_defs.bundle_format import EXPECTED, MODEL, SAMPLES, SAMPLES_FILE, WEIGHTS
from model_defs.errors import BundleError
from model_defs.file_network import FileNetwork
from model_defs.imports import distributions, imports, modules, third_party
from model_defs.transform import Transform

TEST, CALIBRATION, REPORT = "test.zip", "calibration.zip", "report"  # not archived
BACKGROUNDS = "backgrounds"  # a folder that only the archive has: a few inputs of calibration.zip
MAX_BACKGROUNDS, MAX_BACKGROUND_BYTES = 8, 64 << 10  # how many, and how large each may be
RECORDED = ("torch", "torchvision", "torchaudio", "numpy", "pillow", "soundfile", "soxr", "safetensors")
RECORDED_IF_USED = ("torchtext",)
NAMED = 3  # tensors that an error about the weights names


class ArtifactError(BundleError):
    """The artifact is malformed; the message names the file and what to do."""


class Sample(msgspec.Struct, frozen=True):
    """One test input, its truth and its answer.

    Args:
        file: its name next to `expected.json`.
        truth: a label, boxes or masks, as `metrics.py` compares them.
        answer: the network's own answer, as the wire has it.
    """

    file: str
    truth: Any
    answer: Any


class Artifact(msgspec.Struct):
    """`model.json`, and access to the files next to it."""

    name: str
    network: dict[str, Any]  # {class_path, init_args}
    transform: dict[str, Any]
    labels: list[str]
    metrics: dict[str, float]  # on the test set, by the name of the function in `metrics.py`; evaluations compare the first
    data: dict[str, Any]  # the source's class_path, its fingerprint, the number of examples in each split
    versions: dict[str, str]
    arguments: list[str] = []  # of the training's command, in addition to the config
    folder: Path = Path()

    @classmethod
    def read(cls, folder: Path | str) -> "Artifact":
        """
        Raises:
            FileNotFoundError: the folder has no artifact.
            ArtifactError: its `model.json` has another form.
        """
        file = Path(folder) / MODEL
        try:
            artifact = msgspec.json.decode(file.read_bytes(), type=cls)
        except msgspec.DecodeError as error:
            raise ArtifactError(f"{file}: {error}; train the model again") from None
        artifact.folder = Path(folder)
        return artifact

    def write(self, network: nn.Module, transform: Transform) -> None:
        """Write the weights and what the transform learned, then `model.json`: if it exists, the rest does too."""
        fields = msgspec.structs.asdict(self)
        del fields["folder"]
        text = json.dumps(fields, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / MODEL).unlink(missing_ok=True)
        if isinstance(network, FileNetwork):
            network.save(self.folder)
        else:
            # Copies, because safetensors refuses tensors that share memory, such as tied weights.
            state = {
                name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
                for name, tensor in network.state_dict().items()
            }
            safetensors.torch.save_file(state, self.folder / WEIGHTS)
        transform.save(self.folder)
        (self.folder / MODEL).write_text(text, encoding="utf-8")

    def build_network(self) -> nn.Module:
        """The network with its weights, in evaluation mode, on the CPU.

        Raises:
            SpecError: the network's class is unknown, or does not take these arguments.
            ArtifactError: the weights are missing or malformed, or they are not exactly those of the network.
        """
        network, file = build(self.network), self.folder / WEIGHTS
        if isinstance(network, FileNetwork):
            network.load(self.folder)
            return network.eval()
        try:
            weights = safetensors.torch.load_file(file)
        except (FileNotFoundError, safetensors.SafetensorError) as error:
            raise ArtifactError(f"{WEIGHTS} of {self.name!r} cannot be read: {error}; train the model again") from None
        if wrong := mismatch(weights, network.state_dict()):
            class_path = self.network["class_path"]
            raise ArtifactError(f"{WEIGHTS} of {self.name!r} does not fit {class_path}: {wrong}; train the model again")
        network.load_state_dict(weights)
        return network.eval()

    def build_transform(self) -> Transform:
        """The transform with what it learned.

        Raises:
            SpecError: the transform's class is unknown, or does not take these arguments.
            ArtifactError: a file of what it learned is missing or malformed.
        """
        transform = build(self.transform)
        with readable(self.folder):
            transform.load(self.folder)
        return transform

    def samples(self) -> list[tuple[Sample, bytes]]:
        """The sample inputs, each with its bytes.

        Raises:
            ArtifactError: one is missing, or `expected.json` is malformed.
            msgspec.ValidationError: `expected.json` has another form.
        """
        folder = self.folder / SAMPLES
        with readable(self.folder):
            samples = msgspec.json.decode((folder / EXPECTED).read_bytes(), type=list[Sample])
            return [(sample, (folder / sample.file).read_bytes()) for sample in samples]

    def example(self) -> tuple[Tensor, ...]:
        """All samples as the network's inputs, for tracing and export."""
        transform = self.build_transform()
        return transform.collate([transform(payload) for _, payload in self.samples()])

    def test_set(self) -> list[tuple[Sample, bytes]]:
        """The whole test set, each input with its bytes.

        Raises:
            FileNotFoundError: the folder is an unpacked archive, or its training wrote no test set.
            ArtifactError: it is damaged.
        """
        if not (self.folder / TEST).exists():
            raise FileNotFoundError(self.folder / TEST)
        with readable(self.folder), zipfile.ZipFile(self.folder / TEST) as file:
            samples = msgspec.json.decode(file.read(EXPECTED), type=list[Sample])
            return [(sample, file.read(sample.file)) for sample in samples]

    def backgrounds(self) -> dict[str, bytes]:
        """A few small training inputs by their names, for explanations that compare with an average input; perhaps none."""
        folder, file = self.folder / BACKGROUNDS, self.folder / CALIBRATION
        if folder.exists():
            return {each.name: each.read_bytes() for each in sorted(folder.iterdir())}
        if not file.exists():
            return {}
        with readable(self.folder), zipfile.ZipFile(file) as inputs:
            small = [entry for entry in inputs.infolist() if entry.file_size <= MAX_BACKGROUND_BYTES]
            chosen = small[:: max(1, len(small) // MAX_BACKGROUNDS)][:MAX_BACKGROUNDS]
            return {entry.filename: inputs.read(entry) for entry in chosen}

    def calibration(self) -> list[bytes]:
        """Some training inputs. For the errors see `test_set`."""
        if not (self.folder / CALIBRATION).exists():
            raise FileNotFoundError(self.folder / CALIBRATION)
        with readable(self.folder), zipfile.ZipFile(self.folder / CALIBRATION) as file:
            return [file.read(name) for name in file.namelist()]


@contextmanager
def readable(folder: Path) -> Iterator[None]:
    """Make a file of the artifact that is missing or damaged an ArtifactError. In an archive that is being built the folder is
    another one, so the message has the file's name in it."""
    try:
        yield
    except (BundleError, msgspec.ValidationError):
        raise
    except FileNotFoundError as error:
        name = os.path.relpath(error.filename, folder)
        raise ArtifactError(f"{name} of the artifact {folder.name!r} is missing; train or import the model again") from None
    except (ValueError, LookupError, msgspec.DecodeError, zipfile.BadZipFile) as error:
        said = f"the artifact {folder.name!r} has a damaged file ({str(error)[:200]}); train or import the model again"
        raise ArtifactError(said) from error


def check_replaceable(folder: Path, used: Iterable[Path] = ()) -> None:
    """Refuse to write an artifact where something of the user's would be lost.

    Args:
        used: the files and folders that the new artifact is made of.

    Raises:
        ArtifactError: the folder is none, or holds something else than an artifact; or something that is used lies in it.
    """
    is_artifact = (folder / MODEL).is_file() or (folder / SAMPLES_FILE).is_file()
    if folder.exists() and not is_artifact and (not folder.is_dir() or any(folder.iterdir())):
        raise ArtifactError(f"{folder} is there and holds no artifact; one is to be written there: move away what it holds")
    for path in used:
        if path.resolve().is_relative_to(folder.resolve()):
            raise ArtifactError(f"{path} lies in {folder}/, which is replaced as a whole: move it elsewhere first")


def write_samples(folder: Path, samples: list[tuple[Sample, bytes]]) -> None:
    """Write a few inputs and `expected.json` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for sample, payload in samples:
        (folder / sample.file).write_bytes(payload)
    (folder / EXPECTED).write_bytes(as_json([sample for sample, _ in samples]))


def write_test_set(file: Path, samples: list[tuple[Sample, bytes]]) -> None:
    """Write the whole test set into one zip, laid out like a folder of samples."""
    with zipfile.ZipFile(file, "w") as archive:
        for sample, payload in samples:
            archive.writestr(sample.file, payload)
        archive.writestr(EXPECTED, as_json([sample for sample, _ in samples]))


def write_calibration(file: Path, payloads: list[tuple[str, bytes]]) -> None:
    """Write some training inputs, each under its name. The same inputs give the same bytes."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, payload in payloads:
            archive.writestr(zipfile.ZipInfo(name), payload)  # a ZipInfo has a fixed date, in 1980


def as_json(samples: list[Sample]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(samples), indent=1)


def mismatch(given: dict[str, Tensor], expected: dict[str, Tensor]) -> str:
    """How the tensors differ from those of the network, in words; empty if names and shapes are the same."""
    shapes = [name for name in given.keys() & expected.keys() if given[name].shape != expected[name].shape]
    kinds = {
        "it lacks": [*expected.keys() - given.keys()],
        "the network does not have": [*given.keys() - expected.keys()],
        "of another shape": [f"{name} {tuple(given[name].shape)}, not {tuple(expected[name].shape)}" for name in shapes],
    }
    return "; ".join(f"{kind} {listed(sorted(names))}" for kind, names in kinds.items() if names)


def listed(names: list[str]) -> str:
    """The first few of the names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def versions(*class_paths: str) -> dict[str, str]:
    """The versions of Python, of the libraries that every model is decoded and computed with, and of those that the modules of
    these classes import: what can change an answer."""
    reached = modules(class_path.rpartition(".")[0] for class_path in class_paths)
    packages = third_party(name for file in reached.values() for name in imports(file.read_bytes()))
    needed = {name for package in packages for name in distributions(package)}
    used = {name for name in RECORDED_IF_USED if name in sys.modules}
    libraries = [*RECORDED, *sorted((needed | used) - {*RECORDED})]
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in libraries}
