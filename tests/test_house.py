"""The shape of the project: which package may import which, what comes in pairs, and that the docs know of everything."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import yaml

from handlers.settings import Settings
from tests.unpicklers import unpicklers

PACKAGES = ("model_defs", "train", "importers", "handlers", "archive", "serving", "cluster", "bench")
ALLOWED = {
    "model_defs": set(),
    "train": {"model_defs"},
    "importers": {"model_defs"},
    "handlers": {"model_defs"},
    "archive": {"model_defs", "handlers"},
    "serving": {"model_defs"},
    "cluster": {"model_defs", "serving"},
    "bench": {"model_defs", "handlers", "archive", "serving", "cluster"},
}
OF_THE_ARCHIVE = {"cluster/node/served_model.py": {"handlers"}}  # it imports what the archive brings, not what lies here
COMPARED_WITH = {
    "model_defs.command",
    "model_defs.cpus",
    "model_defs.answer_diff",
    "model_defs.bundle_format",
    "model_defs.errors",
    "model_defs.json_keys",
    "model_defs.metrics",
    "model_defs.yaml_keys",
}  # all that serving may import of it: no torch comes along
TRAINING_ONLY = {"lightning", "torchmetrics", "torchtext", "torchdata", "matplotlib", "sklearn", "tensorboard", "pickle", "shap"}
OWN = Path("model_defs/own")  # networks that `make import` took in, as their owners wrote them
README = Path("README.md")
PAGES = [README, Path("CONTRIBUTING.md"), Path("CHANGELOG.md"), *sorted(Path("docs").glob("*.md"))]
HELD_SINCE = "2026-11-25"  # entries of docs/decisions.md before that day are not held to the rules


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
    found = sorted(module for package in packages for module in Path(package).rglob("*.py"))
    return [module for module in found if module.parent != OWN or module.name == "__init__.py"]


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_down(package):
    others = set(PACKAGES) - ALLOWED[package] - {package}
    wrong = {str(module): imports(module) & others - OF_THE_ARCHIVE.get(str(module), set()) for module in modules(package)}
    assert not {module: names for module, names in wrong.items() if names}


def test_of_the_models_the_servers_side_knows_how_answers_are_compared_and_no_more():
    wrong = {str(module): sources(module) - COMPARED_WITH for module in modules("serving", "cluster")}
    assert not {module: names for module, names in wrong.items() if any(name.startswith("model_defs") for name in names)}
    loaded = "import sys, serving.__main__; print({'torch', 'torchmetrics', 'sklearn'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout.strip() == "set()"


def test_nothing_that_serves_imports_what_only_trains():
    """The metrics are an exception: they are computed after the answers, and only where torchmetrics is installed."""
    wrong = {
        str(module): imports(module) & TRAINING_ONLY
        for module in modules("model_defs", "handlers", "archive", "serving", "cluster")
    }
    assert {module for module, names in wrong.items() if names} == {"model_defs/metrics.py"}
    loaded = "import sys, model_defs.metrics; print({'torchmetrics', 'sklearn'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout.strip() == "set()"


def test_one_file_imports_torchserve():
    assert [str(module) for module in modules("model_defs", "handlers", "archive") if "ts" in imports(module)] == [
        "handlers/torchserve.py"
    ]


def test_one_file_imports_torchtext():
    assert [str(module) for module in modules(*PACKAGES) if "torchtext" in imports(module)] == ["train/data/torchtext_source.py"]


def test_a_node_of_a_cluster_needs_nothing_of_ours_but_its_own_folder():
    """The archive's `handlers` and `model_defs` are the only ones in a replica."""
    ours = {
        str(module): {name for name in sources(module) if not name.startswith("cluster.node")}
        for module in modules("cluster/node")
    }
    tops = {module: {name.partition(".")[0] for name in names} for module, names in ours.items() if names}
    assert tops == OF_THE_ARCHIVE
    assert [str(module) for module in modules(*PACKAGES) if "ray" in imports(module) and "cluster" in str(module)] == [
        "cluster/node/gateway.py",
        "cluster/node/replica.py",
    ]


OUR_OWN_FILES = {("train/fit.py", "torch.load")}  # a checkpoint that this training wrote itself


def test_nothing_is_unpickled():
    found = {(str(module), name) for module in modules(*PACKAGES) for name in unpicklers(module.read_text(encoding="utf-8"))}
    assert found == OUR_OWN_FILES
    for module, name in OUR_OWN_FILES:
        calls = [node for node in ast.walk(ast.parse(Path(module).read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        assert all("weights_only=True" in ast.unparse(call) for call in calls if ast.unparse(call.func) == name)


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("import torch\ntorch.load(\n    file, weights_only=True\n)", "torch.load"),
        ("from torch import load as read\nread(file)", "torch.load"),
        ("import torch.jit as j\nj.load(file)", "torch.jit.load"),
        ("from torch import jit\nopen = jit.load", "torch.jit.load"),
        ("import pickle as p\np.Unpickler(file).load()", "pickle.Unpickler"),
        ("from pickle import loads\nmap(loads, rows)", "pickle.loads"),
        ("from pickle import *\nloads(row)", "pickle.*"),
        ("import joblib\njoblib.load(file)", "joblib.load"),
        ("import numpy as np\nnp.load(file, allow_pickle=True)", "numpy.load"),
        ("import numpy as np\nnp.load(file, **options)", "numpy.load"),
        ("Task.load_from_checkpoint(file)", "Task.load_from_checkpoint"),
    ],
)
def test_what_unpickles_is_found_under_any_name(code, name):
    assert name in unpicklers(code)


@pytest.mark.parametrize("code", ["import safetensors.torch as s\ns.load(x)", "import numpy\nnumpy.load(f, allow_pickle=False)"])
def test_what_reads_plain_data_is_not_found(code):
    assert not unpicklers(code)


def test_every_config_has_its_recipe():
    configs = {config.stem for config in Path("train/configs").glob("*.yaml")}
    assert configs <= {recipe.stem for recipe in Path("archive/recipes").glob("*.yaml")}  # an imported model has no config


@pytest.mark.parametrize("module", modules(*PACKAGES), ids=str)
def test_a_module_says_what_it_is_and_is_read_in_one_sitting(module):
    text = module.read_text(encoding="utf-8")
    assert module.name == "__init__.py" or ast.get_docstring(ast.parse(text)), "no docstring"
    assert len(text.splitlines()) <= 300


def test_every_setting_of_a_recipe_is_documented():
    documented = Path("docs/recipes.md").read_text(encoding="utf-8")
    missing = [field.name for field in msgspec.structs.fields(Settings) if f"| `{field.name}` |" not in documented]
    assert not missing


# --- the docs

SUFFIXES = (".py", ".md", ".yaml", ".csv", ".txt", ".nft")  # of file names such as train.csv, which are no modules
TEST = re.compile(r"def (test_\w+)")


def lines_held(page: Path) -> list[str]:
    """The page's lines, without old entries of the log, which stay as they are."""
    lines = page.read_text(encoding="utf-8").splitlines()
    if page.name != "decisions.md":
        return lines
    entries = [index for index, line in enumerate(lines) if line.startswith("## ") and line[3:13] >= HELD_SINCE]
    return lines[entries[0] :] if entries else []


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def is_defined(name: str) -> bool:
    """Whether a dotted name is one of our modules or packages, or a name at the top of one."""
    path = Path(name.replace(".", "/"))
    if path.is_dir() or path.with_suffix(".py").is_file():
        return True
    module = path.parent.with_suffix(".py")
    if not module.is_file():
        return False
    body = ast.parse(module.read_text(encoding="utf-8")).body
    targets = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
    return path.name in {getattr(node, "name", None) for node in body} | {getattr(target, "id", None) for target in targets}


def test_the_readme_is_at_most_150_lines_long():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_no_line_of_the_docs_is_wider_than_120_columns(page):
    assert not [line for line in lines_held(page) if len(line) > 120]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_the_docs_have_the_usual_words(page):
    text = "\n".join(lines_held(page))
    if page.name == "style.md":
        text = re.sub(r"(?m)^\|.*", "", text)  # its table of words
    text = re.sub(r"(?ms)^```.*?^```|^>.*?$|`[^`]*`", "", text)
    assert not re.findall(r"\b(?:anew|beside|likewise|but\s+for|knows\s+nothing\s+of)\b", text, re.I)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_to_files_and_headings_that_exist(page):
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        is_page = target.is_file() and target.suffix != ".png"
        headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.M) if is_page else []
        if not target.exists() or (anchor and anchor not in map(slug, headings)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_what_the_docs_name_exists(page):
    text = "\n".join(lines_held(page))
    if page.name == "CHANGELOG.md":
        text = re.sub(r"(?m)^\| [^|]* \|", "|", text)  # the old names
    new = set(re.findall(r"^\*\*`([^`]+)`\*\*$", text, re.M))  # files that the tutorial writes
    text = re.sub(r"(?ms)^```python.*?^```", "", text)  # the tutorial's code has a test of its own
    packages = "|".join(PACKAGES)
    names = {name for name in re.findall(rf"\b(?:{packages})(?:\.\w+)+", text) if not name.endswith(SUFFIXES)}
    names = {name for name in names if not name.startswith(tuple(file[:-3].replace("/", ".") for file in new))}
    paths = set(re.findall(rf"`((?:{packages}|tests|docs|requirements)/[\w./-]*)`", text)) - new
    tests = set(re.findall(r"`(test_\w+)`", text))
    assert not {name for name in names if not is_defined(name)}
    assert not {path for path in paths if not Path(path).exists()}
    assert not tests - {name for file in Path("tests").rglob("*.py") for name in TEST.findall(file.read_text(encoding="utf-8"))}


def test_the_page_of_targets_is_what_the_makefile_says():
    command = ["awk", "-v", "markdown=1", "-f", "docs/targets.awk", "Makefile"]
    page = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert Path("docs/targets.md").read_text(encoding="utf-8") == page, "make docs writes it"


def test_every_task_has_its_row():
    rows = set(re.findall(r"^\| `([a-z-]+)` \|", Path("docs/tasks.md").read_text(encoding="utf-8"), re.M))
    assert set(yaml.safe_load(Path("train/tasks.yaml").read_text(encoding="utf-8"))) <= rows


def test_every_page_is_in_the_index():
    index = Path("docs/README.md").read_text(encoding="utf-8")
    assert not [page.name for page in Path("docs").glob("*.md") if page.name != "README.md" and f"({page.name})" not in index]
