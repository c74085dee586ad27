"""Which modules a class needs, and which packages these import: read from the source, so the answer is the same everywhere.

No module is run, so it does not matter what else is installed or imported.
"""

import ast
import re
import sys
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path

from model_defs.bundle_format import CODE

PROJECT = Path(__file__).parents[1]


class Imports(ast.NodeVisitor):
    """Collects the dotted names that one module imports, inside functions too, except under `if TYPE_CHECKING:`.

    Args:
        package: the module's own package, for relative imports.
    """

    def __init__(self, package: str):
        self.package, self.names = package, set[str]()

    def visit_Import(self, node: ast.Import) -> None:
        self.names |= {alias.name for alias in node.names}

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        above = self.package.split(".")[: self.package.count(".") + 2 - node.level] if node.level else []
        source = ".".join([*above, *([node.module] if node.module else [])])
        self.names |= {source, *(f"{source}.{alias.name}" for alias in node.names)}  # a name may be a module of the package

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for statement in node.orelse:
                self.visit(statement)
        else:
            self.generic_visit(node)


def imports(code: bytes, package: str = "") -> set[str]:
    """The dotted names that a module imports; see `Imports`."""
    visitor = Imports(package)
    visitor.visit(ast.parse(code))
    return visitor.names


def modules(roots: Iterable[str], within: tuple[str, ...] = CODE, project: Path = PROJECT) -> dict[str, Path]:
    """The modules that `roots` reach by imports, themselves included: from the dotted name to the file, sorted.

    Args:
        roots: dotted names of modules.
        within: the top-level packages to follow.
        project: the folder that holds these packages.
    """
    found, waiting = {}, set(roots)
    while waiting:
        name = waiting.pop()
        file = file_of(name, project) if name.partition(".")[0] in within else None
        if name in found or file is None:
            continue
        found[name] = file
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        waiting |= imports(file.read_bytes(), package) | {name.rpartition(".")[0]}  # Python runs the package's own file first
    return dict(sorted(found.items()))


def file_of(name: str, project: Path) -> Path | None:
    """The file of a module or of a package; None if there is no such module."""
    path = project.joinpath(*name.split("."))
    candidates = (path.with_name(f"{path.name}.py"), path / "__init__.py")
    return next((file for file in candidates if file.is_file()), None)


def third_party(names: Iterable[str]) -> set[str]:
    """The top-level packages of these dotted names, without Python's own and without those that an archive holds."""
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {*CODE}


@cache
def distributions(package: str) -> frozenset[str]:
    """The installed distributions that a top-level package comes from, by their normalised names (PEP 503); empty if there is
    none."""
    names = metadata.packages_distributions().get(package, ())
    return frozenset(re.sub(r"[-_.]+", "-", name).lower() for name in names)
