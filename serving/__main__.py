"""The server's life on the command line.

    python -m serving start digits sounds intents      start the server, host these models, send each one real input
    python -m serving status
    python -m serving predict digits picture.png
    python -m serving evaluate digits --clients 16
    python -m serving stop

Each command takes --help. Knows nothing of how a model is made.
"""

import argparse
import hashlib
import json
import re
import sys
from pathlib import Path

import requests
from rich.console import Console
from rich.table import Table

from serving import server
from serving.client import BYTES, TYPES, Client
from serving.evaluate import evaluate
from serving.home import FOLDER, Home, Running, ServerError

TEXT = TYPES[".txt"]
SHOWN = 300  # characters of an answer
WIDE = 160  # columns of a table that goes into a file
NOT_RUNNING = 3  # the exit status of `status`, as systemctl has it


def main() -> None:
    arguments = parser().parse_args()
    home = Home(arguments.home)
    try:
        sys.exit(arguments.run(home, arguments))
    except ServerError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


# --- the server


def start(home: Home, arguments: argparse.Namespace) -> None:
    """start the server, host the models, send each one real input"""
    was_running = home.running() is not None
    running = server.start(home, arguments.config, arguments.set)
    print(f"the server {'runs already' if was_running else 'is up'}: {running.inference} (pid {running.pid})", flush=True)
    for model in arguments.models:
        host(home, running, model, newest(running, model))
    for model in arguments.models:
        print()
        show(home, model, *sample(arguments.artifacts, model))


def stop(home: Home, arguments: argparse.Namespace) -> None:
    """let the server finish what it has taken in, then stop it"""
    print("the server has stopped" if server.stop(home) else "no server runs here")


def status(home: Home, arguments: argparse.Namespace) -> int | None:
    """print the models of the running server"""
    running = home.running()
    if running is None:
        print("no server runs here; start one with: make serve")
        return NOT_RUNNING
    table = Table("model", "version", "workers", "device", "batch", "delay", "queue", "archive")
    for model in Client.of(home).models():
        workers, queue = model["workers"], model["jobQueueStatus"]
        ready = sum(worker["status"] == "READY" for worker in workers)
        waiting = queue["pendingRequests"]
        table.add_row(
            model["modelName"],
            model["modelVersion"] + (" (default)" if model.get("defaultVersion") else ""),
            f"{ready} of {model['minWorkers']} ready",
            "gpu" if any(worker["gpu"] for worker in workers) else "cpu",
            str(model["batchSize"]),
            f"{model['maxBatchDelay']} ms",
            f"{waiting} of {waiting + queue['remainingCapacity']}",
            model["modelUrl"],
        )
    print(f"{running.inference} (pid {running.pid}); management {running.management}; metrics {running.metrics}/metrics")
    Console(width=None if sys.stdout.isatty() else WIDE).print(table)


# --- its models


def register(home: Home, arguments: argparse.Namespace) -> None:
    """host a model's archive"""
    running = home.require()
    archive = Path(running.model_store) / f"{arguments.model}-{arguments.version}.mar" if arguments.version else None
    host(home, running, arguments.model, archive or newest(running, arguments.model))


def unregister(home: Home, arguments: argparse.Namespace) -> None:
    """host a model, or one version of it, no longer"""
    client = Client.of(home)
    versions = [arguments.version] if arguments.version else in_order(client.describe(arguments.model))
    for version in versions:
        client.unregister(arguments.model, version)
        remember(home, f"{arguments.model}-{version}.mar", None)
        print(f"{arguments.model} {version} is no longer hosted")


def scale(home: Home, arguments: argparse.Namespace) -> None:
    """change a model's number of workers"""
    client = Client.of(home)
    client.scale(arguments.model, arguments.workers, arguments.version)
    version = arguments.version or default_version(client, arguments.model)
    if arguments.workers:
        client.wait_ready(arguments.model, version)
    print(f"{arguments.model} {version} has {arguments.workers} workers")


def host(home: Home, running: Running, model: str, archive: Path) -> None:
    """Register the archive, unless the server has this very one; an older one of its version goes first."""
    if not archive.exists():
        raise ServerError(f"{archive}: no such archive; make archive MODEL={model} makes it")
    client, version = Client.of(home), version_of(archive, model)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    hosted = model in client.names() and version in {entry["modelVersion"] for entry in client.describe(model)}
    if not hosted or remembered(home).get(archive.name) != digest:
        if hosted:
            client.unregister(model, version)
        client.register(model, version, home.workers_log)
        remember(home, archive.name, digest)
    client.wait_ready(model, version)
    print(f"{model} {version} is ready", flush=True)


def remembered(home: Home) -> dict[str, str]:
    return json.loads(home.registered.read_text()) if home.registered.exists() else {}


def remember(home: Home, archive: str, digest: str | None) -> None:
    known = remembered(home) | {archive: digest}
    home.registered.write_text(json.dumps({name: value for name, value in known.items() if value}, indent=1))


def newest(running: Running, model: str) -> Path:
    """The archive of the highest version."""
    found = [file for file in Path(running.model_store).glob(f"{model}-*.mar") if version_of(file, model)[:1].isdigit()]
    if not found:
        raise ServerError(f"no archive of {model!r} in {running.model_store}/; make archive MODEL={model} makes one")
    return max(found, key=lambda file: natural(version_of(file, model)))


def version_of(archive: Path, model: str) -> str:
    return archive.stem.removeprefix(f"{model}-")


def natural(version: str) -> list[tuple[int, str]]:
    """So that 1.10 comes after 1.9."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.findall(r"\d+|[^\d.]+", version)]


def in_order(described: list[dict]) -> list[str]:
    """The versions; the default last, since TorchServe keeps it while others are there."""
    return [entry["modelVersion"] for entry in sorted(described, key=lambda entry: entry.get("defaultVersion", False))]


def default_version(client: Client, model: str) -> str:
    return in_order(client.describe(model))[-1]


# --- questions to them


def ask(home: Home, arguments: argparse.Namespace) -> int | None:
    """send one input: a file, a text, or without either a sample of the artifact"""
    if arguments.input is None:
        given = sample(arguments.artifacts, arguments.model)
    elif Path(arguments.input).is_file():
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
    home: Home, model: str, given: Path | str, content_type: str, version: str | None = None, api: str = "predictions"
) -> int | None:
    """Send it; print the curl line that does the same, and the answer. 1 if it was refused."""
    client = Client.of(home)
    body = given.read_bytes() if isinstance(given, Path) else given.encode()
    what = f"-T {given}" if isinstance(given, Path) else f"--data-raw {json.dumps(given, ensure_ascii=False)}"
    kind = "" if content_type == BYTES else f"-H 'Content-Type: {content_type}' "
    header = home.header("inference")
    token = f"-H @{header.relative_to(Path.cwd()) if header.is_relative_to(Path.cwd()) else header} " if client.keys else ""
    print(f"$ curl {token}{kind}{what} {client.url(model, version, api)}")
    answer = client.predict(model, body, content_type, version, api)
    text = answer.text if len(answer.text) <= SHOWN or not sys.stdout.isatty() else f"{answer.text[:SHOWN]} ..."
    print(text)
    return None if answer.status_code == requests.codes.ok else 1


def measure(home: Home, arguments: argparse.Namespace) -> int | None:
    """send the whole test set, and compare each answer with the one found in training"""
    test_set = arguments.artifacts / arguments.model / "test.zip"
    figures = evaluate(home, arguments.model, test_set, arguments.clients, arguments.version)
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
    starting.add_argument("--config", type=Path, default=server.CONFIG, help="TorchServe's settings (default: %(default)s)")
    starting.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting; may be repeated")
    command("stop", stop)
    command("status", status)
    about_a_model("register", register)
    about_a_model("unregister", unregister)
    about_a_model("scale", scale).add_argument("--workers", type=int, required=True, help="how many; 0 pauses the model")
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
