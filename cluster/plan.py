"""From archives and their recipes to Ray Serve's configuration. No Ray is needed.

An application serves one version of one model. The default version has the route `/predictions/<model>`; a version that was
deployed next to it has `/predictions/<model>/<version>`. A route never moves: a promotion changes the application behind it.
"""

import json
import zipfile
from pathlib import Path
from typing import Any

from cluster.settings import Settings
from model_defs.bundle_format import MANIFEST
from serving.errors import ServerError
from serving.manifest import read_recipe
from serving.verify import verify

MODEL, GATEWAY = "cluster.node.replica:application", "cluster.node.gateway:application"  # what a node imports
DEPLOYMENT = "Model"
GATEWAY_NAME = "bundle-gateway"  # no model has a name with a dash
QUEUE = 100  # requests that may wait, unless the recipe says `jobQueueSize`; config.properties has the same number
# Keys of a recipe that only TorchServe has. With a key of the first group, the archive would be served in another way than its
# recipe says. A key of the second group changes nothing that a caller sees.
REFUSED = {
    "torchrun": "starts several processes for one model",
    "parallelType": "starts several processes for one model",
    "parallelLevel": "starts several processes for one model",
    "continuousBatching": "streams",
    "sequenceBatching": "keeps sequences on one worker",
    "asyncCommunication": "streams",
}
UNUSED = {
    "deviceIds": "Ray chooses the GPU",
    "useJobTicket": "a full queue is answered with 503 at once",
    "maxRetryTimeoutInSec": "Serve starts a replica three times, then the deployment fails",
    "clientTimeoutInMills": "the front door limits a caller's time",
    "sequenceMaxIdleMSec": "there are no sequences",
    "sequenceTimeoutMSec": "there are no sequences",
    "maxSequenceJobQueueSize": "there are no sequences",
    "maxNumSequence": "there are no sequences",
}


def application(
    archive: Path, settings: Settings, key_sha256: str = "", is_default: bool = True, previous: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The application of a verified archive.

    Args:
        archive: in the local model store; the nodes find the same file name where `settings.archives` says.
        key_sha256: of the key that callers send.
        is_default: whether it answers requests that name no version.
        previous: the arguments of the application before the last promotion, for a rollback.

    Raises:
        ServerError: the archive fails its checks, or its recipe asks for what Ray Serve does not have.
    """
    sha256 = verify(archive).sha256
    model, version, recipe = described(archive)
    args = {
        "model": model,
        "version": version,
        "archive": f"{located(settings.archives)}/{archive.name}",
        "sha256": sha256,
        "key_sha256": key_sha256,
        "max_bytes": settings.max_request_size,
        "previous": previous,
    }
    return {
        "name": model if is_default else f"{model}-{version}",
        "route_prefix": f"/predictions/{model}" if is_default else f"/predictions/{model}/{version}",
        "import_path": MODEL,
        "args": args,
        "deployments": [deployment(recipe, settings)],
    }


def described(archive: Path) -> tuple[str, str, dict[str, Any]]:
    """The model, the version and the recipe of an archive."""
    with zipfile.ZipFile(archive) as opened:
        model = json.loads(opened.read(MANIFEST))["model"]
        return model["modelName"], model["modelVersion"], read_recipe(opened, model["configFile"])


def located(archives: str) -> str:
    """Where the nodes find the archives: a folder becomes absolute, a URL stays."""
    return archives.rstrip("/") if "://" in archives else str(Path(archives).absolute())


def deployment(recipe: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """How Serve runs the replicas of one version.

    Raises:
        ServerError: the recipe asks for what Ray Serve does not have.
    """
    for key, what in REFUSED.items():
        if recipe.get(key):
            raise ServerError(f"the recipe's {key} {what}, which the cluster does not do; serve this model with TorchServe")
    waiting, batch = queue_size(recipe), recipe["batchSize"]
    return {
        "name": DEPLOYMENT,
        **replicas(recipe["minWorkers"], recipe["maxWorkers"], batch),
        # The replica counts its own queue and refuses in JSON, so Serve's limit, which refuses in plain text, is never reached.
        "max_ongoing_requests": 2 * (waiting + batch),
        "max_queued_requests": -1,
        "max_surge_percent": 100,  # an update starts all new replicas before it ends the old ones
        "graceful_shutdown_timeout_s": recipe["responseTimeout"] + 30,
        "graceful_shutdown_wait_loop_s": 0.5,
        "health_check_period_s": 2,
        "health_check_timeout_s": 10,
        "ray_actor_options": resources(recipe, settings.gpu_share),
    }


def queue_size(recipe: dict[str, Any]) -> int:
    return recipe.get("jobQueueSize", QUEUE)


def replicas(least: int, most: int, batch: int) -> dict[str, Any]:
    """A fixed number of replicas, or the bounds of autoscaling. A replica with more than a batch in hand asks for company."""
    if least == most:
        return {"num_replicas": least}
    return {
        "autoscaling_config": {
            "min_replicas": least,
            "max_replicas": most,
            "target_ongoing_requests": batch,
            "upscale_delay_s": 5,
            "downscale_delay_s": 120,
        }
    }


def resources(recipe: dict[str, Any], gpu_share: float) -> dict[str, Any]:
    """What Ray reserves for a replica. It is bookkeeping: a share of a GPU limits no memory."""
    found: dict[str, Any] = {"num_cpus": recipe["handler"].get("threads") or 1}
    if recipe.get("deviceType") == "gpu" and gpu_share:
        found["num_gpus"] = gpu_share
    return found


def notes(recipe: dict[str, Any], settings: Settings) -> list[str]:
    """One line for each key of the recipe that has another meaning on the cluster, or none."""
    found = [f"the recipe's {key} has no meaning on the cluster: {why}" for key, why in UNUSED.items() if key in recipe]
    if recipe.get("deviceType") == "gpu" and not settings.gpu_share:
        found.append("the recipe's deviceType is gpu, and the cluster's gpu_share is 0: the replicas use the CPU")
    return found


def gateway(key_sha256: str, max_bytes: int) -> dict[str, Any]:
    """The application for every other route: explanations, other protocols, health, and refusals of what is not there."""
    return {
        "name": GATEWAY_NAME,
        "route_prefix": "/",
        "import_path": GATEWAY,
        "args": {"key_sha256": key_sha256, "max_bytes": max_bytes},
        "deployments": [
            {"name": "Gateway", "num_replicas": 1, "max_ongoing_requests": 1000, "max_surge_percent": 100,
             "ray_actor_options": {"num_cpus": 0.01}}  # not 0, so that it never runs on a head without CPUs
        ],
    }  # fmt: skip


def config(applications: list[dict[str, Any]], settings: Settings) -> dict[str, Any]:
    """The whole configuration, in the form of Serve's REST API and of `serve deploy`."""
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": "0.0.0.0", "port": settings.port, "keep_alive_timeout_s": 90},  # HAProxy listens nowhere else
        "logging_config": {"log_level": "WARNING", "enable_access_log": False},
        "applications": applications,
    }
