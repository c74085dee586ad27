"""serving/describe.py and serving/openapi.py: what archives say of their models, for people and for tools."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from archive.build import build
from serving.describe import description
from serving.errors import ServerError
from serving.openapi import document
from tests.serving.conftest import archive as echo_archive


@pytest.fixture
def store(picture_artifact, text_artifact, tmp_path) -> Path:
    """A store with a model of pictures, in two versions, and one of texts."""
    store = tmp_path / "store"
    for artifact, recipe, version in [
        (picture_artifact, "digits", "1.0"),
        (picture_artifact, "digits", "1.10"),
        (text_artifact, "intents", "1.0"),
    ]:
        whole = yaml.safe_load(Path(f"archive/recipes/{recipe}.yaml").read_text())
        whole["handler"] = {"class_path": whole["handler"]["class_path"]}  # the eager network
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(whole))
        build(artifact, tmp_path / "recipe.yaml", store, version)
    return store


def run(*command: str | Path, home: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "serving", *command, "--home", home], capture_output=True, text=True, check=False
    )


def test_the_newest_version_is_described_without_a_server(store, tmp_path):
    done = run("describe", "pictures", "--store", store, home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    for said in ("pictures 1.10", "a picture", "top_k = 5", "circle, square, star", "scores FP32", "eager fp32"):
        assert said in done.stdout


def test_as_json_it_is_what_the_archive_holds_and_its_digest(store, tmp_path):
    done = run("describe", "texts", "--store", store, "--json", home=tmp_path / "home")
    found = json.loads(done.stdout)
    with zipfile.ZipFile(store / "texts-1.0.mar") as opened:
        held = json.loads(opened.read("description.json"))
    digest = dict(reversed(line.split()) for line in (store / "SHA256SUMS").read_text().splitlines())["texts-1.0.mar"]
    assert found == held | {"archive": "texts-1.0.mar", "sha256": digest}


def test_what_cannot_be_described_is_said_in_one_line(store, tmp_path):
    echo_archive(tmp_path, store, "echo")
    (store / "damaged-1.0.mar").write_bytes(b"PK")
    for model, version, said in [
        ("echo", "1.0", "has no description.json: an older bundle built it; make archive builds it again"),
        ("damaged", "1.0", "cannot be described"),
        ("nothing", None, "no archive of 'nothing'"),
    ]:
        wanted = ["--version", version] if version else []
        done = run("describe", model, "--store", store, *wanted, home=tmp_path / "home")
        assert done.returncode == 1 and said in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


def test_a_description_that_is_no_object_is_refused(tmp_path):
    file = tmp_path / "x-1.0.mar"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("description.json", "[]")
    with pytest.raises(ServerError, match="cannot be described"):
        description(file)


def test_one_openapi_document_has_the_newest_version_of_every_model(store, tmp_path):
    done = run("openapi", "--store", store, "--output", tmp_path / "api.json", home=tmp_path / "home")
    assert done.returncode == 0 and "pictures 1.10, texts 1.0" in done.stdout, done.stderr
    found = json.loads((tmp_path / "api.json").read_text())
    assert found["openapi"] == "3.1.0"
    assert {path.replace("pictures", "M") for path in found["paths"] if "texts" not in path} == {
        "/ping", "/invocations", "/predictions/M", "/explanations/M", "/v1/models/M:predict", "/v1/models/M:explain",
        "/v2/models/M/infer",
    }  # fmt: skip
    content = found["paths"]["/predictions/pictures"]["post"]["requestBody"]["content"]
    assert {"image/*", "application/json", "application/octet-stream", "multipart/form-data"} == content.keys()


def test_every_reference_leads_to_a_schema(store):
    whole = document([description(store / "pictures-1.10.mar"), description(store / "texts-1.0.mar")], "/")
    references = {line.split('"')[3] for line in json.dumps(whole, indent=1).splitlines() if '"$ref"' in line}
    assert references and all(name.rpartition("/")[2] in whole["components"]["schemas"] for name in references)


def test_without_archives_there_is_nothing_to_write(tmp_path):
    done = run("openapi", "--store", tmp_path, "--output", tmp_path / "api.json", home=tmp_path / "home")
    assert done.returncode == 1 and "make archive makes some" in done.stderr
