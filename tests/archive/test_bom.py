"""archive/bom.py: what lies in an archive and what its code needs, as CycloneDX."""

import hashlib
import json
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from archive.bom import FILE, add, libraries
from archive.build import build
from archive.errors import ArchiveError
from model_defs.bundle_format import MANIFEST
from model_defs.vision import ImageTransform, SmallCNN
from tests.conftest import png, write

RECIPE = Path("archive/recipes/digits.yaml")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """An archive of a model that was trained with known data."""
    folder = tmp_path_factory.mktemp("bom")
    artifact = write(folder / "pictures", SmallCNN, ImageTransform(size=16), {"0.png": png(0)})
    model = artifact / "model.json"
    facts = json.loads(model.read_text()) | {
        "data": {"source": "Shapes", "sha256": "5" * 64, "examples": {"train": 30, "test": 10}},
        "metrics": {"accuracy": 0.9},
    }
    model.write_text(json.dumps(facts))
    with zipfile.ZipFile(build(artifact, RECIPE, folder / "store", "1.2")) as archive:
        yield archive


@pytest.fixture
def bill(built):
    return json.loads(built.read(FILE))


def test_it_is_strict_cyclonedx(built):
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    text = built.read(FILE).decode()
    assert validator.validate_str(text) is None
    assert validator.validate_str(text.replace('"library"', '"librery"', 1)) is not None  # the test can tell


def test_every_other_file_is_there_with_its_digest(built, bill):
    listed = {part["name"]: part["hashes"][0]["content"] for part in bill["components"] if part["type"] == "file"}
    there = {name: hashlib.sha256(built.read(name)).hexdigest() for name in built.namelist() if name != FILE}
    assert listed == there and len(listed) > 20


def test_it_says_which_model_trained_with_what_and_how_good(bill):
    model = bill["metadata"]["component"]
    assert (model["type"], model["name"], model["version"]) == ("machine-learning-model", "pictures", "1.2")
    card = model["modelCard"]
    (dataset,) = card["modelParameters"]["datasets"]
    assert card["modelParameters"]["modelArchitecture"] == "model_defs.vision.SmallCNN"
    assert dataset["name"] == "Shapes" and {"name": "sha256", "value": "5" * 64} in dataset["contents"]["properties"]
    assert card["quantitativeAnalysis"]["performanceMetrics"] == [{"type": "accuracy", "value": "0.9"}]


def test_the_libraries_are_the_imported_ones_and_their_requirements(bill):
    listed = {part["name"]: part for part in bill["components"] if part["type"] == "library"}
    assert {"torch", "pillow", "msgspec", "safetensors", "torchserve", "pyyaml"} <= set(listed)
    assert {"jinja2", "markupsafe"} <= set(listed)  # of torch, and of that
    assert not {"lightning", "pytest", "rich", "tensorboard"} & set(listed)
    assert listed["torch"]["version"] == metadata.version("torch")
    assert listed["torch"]["purl"] == f"pkg:pypi/torch@{metadata.version('torch').replace('+', '%2B')}"


def test_every_dependency_is_listed_itself(bill):
    refs = {part["bom-ref"] for part in bill["components"]} | {"model"}
    assert all({entry["ref"], *entry["dependsOn"]} <= refs for entry in bill["dependencies"])
    (model,) = (entry["dependsOn"] for entry in bill["dependencies"] if entry["ref"] == "model")
    assert {"torch", "pyyaml"} <= {ref.partition("@")[0].removeprefix("pkg:pypi/") for ref in model}
    assert not any("jinja2" in ref for ref in model)  # torch needs it, the archive does not name it
    (jinja,) = (entry for entry in bill["dependencies"] if entry["ref"].startswith("pkg:pypi/jinja2@"))
    assert [ref.partition("@")[0] for ref in jinja["dependsOn"]] == ["pkg:pypi/markupsafe"]


def test_requirements_of_other_machines_and_unused_extras_are_left_out():
    needed = libraries({"jsonargparse"})
    assert set(libraries({"pytest"})["pytest"]) >= {"pluggy", "iniconfig"}
    assert "colorama" not in libraries({"pytest"})  # on Windows only
    assert "docstring-parser" not in needed["jsonargparse"]  # of its extra `signatures`


def test_it_says_which_bundle_made_the_archive(bill, built):
    version = tomllib.loads(Path("pyproject.toml").read_text())["project"]["version"]
    assert bill["metadata"]["tools"]["components"] == [{"type": "application", "name": "torchserve-bundle", "version": version}]
    assert json.loads(built.read(MANIFEST))["bundleVersion"] == version


def test_code_that_imports_what_is_not_installed_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a-1.0.mar", "w") as file:
        file.writestr("handlers/a.py", "def f():\n    import a_package_that_nobody_has\n")
    with pytest.raises(ArchiveError, match=r"handlers/a\.py imports a_package_that_nobody_has, which is not installed"):
        add(tmp_path / "a-1.0.mar", "a", "1.0")
