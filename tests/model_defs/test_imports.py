"""model_defs/imports.py: which modules and packages a class needs."""

from pathlib import Path

import pytest

from model_defs.imports import distributions, imports, modules, third_party


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("import os, torch.nn as nn", {"os", "torch.nn"}),
        ("from PIL import Image", {"PIL", "PIL.Image"}),
        ("def f():\n    import captum", {"captum"}),
        ("try:\n    import fast\nexcept ImportError:\n    import slow", {"fast", "slow"}),
        ("from . import near", {"handlers.explain", "handlers.explain.near"}),
        ("from .. import base", {"handlers", "handlers.base"}),
        ("from ..text import read", {"handlers.text", "handlers.text.read"}),
        ("if TYPE_CHECKING:\n    import torchvision\nelse:\n    import os", {"os"}),
        ("if typing.TYPE_CHECKING:\n    import torchvision", set()),
        ("if first:\n    import one\nelif second:\n    import two", {"one", "two"}),
    ],
)
def test_imports_are_found_wherever_they_stand(code, names):
    assert imports(code.encode(), "handlers.explain") == names


@pytest.fixture
def project(tmp_path) -> Path:
    files = {
        "handlers/__init__.py": "",
        "handlers/text.py": "from handlers import explain\nfrom model_defs.text import Words\n",
        "handlers/explain/__init__.py": "def f():\n    from handlers.explain.words import g\n",
        "handlers/explain/words.py": "import captum\nfrom . import marks\n",
        "handlers/explain/marks.py": "import train.data\n",
        "handlers/audio.py": "import soundfile\n",
        "model_defs/__init__.py": "",
        "model_defs/text.py": "from model_defs.text import itself\nimport torch\n",
        "train/data.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_modules_are_followed_through_packages_and_functions(project):
    found = modules(["handlers.text"], project=project)
    assert list(found) == [
        "handlers", "handlers.explain", "handlers.explain.marks", "handlers.explain.words", "handlers.text",
        "model_defs", "model_defs.text",
    ]  # fmt: skip
    assert found["handlers.explain"] == project / "handlers/explain/__init__.py"
    assert found["model_defs.text"] == project / "model_defs/text.py"


def test_other_packages_are_followed_only_where_they_are_named(project):
    assert "train.data" in modules(["handlers.text"], within=("handlers", "train"), project=project)


def test_what_is_no_module_is_left_out(project):
    assert modules(["handlers.nothing", "nothing.here"], project=project) == {}


def test_third_party_packages_are_neither_pythons_nor_the_bundles():
    assert third_party({"os.path", "torch.nn", "handlers.text", "PIL"}) == {"torch", "PIL"}


def test_a_package_comes_from_its_distribution():
    assert distributions("PIL") == {"pillow"} and distributions("yaml") == {"pyyaml"}
    assert distributions("a_package_that_nobody_has") == set()
