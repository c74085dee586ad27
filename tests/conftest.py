"""Small artifacts of untrained networks, written as training writes them, for the tests of several packages."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from model_defs import artifact as files
from model_defs.artifact import Artifact, Sample
from model_defs.audio import AudioTransform, MelCNN
from model_defs.build import complete
from model_defs.lstm import WordLSTM, WordSequenceTransform
from model_defs.postprocess import top
from model_defs.text import BagOfWords, NgramTransform
from model_defs.transform import Transform
from model_defs.transformer import SubwordTransform, TransformersClassifier
from model_defs.vision import ImageTransform, LetterboxTransform, SmallCNN

pytest_plugins = ["tests.bundle", "tests.faults.fault_report", "tests.verdict"]
LABELS = ["circle", "square", "star"]
LOADERS = torch.load, torch.jit.load
TEXTS = {
    f"{index}.txt": text for index, text in enumerate([b"a round thing", b"five corners", b"a thing with corners", b"round"])
}


@pytest.fixture(autouse=True)
def loading_is_restored():
    """An old handler's process gets other functions in the place of torch's, for good; this one is the tests'."""
    yield
    torch.load, torch.jit.load = LOADERS


def pytest_addoption(parser):
    parser.addoption("--requests", type=int, help="of a chaos or a soak, which then shows its progress and its figures")
    parser.addoption("--trials", type=int, default=1, help="how often a test repeats its fault")
    parser.addoption("--figures", type=Path, help="write the figures as JSON into this folder")


def pytest_collection_modifyitems(items):
    """Tests with a server come first: they take longest, and at the end they would leave the other process idle."""
    items.sort(key=lambda item: item.get_closest_marker("server") is None)


def path_of(kind: type) -> str:
    return f"{kind.__module__}.{kind.__name__}"


def write(folder: Path, network: type, transform: Transform, payloads: dict[str, bytes], answer=None, **init_args) -> Path:
    """Write an artifact of a seeded, untrained network. The answers of its samples are the network's own.

    Args:
        answer: (output, sample) -> the answer; by default a classifier's.
    """
    torch.manual_seed(0)
    spec = complete({"class_path": path_of(network), "init_args": init_args}, {"num_classes": len(LABELS), **transform.facts()})
    built = network(**spec["init_args"]).eval()
    init_args = {name: getattr(transform, name) for name in TRANSFORM_ARGUMENTS.get(type(transform), ())}
    written = Artifact(
        name=folder.name, network=spec, transform={"class_path": path_of(type(transform)), "init_args": init_args},
        labels=LABELS, metrics={}, data={}, versions=files.versions(), folder=folder,
    )  # fmt: skip
    written.write(built, transform)
    decoded = [transform(payload) for payload in payloads.values()]
    with torch.inference_mode():
        outputs = transform.outputs(lambda inputs: built(*inputs), decoded)
    answer = answer or (lambda output, sample: top(output, LABELS))
    answers = [answer(output, sample) for output, sample in zip(outputs, decoded, strict=True)]
    truths = [given[0]["label"] if given and isinstance(given, list) else None for given in answers]
    samples = [
        (Sample(name, truth, given), payload)
        for (name, payload), truth, given in zip(payloads.items(), truths, answers, strict=True)
    ]
    files.write_samples(folder / files.SAMPLES, samples)
    files.write_test_set(folder / files.TEST, samples)
    files.write_calibration(folder / files.CALIBRATION, list(payloads.items()))
    return folder


TRANSFORM_ARGUMENTS = {
    ImageTransform: ("size", "mode"),
    LetterboxTransform: ("size",),
    AudioTransform: ("sample_rate", "seconds", "windows", "hop"),
    NgramTransform: ("ngrams",),
    WordSequenceTransform: ("max_words",),
    SubwordTransform: ("max_tokens",),
}


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def wav(seed: int, length: int = 9_000) -> bytes:
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, length)
    file = io.BytesIO()
    soundfile.write(file, samples, 8_000, format="WAV")
    return file.getvalue()


@pytest.fixture
def picture_artifact(tmp_path):
    return write(tmp_path / "pictures", SmallCNN, ImageTransform(size=16), {f"{seed}.png": png(seed) for seed in range(4)})


@pytest.fixture
def sound_artifact(tmp_path):
    return write(tmp_path / "sounds", MelCNN, AudioTransform(sample_rate=8_000), {f"{seed}.wav": wav(seed) for seed in range(4)})


@pytest.fixture
def text_artifact(tmp_path):
    transform = NgramTransform(ngrams=2)
    transform.tokens = ["<unk>", "a", "round", "thing", "a round", "with", "corners", "five"]
    return write(tmp_path / "texts", BagOfWords, transform, TEXTS)


@pytest.fixture
def long_sound_artifact(tmp_path):
    """A model of up to five windows of half a second, which start every quarter of a second."""
    transform = AudioTransform(sample_rate=8_000, seconds=0.5, windows=5)
    payloads = {f"{seed}.wav": wav(seed, length=3_000 * (1 + seed)) for seed in range(4)}
    return write(tmp_path / "long_sounds", MelCNN, transform, payloads, n_mfcc=20)


@pytest.fixture
def sequence_artifact(tmp_path):
    transform = WordSequenceTransform(max_words=300)
    transform.tokens = ["<unk>", "a", "round", "thing", "with", "corners", "five"]
    return write(tmp_path / "sequences", WordLSTM, transform, TEXTS, dim=8, hidden=8)


@pytest.fixture
def transformer_artifact(tmp_path):
    pytest.importorskip("transformers", reason="make setup EXTRAS=transformers")
    from train.data.bpe import train_tokenizer

    transform = SubwordTransform(max_tokens=64)
    transform.written = train_tokenizer([text.decode() for text in TEXTS.values()] * 2, 300)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = {"model_type": "bert", "max_position_embeddings": 64} | small
    return write(tmp_path / "transformers", TransformersClassifier, transform, TEXTS, config=config)
