"""The commands of `python -m serving`, each a function of the same name. `explain` has a module of its own.

Each takes the state directory and the parsed arguments, and returns the exit status; None is 0. Its docstring is its help text.
"""

import argparse
import json
import os
import re
import shlex
import sys
from datetime import datetime
from pathlib import Path

import requests
from rich.console import Console
from rich.table import Table

from model_defs.bundle_format import TOLERANCE
from serving import foreground, manifest, processes, server
from serving.client import BYTES, TYPES, Client
from serving.errors import ServerError
from serving.evaluate import evaluate as evaluate_test_set
from serving.proof import tolerance_of
from serving.registry import Registry
from serving.state import HEADERS, StateDir
from serving.verify import archives_of
from serving.verify import verify as verify_archive

TEXT, JSON = TYPES[".txt"], TYPES[".json"]
SHOWN = 300  # characters of an answer
WIDE = 160  # columns of a table that goes into a file
PROBING = 10  # seconds for an answer, to find out whether a model is ready
NOT_RUNNING = 3  # the exit status of `status`, the same as systemctl's


# --- the server


def start(home: StateDir, arguments: argparse.Namespace) -> int | None:
    """start the server, host the models, send each one real input"""
    if arguments.foreground:
        return foreground.stay(home, lambda: host_and_try(home, arguments))
    return host_and_try(home, arguments)


def host_and_try(home: StateDir, arguments: argparse.Namespace) -> int | None:
    """`start` without its option to stay in front."""
    if failed := host(home, arguments.config, arguments.set, arguments.models, arguments.version):
        return failed
    registry, asked = Registry(home), arguments.version
    for model in arguments.models:
        default = registry.default_version(model)
        if asked and default != asked:
            print(f"\n{model} {default} still answers where a request names no version; make promote changes that")
        if not (arguments.artifacts / model).is_dir():  # an archive from elsewhere, which has answered its own samples
            continue
        print()
        failed |= bool(send(home, model, *sample(arguments.artifacts, model), version=asked if default != asked else None))
    return 1 if failed else None


def host(home: StateDir, file: Path, changes: list[str], models: list[str], version: str | None = None) -> int:
    """Start the server, unless it runs, and host the models. Returns the exit status.

    Args:
        file, changes: TorchServe's settings, and the `KEY=VALUE`s that differ.
        version: of each model; the default one, or the newest archive, if left out.
    """
    was_running = home.running() is not None
    for change in server.not_applied(home, file, changes) if was_running else ():
        print(f"not applied: {change}; the server runs already, make stop first", file=sys.stderr)
    running = server.start(home, file, changes)
    print(f"the server {'runs already' if was_running else 'is up'}: {running.inference} (pid {running.pid})", flush=True)
    registry, failed = Registry(home), 0
    if not was_running:
        for fault in registry.restore():
            failed = 1
            print(f"not hosted again: {fault}", file=sys.stderr)
    chosen = {model: [version or registry.default_version(model) or registry.newest(model)] for model in models}
    for model, (wanted,) in chosen.items():  # from now on the server is ready only with all of them
        registry.want(model, wanted)
    for model, hosted, error in registry.host_all(chosen):
        failed |= error is not None
        print(f"error: {error}" if error else f"{model} {hosted} is ready", file=sys.stderr if error else sys.stdout, flush=True)
    with home.lock("tokens"):
        home.admit()
    return failed


def stop(home: StateDir, arguments: argparse.Namespace) -> None:
    """let the server answer what it has taken in, then stop it"""
    print("the server has stopped" if server.stop(home) else "no server runs here")


def status(home: StateDir, arguments: argparse.Namespace) -> int | None:
    """print the models of the running server; 0 if every worker is ready and answers a sample as in training"""
    running = home.running()
    if running is None:
        print("no server runs here; start one with: make serve")
        return NOT_RUNNING
    columns = "model version workers ready private_memory since device batch delay queue archive origin"
    table = Table(*(name.replace("_", " ") for name in columns.split()))
    registry, notes = Registry(home, patience=PROBING, retrying=0), []
    faults = registry.missing()
    known = home.registered()
    for model in registry.client.models():
        if model["modelVersion"] not in getattr(known.get(model["modelName"]), "versions", ()):
            notes.append(f"{model['modelName']} {model['modelVersion']} was not hosted by make: a restart does not bring it back")
        workers, queue = model["workers"], model["jobQueueStatus"]
        ready = sum(worker["status"] == "READY" for worker in workers)
        waiting = queue["pendingRequests"]
        fault = registry.fault(model["modelName"], model["modelVersion"])
        faults += [fault] if fault else []
        table.add_row(
            model["modelName"],
            model["modelVersion"] + (" (default)" if model.get("defaultVersion") else ""),
            f"{ready} of {model['minWorkers']} ready",
            "no" if fault else "yes",
            ", ".join(processes.private_memory(worker["pid"]) for worker in workers),
            ", ".join(time_of_day(worker["startTime"]) for worker in workers),
            "gpu" if any(worker["gpu"] for worker in workers) else "cpu",
            str(model["batchSize"]),
            f"{model['maxBatchDelay']} ms",
            f"{waiting} of {waiting + queue['remainingCapacity']}",
            model["modelUrl"],
            manifest.origin(registry.store / Path(model["modelUrl"]).name),
        )
    print(f"{running.inference} (pid {running.pid}); management {running.management}")
    if running.monitor:
        print(f"{running.monitor}/ready and {running.monitor}/metrics")
    show(table)
    if not table.rows and not faults:
        faults = ["no model is hosted; make serve hosts the three starters, make register MODEL=... another"]
    for note in notes:
        print(note)
    for fault in faults:
        print(f"not ready: {fault}", file=sys.stderr)
    return 1 if faults else None


def time_of_day(moment: str) -> str:
    """When a worker was started, for example `19:41:02`, from the moment as TorchServe writes it, in UTC."""
    return datetime.fromisoformat(moment).astimezone().strftime("%H:%M:%S")


def rotate_tokens(home: StateDir, arguments: argparse.Namespace) -> None:
    """let the running server make new tokens, and refuse the old ones from then on"""
    home.require()
    with home.lock("tokens"):
        is_admitted = home.hold_back()
        try:
            for name in HEADERS:
                Client.of(home).rotate(name)
                home.write_headers()
        finally:
            if is_admitted:
                home.admit()
    print(f"new tokens are in {home.folder}/*.header; the old ones are refused from now on, the models serve on")


# --- its models


def register(home: StateDir, arguments: argparse.Namespace) -> None:
    """host a model's archive, next to other versions of it"""
    registry = Registry(home)
    version = arguments.version or registry.newest(arguments.model)
    registry.host(arguments.model, version)
    print(f"{arguments.model} {version} is ready")


def unregister(home: StateDir, arguments: argparse.Namespace) -> None:
    """end a model, or one version of it"""
    registry = Registry(home)
    default = registry.default_version(arguments.model)
    # The default version is the last: TorchServe refuses to end it while there are others.
    known = getattr(home.registered().get(arguments.model), "versions", {})
    versions = sorted(registry.hosted_versions(arguments.model) | {*known}, key=lambda version: version == default)
    for version in [arguments.version] if arguments.version else versions:
        registry.drop(arguments.model, version)
        print(f"{arguments.model} {version} is no longer hosted")
    if not versions:
        raise ServerError(f"{arguments.model} is not hosted; make status lists what is")


def promote(home: StateDir, arguments: argparse.Namespace) -> None:
    """make a version the default once it has answered its samples as in training"""
    registry = Registry(home)
    version = arguments.version or registry.newest(arguments.model)
    before = registry.promote(arguments.model, version)
    print(f"{arguments.model} {version} answers now" + (f"; {before} has ended, make rollback brings it back" if before else ""))


def rollback(home: StateDir, arguments: argparse.Namespace) -> None:
    """promote the version before the last promotion"""
    version, before = Registry(home).rollback(arguments.model)
    print(f"{arguments.model} {version} answers again; {before} has ended")


def scale(home: StateDir, arguments: argparse.Namespace) -> None:
    """change a model's number of workers"""
    version = Registry(home).scale(arguments.model, arguments.workers, arguments.version)
    print(f"{arguments.model} {version} has {arguments.workers} workers")


def verify(home: StateDir, arguments: argparse.Namespace) -> int | None:
    """check archives, or the whole model store; needs no server"""
    store = arguments.store
    chosen = [archive if archive.exists() else store / archive.name for archive in arguments.archives] or archives_of(store)
    if not chosen:
        raise ServerError(f"no archives in {store}/; make archive makes some")
    table, faults = Table("archive", "version", "size", "SHA-256", "origin", "trained with", "built by", "verdict"), []
    for archive in chosen:
        try:
            verified = verify_archive(archive)
            row = verified.sha256[:12], verified.origin, verified.data[:12] or "-", verified.bundle or "-", "good"
        except ServerError as error:
            faults.append(error)
            row = "-", "-", "-", "-", "bad"
        model, _, version = archive.stem.rpartition("-")
        size = f"{archive.stat().st_size / 1e6:.1f} MB" if archive.exists() else "-"
        table.add_row(model, version, size, *row)
    show(table)
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    return 1 if faults else None


def show(table: Table) -> None:
    Console(width=None if sys.stdout.isatty() else WIDE).print(table)


# --- requests to its models


def predict(home: StateDir, arguments: argparse.Namespace) -> int | None:
    """send one input: a file, a text, or by default a sample of the artifact"""
    return send(home, arguments.model, *chosen_input(arguments), version=arguments.version)


def chosen_input(arguments: argparse.Namespace) -> tuple[Path | str, str]:
    """The input that a command names, a file or a text, or a sample of the artifact; and its content type."""
    if arguments.input is None:
        return sample(arguments.artifacts, arguments.model)
    if os.path.isfile(arguments.input):  # Path.is_file() raises if a text is longer than a file name may be
        return Path(arguments.input), TYPES.get(Path(arguments.input).suffix.lower(), BYTES)
    if os.path.isdir(arguments.input):
        raise ServerError(f"{arguments.input} is a folder; give one file, or a text")
    is_path = "/" in arguments.input and os.path.isdir(os.path.dirname(arguments.input))
    if (is_path or re.search(r"\.\w{2,4}$", arguments.input)) and " " not in arguments.input:
        raise ServerError(f"{arguments.input}: no such file")
    return arguments.input, TEXT


def sample(artifacts: Path, model: str) -> tuple[Path, str]:
    """The artifact's first sample and its content type."""
    folder = artifacts / model / "samples"
    try:
        file = folder / json.loads((folder / "expected.json").read_bytes())[0]["file"]
    except FileNotFoundError:
        raise ServerError(f"{folder}: no samples; give a file or a text, or make train MODEL={model}") from None
    return file, TYPES.get(file.suffix, BYTES)


def send(home: StateDir, model: str, given: Path | str, content_type: str, version: str | None = None) -> int | None:
    """Send a file or a text; print the curl command that does the same, and the answer. Returns 1 if it was refused."""
    client = Client.of(home)
    body = given.read_bytes() if isinstance(given, Path) else given.encode()
    data = f"-T {shlex.quote(str(given))}" if isinstance(given, Path) else f"--data-raw {shlex.quote(given)}"
    type_header = "" if content_type == BYTES else f"-H 'Content-Type: {content_type}' "
    certificate = f"--cacert {shlex.quote(str(from_here(home.certificate)))} " if client.server.certificate else ""
    header = shlex.quote(f"@{from_here(home.header('inference'))}")
    token = f"-H {header} " if client.keys else ""
    url = client.url(model, version)
    proxy = "--noproxy '*' " if requests.utils.get_environ_proxies(url) else ""  # curl would ask it for this machine's own server
    print(f"$ curl {proxy}{certificate}{token}{type_header}{data} {url}")
    answer = client.predict(model, body, content_type, version)
    print(answer.text if len(answer.text) <= SHOWN or not sys.stdout.isatty() else f"{answer.text[:SHOWN]} ...")
    return None if answer.status_code == requests.codes.ok else 1


def from_here(path: Path) -> Path:
    """The path from the working folder, if it lies in it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def evaluate(home: StateDir, arguments: argparse.Namespace) -> int | None:
    """send the whole test set, and compare each answer with the one found in training"""
    test_set = arguments.artifacts / arguments.model / "test.zip"
    registry = Registry(home)
    version = arguments.version or registry.default_version(arguments.model)
    tolerance = tolerance_of(registry.hosted_archive(arguments.model, version)) if version else TOLERANCE
    figures = evaluate_test_set(
        home, arguments.model, test_set, arguments.clients, arguments.version, tolerance, arguments.protocol
    )
    print(f"{arguments.model}: {figures}")
    return 1 if figures.disagreements else None
