"""archive/build.py: the same inputs give the same bytes, nothing in them is a pickle, and what would not serve is refused."""

import hashlib
import json
import os
import pickletools
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from archive.build import ArchiveError, build, record
from handlers.base import WrongAnswer
from model_defs.bundle_format import SUMS, SumsError

RECIPE = Path("archive/recipes/digits.yaml")


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


def test_the_same_inputs_give_the_same_bytes(picture_artifact, tmp_path):
    first = build(picture_artifact, RECIPE, tmp_path / "one")
    for file in picture_artifact.rglob("*"):
        os.utime(file, (1, 1))  # only their times differ
    second = build(picture_artifact, RECIPE, tmp_path / "two")
    assert first.read_bytes() == second.read_bytes()


def test_an_archive_holds_model_code_and_complete_recipe_and_no_report(picture_artifact, store):
    with zipfile.ZipFile(build(picture_artifact, RECIPE, store)) as archive:
        names = set(archive.namelist())
        manifest = json.loads(archive.read("MAR-INF/MANIFEST.json"))
        assert yaml.safe_load(archive.read("model-config.yaml")) == {
            "minWorkers": 1, "maxWorkers": 2, "batchSize": 8, "maxBatchDelay": 1, "responseTimeout": 30, "startupTimeout": 120,
            "deviceType": "gpu", "handler": {"runtime": "eager", "class_path": "handlers.vision.ImageClassifier"},
        }  # fmt: skip
    assert {"torchserve.py", "model.json", "weights.safetensors", "samples/expected.json"} <= names
    assert {"handlers/base.py", "model_defs/vision.py"} <= names
    assert not {name for name in names if name.startswith("report/") or name == "test.zip"}
    assert manifest["model"]["handler"] == "torchserve.py" and manifest["model"]["modelVersion"] == "1.0"


def test_nothing_in_an_archive_is_a_pickle(picture_artifact, store):
    def is_pickle(content: bytes) -> bool:
        try:
            return sum(1 for _ in pickletools.genops(content)) > 1
        except Exception:
            return False

    assert is_pickle(__import__("pickle").dumps({"a": 1}))  # the test can tell
    with zipfile.ZipFile(build(picture_artifact, RECIPE, store)) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            assert not is_pickle(content), name
            assert not zipfile.is_zipfile(archive.open(name)), f"{name} is a zip, as torch.save writes"


def test_the_sums_are_those_of_the_files(picture_artifact, store):
    build(picture_artifact, RECIPE, store, "1.0")
    build(picture_artifact, RECIPE, store, "2.0")
    lines = dict(reversed(line.split()) for line in (store / SUMS).read_text().splitlines())
    assert set(lines) == {"pictures-1.0.mar", "pictures-2.0.mar"}
    for name, digest in lines.items():
        assert hashlib.sha256((store / name).read_bytes()).hexdigest() == digest
    subprocess.run(["sha256sum", "--check", "--quiet", SUMS], cwd=store, check=True)


@pytest.mark.slow
def test_several_builds_at_once_do_not_meet(picture_artifact, store):
    """Two of one model and one of another version, each in a process of its own."""
    code = "import sys; from pathlib import Path; from archive.build import build; build(*map(Path, sys.argv[1:4]), sys.argv[4])"
    running = [
        subprocess.Popen([sys.executable, "-c", code, picture_artifact, RECIPE, store, version], stderr=subprocess.PIPE)
        for version in ("1.0", "1.0", "2.0")
    ]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
    subprocess.run(["sha256sum", "--check", "--quiet", SUMS], cwd=store, check=True)
    assert sorted(file.name for file in store.iterdir()) == [SUMS, "pictures-1.0.mar", "pictures-2.0.mar"]


def test_weights_that_answer_differently_leave_the_old_archive(picture_artifact, store):
    old = build(picture_artifact, RECIPE, store).read_bytes()
    expected = picture_artifact / "samples" / "expected.json"
    samples = json.loads(expected.read_text())
    samples[0]["answer"][0]["score"] -= 0.01
    expected.write_text(json.dumps(samples))
    with pytest.raises(WrongAnswer, match="training says"):
        build(picture_artifact, RECIPE, store)
    assert (store / "pictures-1.0.mar").read_bytes() == old


def test_a_malformed_line_of_the_sums_is_named_before_anything_is_built(picture_artifact, store):
    store.mkdir()
    (store / SUMS).write_text("\n")
    with pytest.raises(SumsError, match="SHA256SUMS:1: no SHA-256 and file name"):
        build(picture_artifact, RECIPE, store)
    assert [file.name for file in store.iterdir()] == [SUMS]


@pytest.mark.parametrize("name", ["tokens", "default", "my-model"])
def test_a_name_under_which_nothing_could_be_served_is_refused(name, store, tmp_path):
    with pytest.raises(ArchiveError, match=f"^'{name}': .* such as my_"):
        build(tmp_path / name, RECIPE, store)


READ = """
import sys
from pathlib import Path
lengths = set()
while not Path(sys.argv[2]).exists():
    lengths.add(len(Path(sys.argv[1]).read_bytes().splitlines()))
print(*sorted(lengths))
"""


def test_whoever_reads_the_sums_meanwhile_sees_all_of_them(store, tmp_path):
    store.mkdir()
    for number in range(100):
        (store / f"m{number}-1.0.mar").write_bytes(b"%d" % number)
        record(store / f"m{number}-1.0.mar")
    command = [sys.executable, "-c", READ, store / SUMS, tmp_path / "done"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        for _ in range(200):
            record(store / "m7-1.0.mar")
        (tmp_path / "done").touch()
        assert reader.communicate(timeout=60)[0] == "100\n"


def test_no_artifact_says_what_makes_one(store, tmp_path):
    with pytest.raises(ArchiveError, match="make train MODEL=nothing"):
        build(tmp_path / "nothing", RECIPE, store)
