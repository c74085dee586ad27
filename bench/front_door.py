"""The front door, docs/haproxy.cfg, as a process, and what it costs: the same server asked straight and through the door.

    openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -days 1 -keyout /tmp/key -out /tmp/crt
    cat /tmp/crt /tmp/key >/tmp/door.pem
    python -m bench.front_door intents digits --certificate /tmp/door.pem

The callers speak TLS to the door and keep their connections.
"""

import argparse
import contextlib
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from rich.console import Console

from bench import servers
from bench.engines import STORE, table, target
from bench.load import Target
from bench.rounds import alternate
from model_defs.command import reported
from model_defs.errors import BundleError
from serving.processes import free_ports
from serving.state import StateDir
from serving.verify import newest

CONFIG = Path("docs/haproxy.cfg")
KEY, SECONDS, STARTING, STOPPING = "key-of-the-benchmark", 5.0, 10, 20
WAYS = ("straight", "through the door")


class FrontDoor(msgspec.Struct):
    """A front door that runs on 127.0.0.1: its port, and the file that it logs to."""

    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"


@contextlib.contextmanager
def running(
    folder: Path, certificate: Path, keys: list[str], config: Path = CONFIG, **environment: object
) -> Iterator[FrontDoor]:
    """
    Args:
        folder: for its files.
        certificate: with its key, in one PEM file.
        keys: of its callers.
        environment: other variables of docs/haproxy.cfg, which say where the servers are.

    Raises:
        BundleError: see `wait_until_open`.
    """
    door = FrontDoor(free_ports(1)[0], folder / "haproxy.log")
    callers = folder / "callers.lst"
    callers.write_text("".join(f"{key}\n" for key in keys))
    own = {"DOOR_ADDRESS": f"127.0.0.1:{door.port}", "DOOR_CERTIFICATE": certificate, "DOOR_CALLERS": callers}
    variables = {name: str(value) for name, value in (own | environment).items()}
    with door.log.open("wb") as log:
        command = ["haproxy", "-db", "-f", str(config)]
        process = subprocess.Popen(command, env=os.environ | variables, stdout=log, stderr=log)
    try:
        wait_until_open(door, process)
        yield door
    finally:
        process.terminate()
        process.wait(STOPPING)


def wait_until_open(door: FrontDoor, process: subprocess.Popen) -> None:
    """
    Raises:
        BundleError: HAProxy has ended, or does not listen in time; the message has its log.
    """
    deadline = time.monotonic() + STARTING
    while True:
        try:
            socket.create_connection(("127.0.0.1", door.port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise BundleError(f"HAProxy does not listen: {door.log.read_text(errors='replace')[-1000:]}") from None
            time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.front_door", description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--certificate", type=Path, required=True, help="a PEM file with a certificate and its key")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16], help="connections (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of a round (default: %(default)s)")
    with reported("bench"), tempfile.TemporaryDirectory(prefix="bench-") as folder:
        compare(parser.parse_args(), Path(folder))


def compare(arguments: argparse.Namespace, folder: Path) -> None:
    """Start the server and the door, load them in turn, print."""
    home, chosen = StateDir(folder / "torchserve"), [(model, newest(STORE, model)) for model in arguments.models]
    with servers.bundle(STORE, home.folder, chosen) as server:
        home.admit()
        places = {"TORCHSERVE": urlsplit(server.inference).netloc, "DOOR_TOKEN": home.proxy, "DOOR_EXPLAINED": home.explained}
        with running(folder, arguments.certificate.absolute(), [KEY], **places) as door:
            for model in arguments.models:
                straight = target(model, server)
                headers = straight.headers | {"Authorization": f"Bearer {KEY}"}
                through = Target(straight.url.replace(server.inference, door.url), straight.body, headers)
                targets = dict(zip(WAYS, (straight, through), strict=True))
                figures = alternate(targets, arguments.clients, arguments.rounds, arguments.seconds, lambda line: None)
                Console(width=140).print(table(model, figures))


if __name__ == "__main__":
    main()
