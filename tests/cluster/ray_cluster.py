"""A real Ray with the starter models, for the tests of the cluster."""

import contextlib
import hashlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import yaml

from archive.build import build
from cluster import local
from cluster.fleet import Fleet
from cluster.settings import Settings
from cluster.state import ClusterDir
from model_defs.bundle_format import BILL, SAMPLES_FILE
from serving.processes import free_ports
from tests.bundle import Bundle


class RayBundle(Bundle):
    """A running cluster as a caller sees it, and its models."""

    def __init__(self, home: ClusterDir, settings: Settings, artifacts: Path, store: Path):
        super().__init__(home, artifacts, store)
        self.settings, self.fleet = settings, Fleet(home, settings, store)

    def replicas(self, application: str) -> list[dict]:
        return running_replicas(self.fleet, application)


def running_replicas(fleet: Fleet, application: str) -> list[dict]:
    """Serve's description of the replicas that run."""
    deployments = fleet.api.applications()[application]["deployments"].values()
    return [replica for each in deployments for replica in each["replicas"] if replica["state"] == "RUNNING"]


def free_settings(**changes) -> Settings:
    """Settings with free ports, none of which is another's."""
    ports = free_ports(3)
    # HAProxy's own two ports lie up to 1,101 above the ingress's.
    names = {"port": min(ports[0], 60_000), "gcs_port": ports[1], "dashboard_port": ports[2]}
    return msgspec.structs.replace(Settings(cpus=12), **names | changes)


def archives(artifacts: Path, folder: Path, models: dict[str, list[str]], **changes) -> Path:
    """A store with these versions of the starter models. Their recipes are the bundle's own with `changes`."""
    for model, versions in models.items():
        recipe = folder / f"{model}.yaml"
        recipe.write_text(yaml.safe_dump(yaml.safe_load(Path(f"archive/recipes/{model}.yaml").read_text()) | changes))
        for version in versions:
            build(artifacts / model, recipe, folder / "store", version)
    return folder / "store"


def spoil(archive: Path) -> None:
    """Change the recorded answer of a sample, and all digests with it: the archive passes every check but the proof itself."""
    with zipfile.ZipFile(archive) as opened:
        content = {entry: opened.read(entry) for entry in opened.infolist()}
    by_name = {entry.filename: entry for entry in content}
    expected = json.loads(content[by_name[SAMPLES_FILE]])
    expected[0]["answer"][0]["score"] = round(1.2 - expected[0]["answer"][0]["score"], 3)
    content[by_name[SAMPLES_FILE]] = json.dumps(expected).encode()
    bill = json.loads(content[by_name[BILL]])
    for part in bill["components"]:
        if part["name"] == SAMPLES_FILE:
            part["hashes"] = [{"alg": "SHA-256", "content": hashlib.sha256(content[by_name[SAMPLES_FILE]]).hexdigest()}]
    content[by_name[BILL]] = json.dumps(bill).encode()
    with zipfile.ZipFile(archive, "w") as changed:
        for entry, data in content.items():
            changed.writestr(entry, data)
    sums = archive.parent / "SHA256SUMS"
    lines = [line for line in sums.read_text().splitlines() if not line.endswith(f" {archive.name}")]
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    sums.write_text("".join(f"{line}\n" for line in [*lines, f"{digest}  {archive.name}"]))


@contextlib.contextmanager
def cluster_of(artifacts: Path, store: Path, folder: Path, models: list[tuple[str, str]], **changes) -> Iterator[RayBundle]:
    """A head on this machine that serves these versions."""
    home, settings = ClusterDir(folder / ".ray"), free_settings(archives=str(store), **changes)
    local.start_head(home, settings, store)
    try:
        Fleet(home, settings, store).deploy(models)
        yield RayBundle(home, settings, artifacts, store)
    finally:
        local.stop(home)
