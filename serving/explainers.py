"""Workers of their own for explanations: each archive that explains is hosted twice, the second time as `<model>.explain`.

TorchServe answers a batch only as a whole, so in one queue a prediction would wait for its neighbour's explanation. A forked
worker costs little. The model's own workers send callers on, with 307; a front door asks the right workers at once.
"""

import contextlib
import zipfile
from pathlib import Path

from model_defs.bundle_format import EXPLAINER, EXPLAINS
from serving.client import Client
from serving.drain import drain
from serving.errors import ServerError
from serving.state import StateDir, replace

DRAINING = 30  # seconds for the explanations that were taken in


def host(home: StateDir, client: Client, archive: Path, model: str, version: str) -> None:
    """Host the archive's explanations, with one worker; nothing if it gives none, or if the server is to have no such workers.

    Raises:
        ServerError: the worker cannot start. Then the model is not hosted either.
    """
    if not client.server.has_explainers or not explains(archive):
        return
    try:
        client.register(model, version, home.workers_log, EXPLAINER)
        if len(client.describe(model + EXPLAINER, version)[0]["workers"]) > 1:
            client.scale(model + EXPLAINER, 1, version, home.workers_log)
    except ServerError:
        with contextlib.suppress(ServerError):
            client.unregister(model, version)
        raise
    write_list(home, client)


def drop(home: StateDir, client: Client, model: str, version: str) -> None:
    """End the version's explanations, after they are answered."""
    if is_hosted(client, model, version):
        drain(lambda: client.describe(model + EXPLAINER, version), DRAINING)
        client.unregister(model + EXPLAINER, version)
        write_list(home, client)


def set_default(client: Client, model: str, version: str) -> None:
    if is_hosted(client, model, version):
        client.set_default(model + EXPLAINER, version)


def is_hosted(client: Client, model: str, version: str) -> bool:
    name = model + EXPLAINER
    return name in client.entries() and version in {entry["modelVersion"] for entry in client.describe(name)}


def explains(archive: Path) -> bool:
    """Whether the archive gives explanations."""
    with zipfile.ZipFile(archive) as file:
        return EXPLAINS in file.namelist()


def write_list(home: StateDir, client: Client) -> None:
    """Tell a proxy which models' explanations have workers (docs/haproxy.lua)."""
    with home.lock("tokens"):
        names = sorted(name.removesuffix(EXPLAINER) for name in client.entries() if name.endswith(EXPLAINER))
        replace(home.explained, "".join(f"{name}\n" for name in names).encode())
