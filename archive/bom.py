"""The bill of materials in an archive: which model it is, each file with its digest, each library that the packed code imports.

CycloneDX 1.6, without a time and with a serial number computed from its content: the same archive and the same versions of its
libraries give the same bytes. The packed code is read, never run.
"""

import hashlib
import json
import tomllib
import uuid
import zipfile
from collections.abc import Collection, Iterable
from functools import cache
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from archive.errors import ArchiveError
from model_defs.bundle_format import BILL as FILE
from model_defs.bundle_format import MODEL
from model_defs.imports import PROJECT, distributions, imports, third_party

PYPROJECT = PROJECT / "pyproject.toml"
OLD_CODE = PurePosixPath("model_defs/own")  # where the code of an old archive lies, in a folder of its own
WORKER = {"torchserve", "pyyaml"}  # what TorchServe's worker needs, whatever it serves; its wheel does not require YAML


def add(archive: Path, name: str, version: str) -> None:
    """Add the bill, as the last entry, to an archive that is otherwise complete.

    Raises:
        ArchiveError: the packed code imports a package that is not installed.
    """
    with zipfile.ZipFile(archive, "a") as file:
        digests, direct = {}, set(WORKER)
        for entry in file.namelist():
            content = file.read(entry)
            digests[entry] = hashlib.sha256(content).hexdigest()
            if entry.endswith(".py"):
                direct |= imported(entry, content, siblings(entry, file.namelist()))
        written = bill(name, version, json.loads(file.read(MODEL)), digests, direct, libraries(direct))
        info = zipfile.ZipInfo(FILE)  # ZipInfo's default date is 1980
        info.external_attr = 0o644 << 16
        file.writestr(info, written)


def siblings(entry: str, names: list[str]) -> set[str]:
    """The modules that lie next to a module of an old archive, whose code finds them without a package."""
    own = PurePosixPath(entry)
    if not own.is_relative_to(OLD_CODE) or own.parent == OLD_CODE:
        return set()
    root = PurePosixPath(*own.parts[: len(OLD_CODE.parts) + 1])
    inside = [PurePosixPath(name).relative_to(root) for name in names if PurePosixPath(name).is_relative_to(root)]
    return {path.parts[0].removesuffix(".py") for path in inside}


def imported(entry: str, code: bytes, known_modules: Collection[str] = ()) -> set[str]:
    """The distributions that a packed module imports.

    Args:
        known_modules: top-level modules that the archive holds itself.

    Raises:
        ArchiveError: one is not installed. It is not left out: the bill must not depend on what else is installed.
    """
    found: set[str] = set()
    for package in third_party(imports(code)) - {*known_modules}:
        known = distributions(package)
        if not known:
            raise ArchiveError(
                f"{entry} imports {package}, which is not installed: install it, or move what needs it into a module of its own"
            )
        found |= known
    return found


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
            "tools": {"components": [{"type": "application", "name": bundle()["name"], "version": bundle_version()}]},
            "component": {
                "type": "machine-learning-model",
                "bom-ref": "model",
                "name": name,
                "version": version,
                "modelCard": {"modelParameters": architecture, "quantitativeAnalysis": {"performanceMetrics": metrics}},
            },
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
    serial = uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(whole, sort_keys=True))
    return json.dumps({"serialNumber": f"urn:uuid:{serial}"} | whole, indent=1, ensure_ascii=False).encode()


def dataset(data: dict[str, Any]) -> dict[str, Any]:
    """What the model was trained with, from `model.json`: the source, the fingerprint, the number of examples per split."""
    counts = {f"examples:{split}": count for split, count in data.get("examples", {}).items()}
    facts = {"sha256": data.get("sha256", "unknown")} | counts
    properties = [{"name": name, "value": str(value)} for name, value in facts.items()]
    return {"type": "dataset", "name": data.get("source", "unknown"), "contents": {"properties": properties}}


def libraries(roots: Iterable[str]) -> dict[str, set[str]]:
    """These distributions and all that they require on this machine -> what each requires itself.

    A requirement of an extra counts only if somebody asks for that extra. A requirement that is not installed is left out: the
    samples were answered without it.
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
    """The installed version; None if the library is not installed."""
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def purl(library: str) -> str:
    """The library's package URL: github.com/package-url/purl-spec."""
    return f"pkg:pypi/{library}@{version_of(library).replace('+', '%2B')}"


@cache
def bundle() -> dict[str, Any]:
    """The `[project]` section of the bundle's own `pyproject.toml`."""
    return tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]


def bundle_version() -> str:
    """The bundle's version, without the commit: a commit that changes nothing in an archive must not change its bytes."""
    return bundle()["version"]
