"""`cluster.yaml`: where the cluster is, how its nodes start, and what a RayService on Kubernetes gets."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from model_defs.yaml_keys import check_keys
from serving.errors import ServerError

FILE = Path("cluster.yaml")
Port = Annotated[int, Meta(ge=1, le=65535)]
Count = Annotated[int, Meta(ge=0)]


class Kubernetes(msgspec.Struct, forbid_unknown_fields=True):
    """What `make rayservice` needs to know. docs/cluster.md explains each key."""

    name: str = "bundle"
    image: str = "bundle:latest"
    archives_claim: str = "bundle-archives"
    redis: str = "bundle-redis:6379"
    front_namespace: str = "front"
    workers: Annotated[int, Meta(ge=1)] = 2
    most_workers: Annotated[int, Meta(ge=1)] = 8
    cpus: Annotated[int, Meta(ge=1)] = 8
    memory: str = "32Gi"
    gpus: Count = 0


class Settings(msgspec.Struct, forbid_unknown_fields=True):
    """All of `cluster.yaml`.

    Args:
        host: address of the head on its node's network; nodes and operators reach it there.
        port: of the ingress on each node.
        gcs_port: at which nodes join.
        dashboard_port: of Ray's API, through which models are deployed.
        archives: where the nodes find the archives: a folder that all of them see, or a URL that fsspec knows.
        gpu_share: of a GPU for each replica of a recipe with `deviceType: gpu`; 0 puts those replicas on the CPU.
        max_request_size: bytes of a body.
        redis: address of the Redis that keeps the head's state, such as 127.0.0.1:6379. Without it, all nodes end a minute after
            the head has died.
        cpus: that this node offers to replicas; none: four per core. A head with 0 runs no replica.
        gpus: that this node offers to replicas; none: those that Ray finds.
    """

    host: str = "127.0.0.2"
    port: Port = 8000
    gcs_port: Port = 6380
    dashboard_port: Port = 8265
    archives: str = "model_store"
    gpu_share: Annotated[float, Meta(ge=0, le=1)] = 0
    max_request_size: Count = 10485760
    redis: str = ""
    cpus: Count | None = None
    gpus: Count | None = None
    kubernetes: Kubernetes = msgspec.field(default_factory=Kubernetes)

    @property
    def api(self) -> str:
        return f"http://{self.host}:{self.dashboard_port}"

    @property
    def ingress(self) -> str:
        return f"http://{self.host}:{self.port}"


def read(file: Path = FILE, overrides: list[str] | None = None) -> Settings:
    """The settings in the file, changed by `KEY=VALUE`s.

    Raises:
        ServerError: no such file, an unknown key, or a wrong value.
        RepeatedKey: a key stands there twice.
    """
    try:
        values: Any = msgspec.yaml.decode(file.read_bytes())
    except FileNotFoundError:
        raise ServerError(f"{file}: no such file; name the cluster's settings: --config FILE") from None
    except msgspec.DecodeError as error:
        raise ServerError(f"{file}: not YAML: {error}") from None
    check_keys(file)
    if values is not None and not isinstance(values, dict):
        raise ServerError(f"{file}: no keys and values; the bundle's own has them, such as `port: 8000`")
    for override in overrides or []:
        key, equals, value = override.partition("=")
        if not equals:
            raise ServerError(f"{override!r} is no setting; write KEY=VALUE, as in {file.name}")
        values = {**(values or {}), key.strip(): value.strip()}
    try:
        return msgspec.convert(values or {}, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise ServerError(f"{file}: {error}; docs/cluster.md lists the keys") from None
