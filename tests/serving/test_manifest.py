"""serving/manifest.py: what the bundle's own files in an archive say must be so.

Each test changes a real archive and signs it anew.
"""

import json
import zipfile
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from archive import bom
from archive.build import build
from handlers.settings import Settings
from model_defs.vision import ImageTransform, SmallCNN
from serving.state import ServerError
from serving.verify import verify
from tests.conftest import png, write
from tests.serving.conftest import sign

RECIPE, SCHEMA, MANIFEST = "model-config.yaml", "model-config.schema.json", "MAR-INF/MANIFEST.json"


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("papers")
    artifact = write(folder / "digits", SmallCNN, ImageTransform(size=16), {f"{seed}.png": png(seed) for seed in range(2)})
    return build(artifact, Path("archive/recipes/digits.yaml"), folder / "store", "2.0")


@pytest.fixture
def complaint(built, tmp_path):
    """What the archive with these entries changed (None: left out) is refused with, without its folder."""

    def complain(changes: dict[str, bytes | str | None], new_bill: bool = True) -> str:
        changed = tmp_path / built.name
        with zipfile.ZipFile(built) as old, zipfile.ZipFile(changed, "w") as new:
            entries = {name: old.read(name) for name in old.namelist() if not (new_bill and name == bom.FILE)} | changes
            for name, content in entries.items():
                if content is not None:
                    entry = zipfile.ZipInfo(name)
                    entry.external_attr = 0o644 << 16
                    new.writestr(entry, content)
        if new_bill:
            bom.add(changed, "digits", "2.0")
        sign(changed)
        with pytest.raises(ServerError) as caught:
            verify(changed)
        return str(caught.value).replace(f"{tmp_path}/", "")

    return complain


@pytest.fixture
def recipe(built):
    with zipfile.ZipFile(built) as file:
        return yaml.safe_load(file.read(RECIPE))


@pytest.fixture
def manifest(built):
    with zipfile.ZipFile(built) as file:
        return json.loads(file.read(MANIFEST))


def test_an_archive_of_this_bundle_is_trusted(built):
    assert len(verify(built).sha256) == 64


# --- the recipe and what the packed code takes


def test_a_setting_that_the_packed_code_does_not_know(complaint, recipe):
    recipe["handler"]["precison"] = "bf16"
    assert complaint({RECIPE: yaml.safe_dump(recipe)}) == (
        "digits-2.0.mar: model-config.yaml: handler: unknown key 'precison'; this archive's code knows: "
        + ", ".join(Settings.__struct_fields__)
    )


def test_a_runtime_that_only_newer_code_has(complaint, recipe):
    recipe["handler"]["runtime"] = "quantum"
    assert complaint({RECIPE: yaml.safe_dump(recipe)}).startswith(
        "digits-2.0.mar: model-config.yaml: handler: runtime: 'quantum'; this archive's code knows: "
    )


def test_a_handler_that_the_packed_code_has_not(complaint, recipe):
    recipe["handler"]["class_path"] = "handlers.vision.Detector"
    said = complaint({RECIPE: yaml.safe_dump(recipe)})
    assert "handler: class_path: 'handlers.vision.Detector'; this archive's code knows: " in said
    assert "handlers.vision.ImageClassifier" in said


def test_an_argument_that_the_handler_does_not_take(complaint, recipe):
    recipe["handler"]["init_args"] = {"threshold": 0.5}
    assert "handler: init_args: unknown key 'threshold'; this archive's code knows: none" in complaint(
        {RECIPE: yaml.safe_dump(recipe)}
    )


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("handler", "threads"), "4", "handler: threads: '4' is not of type 'integer'"),
        (("handler", "decoders"), 65, "handler: decoders: 65 is greater than the maximum of 64"),
        (("batchSize",), True, "batchSize: True is not of type 'integer'"),
        (("batchSize",), None, "batchSize: None is not of type 'integer'"),
        (("maxBatchDelay",), 0, "maxBatchDelay: 0 is less than the minimum of 1"),
        (("jobQueuesize",), 9, "unknown key 'jobQueuesize'"),
    ],
)
def test_a_value_that_torchserve_would_take_its_default_for(complaint, recipe, path, value, said):
    section = recipe if len(path) == 1 else recipe[path[0]]
    section[path[-1]] = value
    assert complaint({RECIPE: yaml.safe_dump(recipe)}).startswith(f"digits-2.0.mar: model-config.yaml: {said}")


@pytest.mark.parametrize("key", ["handler", "responseTimeout"])
def test_a_key_that_is_missing(complaint, recipe, key):
    del recipe[key]
    assert complaint({RECIPE: yaml.safe_dump(recipe)}) == (f"digits-2.0.mar: model-config.yaml: '{key}' is a required property")


BOMB = "a: &a [x, x]\n" + "".join(f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in pairwise("abcdefghi"))


@pytest.mark.parametrize("text", ["", "- 1", "words", "a: [", "[" * 2_000, "[" * 50_000, b"\xff\xfe\xfd", BOMB], ids=range(8))
def test_a_recipe_that_is_none(complaint, text):
    assert complaint({RECIPE: text}).startswith("digits-2.0.mar: model-config.yaml: ")


@pytest.mark.parametrize(
    "schema",
    ["[]", "{", '{"type": "nothing"}', '{"$ref": "http://127.0.0.1:9/schema"}', '{"$ref": "#"}', "[" * 50_000],
    ids=range(6),
)
def test_a_schema_that_is_none_or_elsewhere(complaint, schema):
    said = complaint({SCHEMA: schema})
    assert said.startswith(("digits-2.0.mar: model-config.schema.json: ", "digits-2.0.mar: model-config.yaml: cannot be checked"))


@pytest.mark.parametrize("name", [SCHEMA, bom.FILE])
def test_an_archive_of_an_older_bundle_says_what_to_do(complaint, name):
    assert complaint({name: None}, new_bill=False) == (
        f"digits-2.0.mar: no {name} in it: it was built by bundle 0.2.0 or by something else; remove it and build it anew: "
        "make archive MODEL=digits VERSION=2.0"
    )


def test_an_archive_of_the_first_bundle_does_not_say_its_version(complaint, manifest):
    del manifest["bundleVersion"]
    said = complaint({SCHEMA: None, MANIFEST: json.dumps(manifest)})
    assert "it was built by an older bundle or by something else" in said


# --- the bill of materials


def test_a_file_that_is_not_the_one_listed(complaint):
    assert "'handlers/base.py' is not the file that bom.cdx.json lists" in complaint({"handlers/base.py": "pass"}, new_bill=False)


def test_a_file_that_is_not_listed(complaint):
    assert "'handlers/evil.py' is not in bom.cdx.json" in complaint({"handlers/evil.py": "pass"}, new_bill=False)


def test_a_listed_file_that_is_not_there(complaint):
    assert "'handlers/log.py' is in bom.cdx.json, but not there" in complaint({"handlers/log.py": None}, new_bill=False)


@pytest.mark.parametrize("bill", [b"", b"{}", b'{"components": [{"type": "file"}]}', b"\xff"])
def test_a_bill_that_is_none(complaint, bill):
    assert complaint({bom.FILE: bill}, new_bill=False).startswith("digits-2.0.mar: bom.cdx.json: ")


# --- the rest


@pytest.mark.parametrize("name", ["sitecustomize.py", "torch/__init__.py", "samples/evil.py", "json.py"])
def test_code_that_python_would_find_before_its_own(complaint, name):
    assert f"{name!r} is code outside handlers and model_defs" in complaint({name: "pass"})


@pytest.mark.parametrize("name", ["image_classifier", "../torchserve.py"])
def test_a_handler_that_is_not_in_the_archive(complaint, manifest, name):
    manifest["model"]["handler"] = name
    said = complaint({MANIFEST: json.dumps(manifest), "torchserve.py": None})
    assert f"names the handler {name!r}, which is not there" in said


def test_a_recipe_that_is_not_in_the_archive(complaint, manifest):
    manifest["model"]["configFile"] = "../../other.yaml"
    assert "no ../../other.yaml in it" in complaint({MANIFEST: json.dumps(manifest)})


def test_a_manifest_that_would_install_packages(complaint, manifest):
    manifest["model"]["requirementsFile"] = "requirements.txt"
    assert "unknown field `requirementsFile`" in complaint({MANIFEST: json.dumps(manifest)})


def test_samples_that_are_not_there(complaint):
    assert "samples/expected.json names '0.png', which is not there" in complaint({"samples/0.png": None})
    assert "samples/expected.json is empty" in complaint({"samples/expected.json": "[]"})
    assert "no samples/expected.json in it" in complaint({"samples/expected.json": None})


def test_a_paper_too_long_to_be_read(complaint):
    assert "samples/expected.json: longer than 16,384 KiB" in complaint({"samples/expected.json": b" " * (17 << 20)})
