"""All metrics of the server, for Prometheus: those of TorchServe under one convention of labels, and those that it lacks."""

import json
import threading
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
import yaml
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from model_defs.bundle_format import MANIFEST
from serving import processes
from serving.client import Client
from serving.errors import ServerError
from serving.readiness import Readiness
from serving.request_log import Histogram, RequestLog
from serving.state import RegisteredModel, StateDir
from serving.torchserve_metrics import BATCHES, batch_sizes, families

PATIENCE = 5  # seconds for one of TorchServe's answers
VERSION = ("model", "version")  # the labels of what a version has
STATUSES = ("200", "400", "413", "415", "422", "500", "503", "504", "507")  # they are there at once, with 0
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)

Hosted = list[dict[str, Any]]  # TorchServe's description of each version


class Metrics:
    """What a scrape finds."""

    def __init__(self, home: StateDir, readiness: Readiness, requests: RequestLog):
        self.home, self.readiness, self.requests = home, readiness, requests
        self.runtimes: dict[tuple[str, str], str] = {}  # by the archive's name and SHA-256
        self.lock = threading.Lock()

    def collect(self) -> Iterator[Metric]:
        """The families, as prometheus_client wants them. One scrape runs at a time."""
        with self.lock:
            hosted, found = self.ask()
            versions = [key_of(each) for each in hosted]
            yield GaugeMetricFamily("bundle_ready", "whether the whole server is ready", value=not self.readiness.faults())
            yield from self.versions(hosted)
            yield from workers(hosted)
            yield self.memory(hosted)
            yield from answers(self.requests, versions)
            yield batches(found.pop(BATCHES, None), versions)
            yield from found.values()

    def ask(self) -> tuple[Hosted, dict[str, Metric]]:
        """What TorchServe says; nothing, if it does not answer."""
        self.requests.read(self.home.registered())
        try:
            client = Client.of(self.home, patience=PATIENCE, retrying=0)
            return client.models(), families(client.metrics())
        except ServerError:
            return [], {}

    def versions(self, hosted: Hosted) -> Iterator[Metric]:
        """What each version is, whether it is ready, and how full its queue is."""
        info = GaugeMetricFamily("bundle_model_info", "1 per version", labels=[*VERSION, "default", "sha256", "runtime"])
        ready = GaugeMetricFamily("bundle_model_ready", "whether the version is ready", labels=VERSION)
        depth = GaugeMetricFamily("bundle_queue_depth", "requests that wait", labels=VERSION)
        room = GaugeMetricFamily("bundle_queue_room", "requests that may come before one is refused", labels=VERSION)
        watched, registered = self.readiness.follow(), self.home.registered()
        for each in hosted:
            model, version = key = key_of(each)
            known = registered.get(model) or RegisteredModel(version)
            digest, is_default = known.versions.get(version, ""), "true" if version == known.default else "false"
            info.add_metric([*key, is_default, digest, self.runtime(Path(each["modelUrl"]).name, digest)], 1)
            if key in watched:
                ready.add_metric(key, watched[key].reason() is None)
            depth.add_metric(key, each["jobQueueStatus"]["pendingRequests"])
            room.add_metric(key, each["jobQueueStatus"]["remainingCapacity"])
        yield from (info, ready, depth, room)

    def runtime(self, archive: str, digest: str) -> str:
        """The runtime that an archive's recipe names; "" if the store does not have it any more."""
        if (archive, digest) not in self.runtimes:
            try:
                with zipfile.ZipFile(Path(self.home.require().model_store, archive)) as file:
                    recipe = yaml.safe_load(file.read(json.loads(file.read(MANIFEST))["model"]["configFile"]))
            except (OSError, zipfile.BadZipFile):
                return ""
            self.runtimes[archive, digest] = recipe.get("handler", {}).get("runtime", "")
        return self.runtimes[archive, digest]

    def memory(self, hosted: Hosted) -> Metric:
        """The memory of each process."""
        memory = GaugeMetricFamily(
            "bundle_memory_bytes", "memory, with a process's part of what it shares (PSS)", labels=["process", *VERSION, "worker"]
        )
        pids: dict[tuple[str, ...], int | None] = {
            ("worker", *key_of(each), worker["id"]): worker["pid"] for each in hosted for worker in each["workers"]
        }
        if server := self.home.running():
            pids["frontend", "", "", ""] = server.pid
            pids["fork_server", "", "", ""] = processes.fork_server(server.temporary)
        pids["monitor", "", "", ""] = psutil.Process().pid
        for labels, pid in pids.items():
            if pid and pid > 0 and (size := processes.shared_memory(pid)) is not None:
                memory.add_metric(labels, size)
        return memory


def key_of(described: dict[str, Any]) -> tuple[str, str]:
    return described["modelName"], described["modelVersion"]


def workers(hosted: Hosted) -> Iterator[Metric]:
    """The workers by their state. TorchServe calls a worker that starts or has died UNLOADING."""
    states = GaugeMetricFamily("bundle_workers", "workers", labels=[*VERSION, "state"])
    wanted = GaugeMetricFamily("bundle_workers_wanted", "workers that the version should have", labels=VERSION)
    for each in hosted:
        ready = sum(worker["status"] == "READY" for worker in each["workers"])
        states.add_metric([*key_of(each), "ready"], ready)
        states.add_metric([*key_of(each), "not_ready"], len(each["workers"]) - ready)
        wanted.add_metric(key_of(each), each["minWorkers"])
    yield from (states, wanted)


def answers(log: RequestLog, versions: Iterable[tuple[str, str]]) -> Iterator[Metric]:
    """The requests that were answered, and how long they took. Each version has figures from the start."""
    count = CounterMetricFamily("bundle_requests", "requests that were answered", labels=[*VERSION, "status"])
    whole = HistogramMetricFamily("bundle_request_seconds", "from a request's arrival to its answer", labels=[*VERSION, "status"])
    waited = HistogramMetricFamily("bundle_queue_seconds", "a request's time in the queue", labels=VERSION)
    with log.lock:
        for key in dict.fromkeys([*((*version, status) for version in versions for status in STATUSES), *log.seconds]):
            count.add_metric(key, log.seconds[key].count if key in log.seconds else 0)
        for key in dict.fromkeys([*((*version, "200") for version in versions), *log.seconds]):
            add(whole, key, log.seconds[key])
        for version in dict.fromkeys([*versions, *log.waited]):
            add(waited, version, log.waited[version])
    yield from (count, whole, waited)


def batches(counted: Metric | None, versions: Iterable[tuple[str, str]]) -> Metric:
    """The sizes of batches, in buckets of sizes that recipes have."""
    found = {version: Histogram(BATCH_SIZES) for version in versions}
    for version, size, times in batch_sizes(counted):
        found.setdefault(version, Histogram(BATCH_SIZES)).observe(size, times)
    sizes = HistogramMetricFamily("bundle_batch_size", "requests per batch", labels=VERSION)
    for version, histogram in found.items():
        add(sizes, version, histogram)
    return sizes


def add(family: HistogramMetricFamily, labels: Iterable[str], histogram: Histogram) -> None:
    family.add_metric(labels, histogram.buckets(), histogram.sum)
