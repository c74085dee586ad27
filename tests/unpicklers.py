"""Find in Python code what could run code that a file holds: pickle, torch.load, TorchScript and the like."""

import ast

UNSAFE = (  # a module stands for everything in it
    *("pickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "torch.package"),
    *("torch.load", "torch.serialization.load", "torch.jit.load", "torch.jit._load", "torch.hub.load", "torch.export.load"),
    *("torch.hub.load_state_dict_from_url", "torch.utils.model_zoo.load_url", "pandas.read_pickle"),
)
UNSAFE_METHODS = {"load_from_checkpoint"}
NUMPY = {"numpy.load", "numpy.lib.format.read_array"}  # unsafe with allow_pickle


def unpicklers(code: str) -> set[str]:
    """The dotted names of what could unpickle, under whatever names the code imports it."""
    nodes = list(ast.walk(ast.parse(code)))
    imported: dict[str, str] = {}  # name in the code -> dotted name
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:  # `import a.b` binds a, `import a.b as c` binds c
                package = alias.name.partition(".")[0]
                imported[alias.asname or package] = alias.name if alias.asname else package
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    used = {dotted(node, imported) for node in nodes if isinstance(node, ast.Attribute | ast.Name)} | {*imported.values()}
    found = {name for name in used if is_unsafe(name)}
    return found | {dotted(node.func, imported) for node in nodes if isinstance(node, ast.Call) and reads_objects(node, imported)}


def dotted(node: ast.AST, imported: dict[str, str]) -> str:
    """The whole name of `a.b.c`; "?" in front of what is not a plain name."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value, imported)}.{node.attr}"
    return imported.get(node.id, node.id) if isinstance(node, ast.Name) else "?"


def is_unsafe(name: str) -> bool:
    return any(f"{name}.".startswith(f"{unsafe}.") for unsafe in UNSAFE) or name.rpartition(".")[2] in UNSAFE_METHODS


def reads_objects(call: ast.Call, imported: dict[str, str]) -> bool:
    """Whether it is numpy's `load` with `allow_pickle`, or with `**options`, which may hold it."""
    pickling = (keyword for keyword in call.keywords if keyword.arg in (None, "allow_pickle"))
    is_false = lambda node: isinstance(node, ast.Constant) and node.value is False  # noqa: E731
    return dotted(call.func, imported) in NUMPY and any(not is_false(keyword.value) for keyword in pickling)
