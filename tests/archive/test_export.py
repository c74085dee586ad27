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
from handlers.settings import Settings
from model_defs.artifact import Artifact
from tests.runtimes import RUNTIMES, each, needs

EXPORTED = {name: runtime.precisions for name, runtime in RUNTIMES.items() if runtime.files}
QUANTISING = [name for name, precisions in EXPORTED.items() if "int8" in precisions]


def settings(runtime: str, precision: str = "fp32") -> Settings:
    return Settings(class_path="handlers.vision.ImageClassifier", runtime=runtime, precision=precision)


@pytest.mark.parametrize(
    ("runtime", "precision"),
    [
        pytest.param(name, precision, marks=needs(name))
        for name, precisions in EXPORTED.items()
        for precision in precisions
        if precision in ("fp32", "int8")
    ],
)
@pytest.mark.slow
def test_the_same_network_gives_the_same_bytes_in_another_process(picture_artifact, runtime, precision, tmp_path):
    code = (
        "import sys, msgspec; from pathlib import Path; from archive.export import export;"
        "from handlers.settings import Settings; from model_defs.artifact import Artifact;"
        "export(Artifact.read(sys.argv[1]), msgspec.json.decode(sys.argv[2], type=Settings), Path(sys.argv[3]))"
    )
    made = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        described = msgspec.json.encode(settings(runtime, precision)).decode()
        environment = os.environ | {"PYTHONHASHSEED": str(len(made))}
        done = subprocess.run(
            [sys.executable, "-c", code, picture_artifact, described, folder], capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, done.stderr
        made.append({file.name: file.read_bytes() for file in folder.iterdir()})
    assert made[0] == made[1] and set(made[0]) == set(RUNTIMES[runtime].files)


def test_runtimes_of_torch_need_no_files(picture_artifact, tmp_path):
    staged = tmp_path / "staged"
    staged.mkdir()
    for name in RUNTIMES.keys() - EXPORTED.keys():
        export(Artifact.read(picture_artifact), settings(name), staged)
    assert not list(staged.iterdir())


@pytest.mark.parametrize(("kind", "axes"), [("picture", [{0}]), ("sound", [{0}]), ("text", [{0}, {0}])])
def test_the_axes_that_vary_are_those_that_vary_among_the_samples(kind, axes, request):
    assert varying_axes(Artifact.read(request.getfixturevalue(f"{kind}_artifact"))) == axes


@pytest.mark.parametrize("runtime", each(QUANTISING))
@pytest.mark.parametrize("kind", ["picture", "sound", "text"])
def test_int8_is_close_and_smaller(kind, runtime, request):
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


@pytest.mark.parametrize("runtime", each(QUANTISING))
def test_int8_without_training_inputs_says_where_they_come_from(picture_artifact, runtime, tmp_path):
    (picture_artifact / "calibration.zip").unlink()
    with pytest.raises(ArchiveError, match=r"no calibration\.zip .*make train MODEL=pictures writes it"):
        export(Artifact.read(picture_artifact), settings(runtime, "int8"), tmp_path)


@needs("ncnn")
@pytest.mark.parametrize(
    ("kind", "words"), [("sound", "ncnn has no aten::std_mean"), ("text", "ncnn takes networks of one input of a fixed size")]
)
def test_what_ncnn_has_not_is_refused_with_what_has_it(kind, words, request, tmp_path):
    with pytest.raises(ArchiveError, match=f"{words}.*: take openvino or onnxruntime"):
        export(Artifact.read(request.getfixturevalue(f"{kind}_artifact")), settings("ncnn"), tmp_path)
    assert not list(tmp_path.glob("network.*"))
