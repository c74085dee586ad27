"""The server's life on the command line.

    python -m serving start digits sounds intents      start the server, host these models, send each one real input
    python -m serving status
    python -m serving predict digits picture.png
    python -m serving evaluate digits --clients 16
    python -m serving verify                           check the archives of the model store; needs no server
    python -m serving stop

Each command takes --help. Knows nothing of how a model is made.
"""

import argparse
import json
import os
import re
import shlex
import sys
from pathlib import Path

import requests
from rich.console import Console
from rich.table import Table

from model_defs.bundle_format import TOLERANCE
from serving import config, server
from serving.client import BYTES, TYPES, Client
from serving.evaluate import evaluate
from serving.registry import Registry
from serving.state import FOLDER, HEADERS, ServerError, StateDir
from serving.verify import archives_of, audit

TEXT = TYPES[".txt"]
SHOWN = 300  # characters of an answer
WIDE = 160  # columns of a table that goes into a file
PROBING = 10  # seconds for an answer, where the question is whether a model is ready
NOT_RUNNING = 3  # the exit status of `status`, as systemctl has it


def main() -> None:
    arguments = parser().parse_args()
    home = StateDir(arguments.home)
    try:
        sys.exit(arguments.run(home, arguments))
    except ServerError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


# --- the server


def start(home: StateDir, arguments: argparse.Namespace) -> int | None:
    """start the server, host the models, send each one real input"""
    was_running = home.running() is not None
    running = server.start(home, arguments.config, arguments.set)
    print(f"the server {'runs already' if was_running else 'is up'}: {running.inference} (pid {running.pid})", flush=True)
    hosting = Registry(home)
    if not was_running:
        for lost in hosting.restore():
            print(f"not hosted again: {lost}", file=sys.stderr)
    for model in arguments.models:
        version = hosting.default_version(model) or hosting.newest(model)
        hosting.host(model, version)
        print(f"{model} {version} is ready", flush=True)
    home.admit()
    refused = False
    for model in arguments.models:
        print()
        refused |= bool(show(home, model, *sample(arguments.artifacts, model)))
    return 1 if refused else None


def stop(home: StateDir, arguments: argparse.Namespace) -> None:
    """let the server finish what it has taken in, then stop it"""
    print("the server has stopped" if server.stop(home) else "no server runs here")


def status(home: StateDir, arguments: argparse.Namespace) -> int | None:
    """print the models of the running server; 0 if every worker is ready and answers a sample as in training"""
    running = home.running()
    if running is None:
        print("no server runs here; start one with: make serve")
        return NOT_RUNNING
    table = Table("model", "version", "workers", "ready", "device", "batch", "delay", "queue", "archive")
    hosting, faults = Registry(home, patience=PROBING, retrying=0), []
    for model in hosting.client.models():
        workers, queue = model["workers"], model["jobQueueStatus"]
        ready = sum(worker["status"] == "READY" for worker in workers)
        waiting = queue["pendingRequests"]
        fault = hosting.fault(model["modelName"], model["modelVersion"])
        faults += [fault] if fault else []
        table.add_row(
            model["modelName"],
            model["modelVersion"] + (" (default)" if model.get("defaultVersion") else ""),
            f"{ready} of {model['minWorkers']} ready",
            "no" if fault else "yes",
            "gpu" if any(worker["gpu"] for worker in workers) else "cpu",
            str(model["batchSize"]),
            f"{model['maxBatchDelay']} ms",
            f"{waiting} of {waiting + queue['remainingCapacity']}",
            model["modelUrl"],
        )
    print(f"{running.inference} (pid {running.pid}); management {running.management}; metrics {running.metrics}/metrics")
    Console(width=None if sys.stdout.isatty() else WIDE).print(table)
    for fault in faults:
        print(f"not ready: {fault}", file=sys.stderr)
    return 1 if faults else None


def rotate_tokens(home: StateDir, arguments: argparse.Namespace) -> None:
    """let the running server make new tokens, and refuse the old ones from then on"""
    is_admitted = home.hold_back()
    for name in HEADERS:
        Client.of(home).rotate(name)
        home.write_headers()
    if is_admitted:
        home.admit()
    print(f"new tokens are in {home.folder}/*.header; the old ones are refused from now on, the models serve on")


# --- its models


def register(home: StateDir, arguments: argparse.Namespace) -> None:
    """host a model's archive, beside other versions of it"""
    hosting = Registry(home)
    version = arguments.version or hosting.newest(arguments.model)
    hosting.host(arguments.model, version)
    print(f"{arguments.model} {version} is ready")


def unregister(home: StateDir, arguments: argparse.Namespace) -> None:
    """host a model, or one version of it, no longer"""
    hosting = Registry(home)
    default = hosting.default_version(arguments.model)
    # The default one last: TorchServe keeps it while others are there.
    every = sorted(hosting.hosted_versions(arguments.model), key=lambda version: version == default)
    for version in [arguments.version] if arguments.version else every:
        hosting.drop(arguments.model, version)
        print(f"{arguments.model} {version} is no longer hosted")
    if not every:
        print(f"{arguments.model} is not hosted")


def promote(home: StateDir, arguments: argparse.Namespace) -> None:
    """let a version answer from now on, once it has answered its samples as in training"""
    hosting = Registry(home)
    version = arguments.version or hosting.newest(arguments.model)
    before = hosting.promote(arguments.model, version)
    print(f"{arguments.model} {version} answers now" + (f"; {before} has ended, make rollback brings it back" if before else ""))


def rollback(home: StateDir, arguments: argparse.Namespace) -> None:
    """let the version before the last promotion answer again"""
    version, before = Registry(home).rollback(arguments.model)
    print(f"{arguments.model} {version} answers again; {before} has ended")


def scale(home: StateDir, arguments: argparse.Namespace) -> None:
    """change a model's number of workers"""
    version = Client.of(home).scale(arguments.model, arguments.workers, arguments.version, home.workers_log)
    print(f"{arguments.model} {version} has {arguments.workers} workers")


def verify(home: StateDir, arguments: argparse.Namespace) -> int | None:
    """check archives, or the whole model store; needs no server"""
    store = arguments.store
    chosen = [archive if archive.exists() else store / archive.name for archive in arguments.archives]
    audited = audit(chosen or archives_of(store))
    if not audited:
        raise ServerError(f"no archives in {store}/; make archive makes some")
    table = Table("archive", "version", "size", "SHA-256", "trained with", "built by", "verdict")
    for each in audited:
        model, _, version = each.archive.stem.rpartition("-")
        size = f"{each.archive.stat().st_size / 1e6:.1f} MB" if each.archive.exists() else "-"
        digest, data = (each.trusted.sha256[:12], each.trusted.data[:12] or "-") if each.trusted else ("-", "-")
        bundle = each.trusted.bundle if each.trusted else ""
        table.add_row(model, version, size, digest, data, bundle or "-", "good" if each.trusted else "bad")
    Console(width=None if sys.stdout.isatty() else WIDE).print(table)
    faults = [each.fault for each in audited if each.fault]
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    return 1 if faults else None


# --- questions to them


def ask(home: StateDir, arguments: argparse.Namespace) -> int | None:
    """send one input: a file, a text, or without either a sample of the artifact"""
    if arguments.input is None:
        given = sample(arguments.artifacts, arguments.model)
    elif os.path.isfile(arguments.input):  # Path.is_file() raises where a text is too long for a name
        given = Path(arguments.input), TYPES.get(Path(arguments.input).suffix, BYTES)
    elif re.search(r"\.\w{2,4}$", arguments.input) and " " not in arguments.input:
        raise ServerError(f"{arguments.input}: no such file")
    else:
        given = arguments.input, TEXT
    return show(home, arguments.model, *given, version=arguments.version, api=arguments.api)


def sample(artifacts: Path, model: str) -> tuple[Path, str]:
    """The artifact's first sample and its content type."""
    folder = artifacts / model / "samples"
    try:
        file = folder / json.loads((folder / "expected.json").read_bytes())[0]["file"]
    except FileNotFoundError:
        raise ServerError(f"{folder}: no samples; give a file or a text, or make train MODEL={model}") from None
    return file, TYPES.get(file.suffix, BYTES)


def show(
    home: StateDir, model: str, given: Path | str, content_type: str, version: str | None = None, api: str = "predictions"
) -> int | None:
    """Send it; print the curl line that does the same, and the answer. 1 if it was refused."""
    client = Client.of(home)
    body = given.read_bytes() if isinstance(given, Path) else given.encode()
    what = f"-T {shlex.quote(str(given))}" if isinstance(given, Path) else f"--data-raw {shlex.quote(given)}"
    kind = "" if content_type == BYTES else f"-H 'Content-Type: {content_type}' "
    certificate = f"--cacert {shlex.quote(str(from_here(home.certificate)))} " if client.server.certificate else ""
    header = shlex.quote(f"@{from_here(home.header('inference'))}")
    token = f"-H {header} " if client.keys else ""
    print(f"$ curl {certificate}{token}{kind}{what} {client.url(model, version, api)}")
    answer = client.predict(model, body, content_type, version, api)
    text = answer.text if len(answer.text) <= SHOWN or not sys.stdout.isatty() else f"{answer.text[:SHOWN]} ..."
    print(text)
    return None if answer.status_code == requests.codes.ok else 1


def from_here(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def measure(home: StateDir, arguments: argparse.Namespace) -> int | None:
    """send the whole test set, and compare each answer with the one found in training"""
    test_set = arguments.artifacts / arguments.model / "test.zip"
    hosting = Registry(home)
    version = arguments.version or hosting.default_version(arguments.model)
    tolerance = hosting.tolerance(arguments.model, version) if version else TOLERANCE
    figures = evaluate(home, arguments.model, test_set, arguments.clients, arguments.version, tolerance)
    print(f"{arguments.model}: {figures}")
    return 1 if figures.disagreements else None


# --- the command line


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(prog="python -m serving", description="The server's life: start, ask, measure, stop.")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run, **defaults) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=defaults.pop("help", run.__doc__), description=run.__doc__)
        added.add_argument("--home", type=Path, default=FOLDER, help="the server's own folder (default: %(default)s)")
        added.set_defaults(run=run, **defaults)
        return added

    def about_a_model(name: str, run, **defaults) -> argparse.ArgumentParser:
        added = command(name, run, **defaults)
        added.add_argument("model")
        added.add_argument("--version", help="of the model; the default one, or the newest archive, if left out")
        return added

    def with_artifacts(added: argparse.ArgumentParser) -> argparse.ArgumentParser:
        added.add_argument("--artifacts", type=Path, default=Path("artifacts"), help="where artifacts lie (default: %(default)s)")
        return added

    starting = with_artifacts(command("start", start))
    starting.add_argument("models", nargs="*", metavar="MODEL", help="with an archive in the model store")
    starting.add_argument("--config", type=Path, default=config.FILE, help="TorchServe's settings (default: %(default)s)")
    starting.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting; may be repeated")
    command("stop", stop)
    command("status", status)
    command("rotate-tokens", rotate_tokens)
    about_a_model("register", register)
    about_a_model("unregister", unregister)
    about_a_model("promote", promote)
    about_a_model("rollback", rollback)
    about_a_model("scale", scale).add_argument("--workers", type=int, required=True, help="how many; 0 pauses the model")
    verifying = command("verify", verify)
    verifying.add_argument("archives", nargs="*", type=Path, metavar="ARCHIVE", help="all of the store, if left out")
    verifying.add_argument("--store", type=Path, default=Path("model_store"), help="where archives lie (default: %(default)s)")
    for name, api, help in (
        ("predict", "predictions", "send one input, print the answer"),
        ("explain", "explanations", "send one input, print why it is answered so"),
    ):
        asking = with_artifacts(about_a_model(name, ask, api=api, help=help))
        asking.add_argument("input", nargs="?", help="a file, or a text; a sample of the artifact, if left out")
    measuring = with_artifacts(about_a_model("evaluate", measure))
    measuring.add_argument("--clients", type=int, default=8, help="that send at once (default: %(default)s)")
    return whole


if __name__ == "__main__":
    main()
