"""All three modalities behind a real TorchServe, with untrained networks: what today's torch must do without the training set."""

from pathlib import Path

import pytest

from archive.build import build
from serving import server
from serving.client import BYTES, TYPES, Client
from serving.config import free_ports
from serving.state import StateDir

pytestmark = pytest.mark.server


def test_pictures_sounds_and_texts_are_served(picture_artifact, sound_artifact, text_artifact, tmp_path):
    recipes = {picture_artifact: "digits", sound_artifact: "sounds", text_artifact: "intents"}
    home, store = StateDir(tmp_path / ".torchserve"), tmp_path / "store"
    server.start(home, overrides=[*free_ports(), f"model_store={store}"])
    try:
        client = Client.of(home)
        for artifact, recipe in recipes.items():
            build(artifact, Path(f"archive/recipes/{recipe}.yaml"), store)
            client.register(artifact.name, "1.0", home.workers_log)
            for file in sorted((artifact / "samples").glob("[0-9]*")):
                for api in ("predictions", "explanations"):
                    answer = client.predict(artifact.name, file.read_bytes(), TYPES.get(file.suffix, BYTES), api=api)
                    assert answer.status_code == 200, answer.text
            assert 400 <= client.predict(artifact.name, b"").status_code < 500
    finally:
        server.stop(home)
