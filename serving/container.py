"""What runs in a container of SageMaker or Vertex AI: one model, and the front door before it, on the platform's port.

    python -m serving.container [serve]

SageMaker starts a container with the argument `serve` and unpacks `model.tar.gz` into /opt/ml/model. Vertex AI names its port and
routes in AIP_HTTP_PORT, AIP_HEALTH_ROUTE and AIP_PREDICT_ROUTE, which docs/haproxy.cfg reads. SIGTERM drains the server.
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from model_defs.bundle_format import VERSION
from model_defs.command import reported
from serving import commands, config, foreground
from serving.errors import ServerError
from serving.state import FOLDER, StateDir
from serving.verify import archives_of

PROJECT = Path(__file__).resolve().parent.parent
DOOR = PROJECT / "docs/haproxy.cfg"
STORE = Path("/opt/ml/model")  # where SageMaker unpacks a model
PORT = 8080  # of both platforms, unless they say otherwise
INFERENCE = "http://127.0.0.1:18080"  # TorchServe's own address, behind the door


def main() -> None:
    arguments = parser().parse_args()
    with reported("container"):
        sys.exit(run(arguments))


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(prog="python -m serving.container", description="Serve one model in a platform's container.")
    whole.add_argument("verb", nargs="?", choices=["serve"], help="what SageMaker starts a container with")
    whole.add_argument("--model", help="the model; the only one of the store, if left out")
    whole.add_argument(
        "--store", type=Path, default=STORE, help="the folder with its archive and SHA256SUMS (default: %(default)s)"
    )
    whole.add_argument("--home", type=Path, default=FOLDER, help="the server's own folder (default: %(default)s)")
    whole.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting; may be repeated")
    return whole


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal comes or the server ends; returns the exit status, as `foreground.stay` says."""
    home, model = StateDir(arguments.home), arguments.model or only_model(arguments.store)
    changes = [f"inference_address={INFERENCE}", f"model_store={arguments.store.absolute()}", *arguments.set]
    settings = config.read(PROJECT / config.FILE, changes)
    try:
        door = subprocess.Popen(
            ["haproxy", "-db", "-f", DOOR], env=os.environ | door_variables(home, model, settings, os.environ)
        )
    except FileNotFoundError:
        raise ServerError("no program haproxy here; install the package haproxy into the image") from None

    def start() -> int | None:
        failed = commands.host(home, PROJECT / config.FILE, changes, [model])
        if door.poll() is not None:
            raise ServerError(f"the front door ended with status {door.returncode}; haproxy says why above")
        return failed

    try:
        return foreground.stay(home, start)
    finally:
        door.terminate()
        door.wait()


def only_model(store: Path) -> str:
    """The model of which a store has archives.

    Raises:
        ServerError: it has none, or several models.
    """
    names = {re.sub(rf"-{VERSION.pattern}$", "", archive.stem) for archive in archives_of(store)}
    if not names:
        raise ServerError(f"no archive in {store}/; put MODEL-VERSION.mar and SHA256SUMS of model_store/ there")
    if len(names) > 1:
        raise ServerError(f"{store}/ has the models {', '.join(sorted(names))}; name one: --model {min(names)}")
    return names.pop()


def door_variables(home: StateDir, model: str, settings: Mapping[str, str], platform: Mapping[str, str]) -> dict[str, str]:
    """The variables that docs/haproxy.cfg reads, from those that the platform has set."""
    port = platform.get("AIP_HTTP_PORT") or platform.get("SAGEMAKER_BIND_TO_PORT") or PORT
    return {
        "DOOR_PLATFORM": "yes",
        "DOOR_MODEL": model,
        "DOOR_ADDRESS": f":{port}",
        "DOOR_TOKEN": str(home.proxy),
        "DOOR_EXPLAINED": str(home.explained),
        "DOOR_LUA": str(DOOR.with_suffix(".lua")),
        "TORCHSERVE": urlsplit(settings["inference_address"]).netloc,
        "MONITOR": urlsplit(settings["monitor_address"]).netloc,
    }


if __name__ == "__main__":
    main()
