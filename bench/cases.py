"""The benchmark's cases, as data: a model, the body of every request, and the stock archive."""

import io
from collections.abc import Callable
from pathlib import Path

import msgspec

from bench import stock
from bench.candidates import CORES, Candidate
from model_defs.artifact import Artifact
from serving.client import BYTES, TYPES

WORDS = 20  # in the text that is sent


class Case(msgspec.Struct):
    """
    Args:
        model: the name of its artifact and recipe.
        body: makes the body of every request.
        content_type: of every request.
        stock: writes the stock archive into a folder and gives its path.
        title: for the tables.
        is_picture: whether the body is a picture.
        exact: full-precision settings, if the recipe lowers the precision; they are measured too. Which runtime is the fastest
            in full precision depends on the processor.
    """

    model: str
    body: Callable[[Artifact], bytes]
    content_type: str
    stock: Callable[[Artifact, Path], Path]
    title: str
    is_picture: bool = False
    exact: tuple[Candidate, ...] = ()


def photograph(artifact: Artifact) -> bytes:
    """A JPEG of 500 x 375 pixels and 133 kB, made from a photograph in scikit-learn (china.jpg)."""
    from PIL import Image
    from sklearn.datasets import load_sample_image

    file = io.BytesIO()
    small = Image.fromarray(load_sample_image("china.jpg")).resize((500, 375), Image.Resampling.LANCZOS)
    small.save(file, "JPEG", quality=98)
    return file.getvalue()


def sample(artifact: Artifact) -> bytes:
    """The artifact's first sample."""
    return artifact.samples()[0][1]


def sentence(artifact: Artifact) -> bytes:
    """The first `WORDS` words of the artifact's samples, repeated if there are fewer."""
    words = " ".join(payload.decode() for _, payload in artifact.samples()).split()
    return " ".join((words * WORDS)[:WORDS]).encode()


CASES = {
    "vision": Case(
        "resnet18",
        photograph,
        BYTES,
        stock.picture,
        "ResNet-18, 224 x 224, a JPEG of 500 x 375 and 133 kB",
        True,
        tuple(Candidate(runtime, "fp32", False, workers=CORES, threads=1, batch=4) for runtime in ("ncnn", "onnxruntime")),
    ),
    "audio": Case("sounds", sample, BYTES, stock.sound, "mel spectrogram and CNN, a second of 16 kHz WAV"),
    "text": Case("intents", sentence, TYPES[".txt"], stock.text, f"EmbeddingBag of words and pairs, {WORDS} words"),
}
