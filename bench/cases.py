"""What is measured, as data: a model, what every request holds, and the contenders besides the bundle.

Knows nothing of servers and load.
"""

import io
from collections.abc import Callable
from pathlib import Path

import msgspec

from bench import stock
from bench.candidates import CORES, Candidate
from model_defs.artifact import Artifact
from serving.client import BYTES, TYPES

WORDS = 20  # of the text


class Case(msgspec.Struct):
    """
    Args:
        model: an artifact and a recipe.
        body: of every request.
        content_type: likewise.
        stock: writes the stock archive into a folder.
        what: for the tables.
        is_picture: whether the body is one.
        exact: settings under which the answers are the eager network's, where the recipe's lower the precision.
    """

    model: str
    body: Callable[[Artifact], bytes]
    content_type: str
    stock: Callable[[Artifact, Path], Path]
    what: str
    is_picture: bool = False
    exact: Candidate | None = None


def photograph(artifact: Artifact) -> bytes:
    """A JPEG of 500 x 375 pixels and 133 kB, of a photograph that scikit-learn brings along (china.jpg)."""
    from PIL import Image
    from sklearn.datasets import load_sample_image

    file = io.BytesIO()
    small = Image.fromarray(load_sample_image("china.jpg")).resize((500, 375), Image.Resampling.LANCZOS)
    small.save(file, "JPEG", quality=98)
    return file.getvalue()


def sample(artifact: Artifact) -> bytes:
    """The first of the artifact's samples."""
    return artifact.samples()[0][1]


def sentence(artifact: Artifact) -> bytes:
    """The words of the artifact's samples, as many as `WORDS`."""
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
        Candidate("ncnn", "fp32", False, workers=CORES, threads=1, batch=4),
    ),
    "audio": Case("sounds", sample, BYTES, stock.sound, "mel spectrogram and CNN, a second of 16 kHz WAV"),
    "text": Case("intents", sentence, TYPES[".txt"], stock.text, f"EmbeddingBag of words and pairs, {WORDS} words"),
}
