"""What a model takes and gives, from its archive: `make describe`. No server is needed, and no code of the archive runs."""

import argparse
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from model_defs.bundle_format import DESCRIPTION
from serving import manifest
from serving.errors import ServerError, UnsafeArchive
from serving.registry import Registry
from serving.state import StateDir
from serving.verify import archive_path, newest, sums

SHOWN = 12  # labels
WIDE, VALUE = 160, 100  # columns of the table in a file; characters of an example


def description(archive: Path) -> dict[str, Any]:
    """The description in an archive, with the archive's file name and its SHA-256 of `SHA256SUMS`.

    Raises:
        ServerError: no such archive, or one of an older bundle, which has no description.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            if DESCRIPTION not in opened.namelist():
                raise ServerError(f"{archive} has no {DESCRIPTION}: an older bundle built it; make archive builds it again")
            found = manifest.read_json(opened, DESCRIPTION, dict[str, Any])
    except (OSError, zipfile.BadZipFile, UnsafeArchive) as error:
        raise ServerError(f"{archive} cannot be described: {error}") from None
    return found | {"archive": archive.name, "sha256": sums(archive.parent).get(archive.name)}


def archive_of(home: StateDir, store: Path, model: str, version: str | None) -> Path:
    """The archive of the version, or of the one that the server answers with, or else of the newest one in the store."""
    if version is None and home.running():
        registry = Registry(home)
        hosted = registry.default_version(model)
        if hosted:
            return registry.hosted_archive(model, hosted)
    return archive_path(store, model, version or newest(store, model), "described")


def metadata(home: StateDir, model: str, version: str | None) -> dict[str, Any]:
    """The Open Inference Protocol's metadata of a version that should be hosted, the default one if none is named.

    Raises:
        ServerError: it should not be hosted, or its archive has no description.
    """
    known = home.registered().get(model)
    version = version or getattr(known, "default", "")
    if version not in getattr(known, "versions", ()):
        raise ServerError(f"no model {model!r} {version}".rstrip() + " should be hosted here")
    return description(archive_path(Path(home.require().model_store), model, version, "described"))["v2"]


def describe(home: StateDir, arguments: argparse.Namespace) -> None:
    """print what a model takes and gives, where it comes from and how good it is; needs no server"""
    found = description(archive_of(home, arguments.store, arguments.model, arguments.version))
    if arguments.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        show(found)


def show(found: dict[str, Any]) -> None:
    """Print the description for people."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in rows(found):
        table.add_row(name, escape(value))
    Console(width=None if sys.stdout.isatty() else WIDE).print(table)


def rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The description's rows: a heading and a text each."""
    labels = found["labels"]
    more = f" and {len(labels) - SHOWN:,} more" if len(labels) > SHOWN else ""
    metrics = ", ".join(f"{name} {value:.4g}" for name, value in found["metrics"].items())
    tensors = [f"{one['name']} {one['datatype']} {one['shape']}" for one in found["v2"]["inputs"]]
    outputs = [f"{one['name']} {one['datatype']} {one['shape']}" for one in found["v2"]["outputs"]]
    return [
        ("model", f"{found['name']} {found['version']}"),
        ("takes", f"{found['accepts']}; {found['how']}"),
        ("input", shortened(found["input"]["example"])),
        ("several", f"at most {found['max_inputs']:,} in one request" + ("" if found["takes_a_list"] else ", by v1 or v2")),
        *(("parameter", line) for line in parameters(found)),
        ("answers", shortened(found["answer"]["example"])),
        ("v2 takes", ", ".join(tensors)),
        ("v2 answers", ", ".join(outputs)),
        ("labels", f"{len(labels):,}: {', '.join(labels[:SHOWN])}{more}" if labels else "none"),
        ("metrics", metrics or "none"),
        ("network", f"{found['network']}, weights {(found['weights_sha256'] or 'none')[:12]}"),
        ("runtime", f"{found['runtime']} {found['precision']}{compared(found['comparison'])}"),
        ("origin", manifest.origin_of(found["data"]) + f", data {shortened(found['data'].get('source', 'unknown'))}"),
        ("archive", f"{found['archive']}, sha256 {found['sha256'] or 'not in SHA256SUMS'}"),
    ]


def parameters(found: dict[str, Any]) -> list[str]:
    """A line per parameter: name, default, and what it does."""
    schema = found["parameters"]
    properties = schema["$defs"][schema["$ref"].rpartition("/")[2]]["properties"]
    return [
        f"{name} = {json.dumps(found['defaults'].get(name))}: {each.get('description', '')}" for name, each in properties.items()
    ]


def compared(comparison: dict[str, Any] | None) -> str:
    if comparison is None:
        return ""
    return (
        f", {comparison['metric']} {comparison['served']:.4f} against {comparison['eager']:.4f} of eager fp32 "
        f"on {comparison['held_out']:,} test inputs"
    )


def shortened(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= VALUE else f"{text[:VALUE]}... ({len(text):,} characters)"
