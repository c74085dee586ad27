"""archive/export.py: the same network gives the same file, axes vary where samples do, and int8 sees training inputs."""

import os
import subprocess
import sys

import msgspec
import numpy as np
import pytest

from archive.errors import ArchiveError
from archive.export import export, varying_axes
from handlers import runtimes
from handlers.runtimes import RUNTIMES
from handlers.settings import Settings
from model_defs.artifact import Artifact
from tests.runtimes import INSTALLED, missing

EXPORTED = [name for name, runtime in RUNTIMES.items() if runtime.files]


def settings(runtime: str, precision: str = "fp32") -> Settings:
    return Settings(class_path="handlers.vision.ImageClassifier", runtime=runtime, precision=precision)


@pytest.fixture(params=EXPORTED)
def runtime(request) -> str:
    if request.param not in INSTALLED:
        pytest.skip(missing(request.param))
    return request.param


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_same_network_gives_the_same_bytes_in_another_process(picture_artifact, runtime, precision, tmp_path):
    if precision == "int8":
        pytest.importorskip("onnxruntime", reason=missing("onnxruntime"))
    code = (
        "import sys, msgspec; from pathlib import Path; from archive.export import export;"
        "from handlers.settings import Settings; from model_defs.artifact import Artifact;"
        "export(Artifact.read(sys.argv[1]), msgspec.json.decode(sys.argv[2], type=Settings), Path(sys.argv[3]))"
    )
    made = []
    for place in (tmp_path / "one", tmp_path / "two"):
        place.mkdir()
        described = msgspec.json.encode(settings(runtime, precision)).decode()
        environment = os.environ | {"PYTHONHASHSEED": str(len(made))}
        done = subprocess.run(
            [sys.executable, "-c", code, picture_artifact, described, place], capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, done.stderr
        made.append({file.name: file.read_bytes() for file in place.iterdir()})
    assert made[0] == made[1] and set(made[0]) == set(RUNTIMES[runtime].files)


def test_runtimes_of_torch_need_no_files(picture_artifact, tmp_path):
    for name in set(RUNTIMES) - set(EXPORTED):
        export(Artifact.read(picture_artifact), settings(name), tmp_path / "nowhere")


@pytest.mark.parametrize(("kind", "axes"), [("picture", [{0}]), ("sound", [{0}]), ("text", [{0}, {0}])])
def test_the_axes_that_vary_are_those_that_vary_among_the_samples(kind, axes, request):
    assert varying_axes(Artifact.read(request.getfixturevalue(f"{kind}_artifact"))) == axes


@pytest.mark.parametrize("kind", ["picture", "sound", "text"])
def test_int8_is_close_and_smaller(kind, runtime, request):
    pytest.importorskip("onnxruntime", reason=missing("onnxruntime"))
    read = Artifact.read(request.getfixturevalue(f"{kind}_artifact"))
    exact, sizes = None, []
    for precision in ("fp32", "int8"):
        export(read, settings(runtime, precision), read.folder)
        outputs = runtimes.load(read, settings(runtime, precision), "cpu", 1)(read.example()).softmax(-1).numpy()
        exact = outputs if exact is None else exact
        sizes.append(sum((read.folder / file).stat().st_size for file in RUNTIMES[runtime].files))
    assert np.abs(outputs - exact).max() < 0.05
    if kind == "picture":
        assert not np.array_equal(outputs, exact) and sizes[1] < 0.7 * sizes[0]


def test_int8_without_training_inputs_says_where_they_come_from(picture_artifact, runtime, tmp_path):
    (picture_artifact / "calibration.zip").unlink()
    with pytest.raises(ArchiveError, match=r"no calibration\.zip .*make train MODEL=pictures writes it"):
        export(Artifact.read(picture_artifact), settings(runtime, "int8"), tmp_path)
