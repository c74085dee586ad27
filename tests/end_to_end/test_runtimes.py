"""The digits model behind a real TorchServe with each installed runtime: the answers are those of training."""

import json
import zipfile
from pathlib import Path

import pytest
import yaml

from archive.build import build
from handlers import runtimes
from model_defs.answer_diff import difference
from serving import server
from serving.client import BYTES, Client
from serving.state import StateDir
from tests.bundle import settings_for
from tests.runtimes import each

pytestmark = [pytest.mark.server, pytest.mark.slow]
# A compiler may take minutes on a busy machine. With a batch size of 1 it compiles once.
RECIPE = {"minWorkers": 1, "maxWorkers": 1, "batchSize": 1, "startupTimeout": 900, "deviceType": "cpu"}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runtimes")
    home = StateDir(folder / ".torchserve")
    (folder / "store").mkdir()
    server.start(home, overrides=settings_for(folder / "store"))
    try:
        yield home
    finally:
        server.stop(home)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("runtime", each(runtimes.names()))
def test_digits_are_answered_as_in_training_with_every_runtime(runtime, artifacts, home):
    bundled = yaml.safe_load(Path("archive/recipes/digits.yaml").read_text(encoding="utf-8"))
    recipe = home.folder / f"{runtime}.yaml"
    recipe.write_text(yaml.safe_dump(bundled | RECIPE | {"handler": bundled["handler"] | {"runtime": runtime}}))
    version = f"{runtimes.names().index(runtime) + 1}.0"
    build(artifacts / "digits", recipe, home.folder.parent / "store", version)
    client = Client.of(home)
    client.register("digits", version, home.workers_log)
    with zipfile.ZipFile(artifacts / "digits" / "test.zip") as file:
        for entry in json.loads(file.read("expected.json"))[:40]:
            answer = client.predict("digits", file.read(entry["file"]), BYTES, version)
            assert answer.status_code == 200, answer.text
            assert difference(answer.json(), entry["answer"], 1e-3) is None
