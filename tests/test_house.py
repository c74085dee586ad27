"""The shape of the project: which package may import which, what comes in pairs, and that the docs know of everything."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from handlers.settings import Settings

PACKAGES = ("model_defs", "train", "handlers", "archive", "serving", "bench")
ALLOWED = {
    "model_defs": set(),
    "train": {"model_defs"},
    "handlers": {"model_defs"},
    "archive": {"model_defs", "handlers"},
    "serving": {"model_defs"},
    "bench": {"model_defs", "handlers", "archive", "serving"},
}
COMPARED_WITH = {
    "model_defs.answer_diff",
    "model_defs.bundle_format",
    "model_defs.errors",
    "model_defs.metrics",
}  # all that serving may import of it: no torch comes along
TRAINING_ONLY = {"lightning", "torchmetrics", "torchtext", "torchdata", "matplotlib", "sklearn", "tensorboard", "pickle"}
README = Path("README.md")


def imports(module: Path) -> set[str]:
    """The top-level names that a module imports, anywhere in it."""
    nodes = list(ast.walk(ast.parse(module.read_text(encoding="utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    relative = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {name.partition(".")[0] for name in plain | relative}


def sources(module: Path) -> set[str]:
    """The dotted names of what a module takes from ours."""
    nodes = ast.walk(ast.parse(module.read_text(encoding="utf-8")))
    return {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] in PACKAGES}


def modules(*packages: str) -> list[Path]:
    return sorted(module for package in packages for module in Path(package).rglob("*.py"))


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_down(package):
    wrong = {str(module): imports(module) & (set(PACKAGES) - ALLOWED[package] - {package}) for module in modules(package)}
    assert not {module: names for module, names in wrong.items() if names}


def test_of_the_models_the_servers_side_knows_how_answers_are_compared_and_no_more():
    wrong = {str(module): sources(module) - COMPARED_WITH for module in modules("serving")}
    assert not {module: names for module, names in wrong.items() if any(name.startswith("model_defs") for name in names)}
    loaded = "import sys, serving.__main__; print({'torch', 'torchmetrics', 'sklearn'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout.strip() == "set()"


def test_nothing_that_serves_imports_what_only_trains():
    """The metrics are an exception: they are computed after the answers, and only where torchmetrics is installed."""
    wrong = {str(module): imports(module) & TRAINING_ONLY for module in modules("model_defs", "handlers", "archive", "serving")}
    assert {module for module, names in wrong.items() if names} == {"model_defs/metrics.py"}
    loaded = "import sys, model_defs.metrics; print({'torchmetrics', 'sklearn'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout.strip() == "set()"


def test_one_file_knows_torchserve():
    assert [str(module) for module in modules("model_defs", "handlers", "archive") if "ts" in imports(module)] == [
        "handlers/torchserve.py"
    ]


def test_no_file_that_serves_imports_torchtext():
    assert [str(module) for module in modules(*PACKAGES) if "torchtext" in imports(module)] == [
        "bench/eager.py",  # as others serve
        "bench/stock/__init__.py",  # TorchServe's own handler wants its vocabulary
        "train/data/text.py",
    ]


def test_nothing_is_unpickled():
    loads = [
        (str(module), call)
        for module in modules(*PACKAGES)
        for call in re.findall(r"(?<!safetensors\.)torch\.load\([^\n]*", module.read_text(encoding="utf-8"))
        if "weights_only=True" not in call
    ]
    assert not loads


def test_every_config_has_its_recipe():
    configs = {config.stem for config in Path("train/configs").glob("*.yaml")}
    assert configs == {recipe.stem for recipe in Path("archive/recipes").glob("*.yaml")} - {"default"}


@pytest.mark.parametrize("module", modules(*PACKAGES), ids=str)
def test_a_module_says_what_it_is_and_is_read_in_one_sitting(module):
    text = module.read_text(encoding="utf-8")
    assert module.name == "__init__.py" or ast.get_docstring(ast.parse(text)), "no docstring"
    assert len(text.splitlines()) <= 300


def test_every_setting_of_a_recipe_is_documented():
    documented = Path("docs/recipes.md").read_text(encoding="utf-8")
    missing = [field.name for field in msgspec.structs.fields(Settings) if f"| `{field.name}` |" not in documented]
    assert not missing


def test_every_make_target_is_in_the_readme_and_every_one_there_exists():
    targets = set(re.findall(r"^([a-z-]+):.*## ", Path("Makefile").read_text(encoding="utf-8"), re.M))
    told = set(re.findall(r"^\| `make ([a-z-]+)", README.read_text(encoding="utf-8"), re.M))
    assert targets - {"help"} == told
