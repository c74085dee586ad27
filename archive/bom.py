"""The bill of materials in an archive: which model it is, each file with its digest, each library that the packed code needs.

CycloneDX 1.6, without a time and with a serial number made of what it says: the same archive beside the same libraries
gives the same bytes. Reads the code, never runs it; knows nothing of how an archive is packed or tried out.
"""

import ast
import hashlib
import json
import sys
import uuid
import zipfile
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FILE = "bom.cdx.json"  # at the archive's root
WORKER = {"torchserve", "pyyaml"}  # what TorchServe's worker needs whatever it serves; its wheel does not ask for YAML


def add(archive: Path, name: str, version: str) -> None:
    """Add the bill, as the last entry, to an archive that is otherwise whole."""
    with zipfile.ZipFile(archive, "a") as file:
        digests, imported = {}, set()
        for entry in file.namelist():
            content = file.read(entry)
            digests[entry] = hashlib.sha256(content).hexdigest()
            if entry.endswith(".py"):
                imported |= imports(content)
        direct = distributions(imported) | WORKER
        written = bill(name, version, json.loads(file.read("model.json")), digests, direct, libraries(direct))
        entry = zipfile.ZipInfo(FILE)  # which dates it to 1980
        entry.external_attr = 0o644 << 16
        file.writestr(entry, written)


def bill(
    name: str, version: str, model: dict[str, Any], digests: dict[str, str], direct: set[str], needed: dict[str, set[str]]
) -> bytes:
    """The bill as JSON.

    Args:
        model: `model.json`.
        digests: the SHA-256 of each file by its name.
        direct: the libraries that the code itself imports.
        needed: these and what they require; see `libraries`.
    """
    architecture = {"modelArchitecture": model["network"]["class_path"], "datasets": [dataset(model["data"])]}
    metrics = [{"type": metric, "value": str(value)} for metric, value in model["metrics"].items()]
    purls = {library: purl(library) for library in sorted(needed)}
    whole = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "machine-learning-model",
                "bom-ref": "model",
                "name": name,
                "version": version,
                "modelCard": {"modelParameters": architecture, "quantitativeAnalysis": {"performanceMetrics": metrics}},
            }
        },
        "components": [
            {"type": "file", "bom-ref": f"file:{file}", "name": file, "hashes": [{"alg": "SHA-256", "content": digest}]}
            for file, digest in sorted(digests.items())
        ]
        + [
            {"type": "library", "bom-ref": ref, "name": library, "version": version_of(library), "purl": ref}
            for library, ref in purls.items()
        ],
        "dependencies": [{"ref": "model", "dependsOn": sorted(purls[library] for library in direct if library in purls)}]
        + [{"ref": ref, "dependsOn": sorted(purls[other] for other in needed[library])} for library, ref in purls.items()],
    }
    number = uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(whole, sort_keys=True))
    return json.dumps({"serialNumber": f"urn:uuid:{number}"} | whole, indent=1, ensure_ascii=False).encode()


def dataset(data: dict[str, Any]) -> dict[str, Any]:
    """What the model was trained with, as `model.json` says it: the source, the fingerprint, the examples in each split."""
    counts = {f"examples:{split}": count for split, count in data.get("examples", {}).items()}
    facts = {"sha256": data.get("sha256", "unknown")} | counts
    properties = [{"name": name, "value": str(value)} for name, value in facts.items()]
    return {"type": "dataset", "name": data.get("source", "unknown"), "contents": {"properties": properties}}


def imports(code: bytes) -> set[str]:
    """The top-level names that a module imports, anywhere in it, but for Python's own."""
    nodes = list(ast.walk(ast.parse(code)))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    whole = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {name.partition(".")[0] for name in plain | whole} - sys.stdlib_module_names


def distributions(modules: Iterable[str]) -> set[str]:
    """What pip installed these modules from; the archive's own packages, and what is not there, come from nothing."""
    known = metadata.packages_distributions()
    return {canonicalize_name(distribution) for module in modules for distribution in known.get(module, ())}


def libraries(roots: Iterable[str]) -> dict[str, set[str]]:
    """These distributions and all that they require on this machine and Python -> what each requires itself.

    One that is required but not installed is left out: the samples were answered without it.
    """
    needed: dict[str, set[str]] = {}
    waiting, seen = [(root, "") for root in roots], set()
    while waiting:
        library, extra = waiting.pop()
        if (library, extra) in seen or not version_of(library):
            continue
        seen.add((library, extra))
        needed.setdefault(library, set())
        for requirement in map(Requirement, metadata.requires(library) or ()):
            other = canonicalize_name(requirement.name)
            if version_of(other) and (requirement.marker is None or requirement.marker.evaluate({"extra": extra})):
                needed[library].add(other)
                waiting += [(other, chosen) for chosen in ("", *requirement.extras)]
    return needed


@cache
def version_of(library: str) -> str | None:
    """The version that is installed, if one is."""
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def purl(library: str) -> str:
    return f"pkg:pypi/{library}@{version_of(library).replace('+', '%2B')}"
