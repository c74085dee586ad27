"""The stock archives run in TorchServe's own handlers, next to today's torch, and give the bundle's answers."""

import io
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from ts.context import Context
from ts.torch_handler.text_classifier import TextClassifier

from bench import stock
from bench.stock.sound_classifier import SoundClassifier
from model_defs.artifact import Artifact
from model_defs.audio import AudioTransform, MelCNN
from tests.conftest import write


def answer(handler, archive: Path, folder: Path, payload: bytes) -> dict | list:
    """What the handler answers when TorchServe has unpacked the archive."""
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder)
    manifest = json.loads((folder / "MAR-INF" / "MANIFEST.json").read_bytes())
    context = Context("stock", str(folder), manifest, 1, None, "0.12.0")
    context.model_yaml_config = {}
    handler.initialize(context)
    (found,) = handler.postprocess(handler.inference(handler.preprocess([{"body": payload}])))
    return found


@pytest.fixture
def model_path(tmp_path, monkeypatch):
    """TorchServe puts the unpacked archive on `sys.path` and imports its `model.py`."""
    monkeypatch.syspath_prepend(tmp_path / "unpacked")
    sys.modules.pop("model", None)  # of another test's archive
    yield tmp_path / "unpacked"
    sys.modules.pop("model", None)


def expected(artifact: Artifact, payload: bytes) -> dict:
    """The scores of the artifact's own network, by label."""
    transform = artifact.build_transform()
    scores = artifact.build_network()(*transform.collate([transform(payload)])).softmax(-1)[0]
    return pytest.approx(dict(zip(artifact.labels, scores.tolist(), strict=True)), abs=1e-5)


@pytest.mark.filterwarnings("ignore:Implicit dimension choice")
def test_texts_in_the_stock_text_classifier(text_artifact, tmp_path, model_path):
    artifact, payload = Artifact.read(text_artifact), b"a round"  # all its n-grams are known; the stock handler counts others
    assert answer(TextClassifier(), stock.text(artifact, tmp_path / "store"), model_path, payload) == expected(artifact, payload)


def test_an_unknown_word_has_index_0_in_the_stock_vocabulary(text_artifact, tmp_path):
    stock.text(Artifact.read(text_artifact), tmp_path)
    vocabulary = torch.load(tmp_path / "source_vocab.pt", weights_only=True)
    assert (vocabulary["<unk>"], vocabulary["a"], vocabulary["never seen"]) == (0, 1, 0)


def test_sounds_in_a_handler_on_torchserves_base_handler(tmp_path, model_path):
    file = io.BytesIO()
    soundfile.write(file, np.random.default_rng(0).uniform(-0.5, 0.5, 16_000), 16_000, format="WAV")
    payload = file.getvalue()
    artifact = Artifact.read(write(tmp_path / "sounds", MelCNN, AudioTransform(), {"0.wav": payload}))
    found = answer(SoundClassifier(), stock.sound(artifact, tmp_path / "store"), model_path, payload)
    assert {entry["label"]: entry["score"] for entry in found} == expected(artifact, payload)
