"""Tell make which Python files an archive depends on, as `gcc -MD` does: `model_store/.deps/<archive>.d`, for the Makefile."""

import zipfile
from pathlib import Path

import yaml

from archive.export import exporter
from archive.recipe_schema import ENTRY
from model_defs.bundle_format import CODE, RECIPE
from model_defs.imports import PROJECT, modules

FOLDER = ".deps"  # in the store


def write(archive: Path) -> Path:
    """Write the rule: the archive depends on the modules that it holds, and on those that packed it."""
    with zipfile.ZipFile(archive) as file:
        held = [Path(name) for name in file.namelist() if name.startswith(tuple(f"{folder}/" for folder in CODE))]
        runtime = yaml.safe_load(file.read(RECIPE))["handler"].get("runtime", "")
    packing = modules({"archive.__main__", exporter(runtime)}, within=("archive",)).values()
    code = sorted({f"handlers/{ENTRY}.py", *map(str, held), *(str(file.relative_to(PROJECT)) for file in packing)})
    # A rule without a recipe for each file lets make go on when a file was renamed: the archive is built again.
    lines = [f"{archive}: {' '.join(code)}", *(f"{file}:" for file in code)]
    rule = archive.parent / FOLDER / f"{archive.stem}.d"
    rule.parent.mkdir(exist_ok=True)
    rule.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return rule
