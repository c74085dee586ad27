"""The monitor's metrics of a real server: there before the first request, right after it, and read by a real Prometheus."""

import contextlib
import math
import re
import shutil
import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from archive.build import build
from serving.config import free_ports
from serving.registry import Registry
from tests.bundle import Bundle

pytestmark = pytest.mark.server
MODELS = ("digits", "intents", "sounds")
QUERIES = re.search(r"```promql\n(.*?)```", Path("docs/operations.md").read_text(encoding="utf-8"), re.S)[1]
QUERIES = [line for line in QUERIES.splitlines() if not line.startswith("#")]
LOADED = 15  # seconds


def scrape(bundle: Bundle) -> dict[tuple[str, frozenset], float]:
    """Each sample of the metrics by its name and labels."""
    text = requests.get(f"{bundle.home.require().monitor}/metrics", timeout=20).text
    families = text_string_to_metric_families(text)
    return {(sample.name, frozenset(sample.labels.items())): sample.value for each in families for sample in each.samples}


def value(scraped: dict, name: str, **labels: str) -> float:
    """The sum of the samples of that name that have these labels."""
    found = [number for (each, has), number in scraped.items() if each == name and has >= frozenset(labels.items())]
    assert found, (name, labels)
    return sum(found)


def test_every_figure_is_there_before_the_first_request(bundle, artifacts):
    """Another version of a model has had no request yet, except for the samples that the monitor sends."""
    build(artifacts / "digits", Path("archive/recipes/digits.yaml"), bundle.store, "5.0")
    registry = Registry(bundle.home)
    registry.host("digits", "5.0")
    try:
        found, this = scrape(bundle), {"model": "digits", "version": "5.0"}
        for status in ("400", "413", "415", "422", "500", "503", "504", "507"):
            assert value(found, "bundle_requests_total", **this, status=status) == 0
        assert value(found, "bundle_requests_total", **this, status="200") >= 0
        assert value(found, "bundle_request_seconds_bucket", **this, status="200", le="0.0001") == 0
        assert value(found, "bundle_queue_seconds_bucket", **this, le="30.0") >= 0
        assert value(found, "bundle_batch_size_bucket", **this, le="8.0") >= 0
        assert value(found, "bundle_queue_depth", **this) == 0
        assert value(found, "bundle_queue_room", **this) == bundle.setting("job_queue_size")
        described = bundle.client.describe("digits", "5.0")[0]
        assert value(found, "bundle_workers", **this, state="ready") == len(described["workers"])
        assert value(found, "bundle_workers", **this, state="not_ready") == 0
        assert value(found, "bundle_workers_wanted", **this) == described["minWorkers"]
        digest = bundle.home.registered()["digits"].versions["5.0"]
        assert value(found, "bundle_model_info", **this, default="false", sha256=digest, runtime="eager") == 1
        assert value(found, "bundle_model_info", model="digits", version="1.0", default="true") == 1
    finally:
        registry.drop("digits", "5.0")


def test_each_answer_is_counted_once_with_its_status_time_and_batch(bundle):
    this = {"model": "intents", "version": "1.0"}
    before, (_, text) = scrape(bundle), bundle.samples("intents")[0]
    with ThreadPoolExecutor(8) as callers:
        start = time.monotonic()
        assert {one.status_code for one in callers.map(lambda _: bundle.predict("intents", text), range(8))} == {200}
        seconds = time.monotonic() - start
    for body, status in ((b" ", 422), (b"\xff", 400), (b"x" * 100_001, 413)):
        assert bundle.predict("intents", body).status_code == status
    bundle.post("intents/9.9", data=text)
    bundle.post("no_such_model", data=text)
    after = scrape(bundle)

    def grown(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    assert 8 <= grown("bundle_requests_total", **this, status="200") <= 9  # the monitor may have sent a sample
    for status in ("422", "400", "413"):
        assert grown("bundle_requests_total", **this, status=status) == 1
    assert value(after, "bundle_requests_total", model="", version="", status="404") >= 2
    assert 0 < grown("bundle_request_seconds_sum", **this, status="200") <= 9 * seconds + 1
    batches = grown("bundle_batch_size_count", **this)
    assert 4 <= batches <= 12 and 11 <= grown("bundle_batch_size_sum", **this) <= 12
    assert grown("bundle_queue_seconds_count", **this) == grown("bundle_requests_total", **this)


def test_memory_is_that_of_the_processes(bundle):
    found = scrape(bundle)
    for process in ("frontend", "fork_server", "monitor"):
        assert value(found, "bundle_memory_bytes", process=process) > 5e6
    for model in MODELS:
        worker = bundle.client.describe(model)[0]["workers"][0]
        pss = psutil.Process(worker["pid"]).memory_full_info().pss
        assert value(found, "bundle_memory_bytes", model=model, worker=worker["id"]) == pytest.approx(pss, rel=0.3)


def test_labels_are_one_convention_and_torchserves_own_metrics_are_there(bundle):
    before = bundle.metric("PreprocessTime_count", "digits")
    found = scrape(bundle)
    after = bundle.metric("PreprocessTime_count", "digits")  # the monitor may have sent a sample in between
    names = Counter(label for _, labels in found for label, _ in labels)
    known = {"model", "version", "status", "state", "process", "worker", "reason", "default", "sha256", "runtime", "le"}
    assert names.keys() <= known
    assert 0 < before <= value(found, "PreprocessTime_count", model="digits") <= after
    assert value(found, "ts_inference_requests_total", model="intents") > 0


@contextlib.contextmanager
def prometheus(folder: Path, target: str):
    """A Prometheus that scrapes the target each second; its address."""
    address = free_ports()[0].rpartition("/")[2]
    (folder / "prometheus.yml").write_text(
        f"global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: models, static_configs: [{{targets: ['{target}']}}]}}]\n"
    )
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address={address}"], stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(20)


def asked(address: str, query: str) -> list[float]:
    answer = requests.get(f"{address}/api/v1/query", params={"query": query}, timeout=20).json()
    assert answer["status"] == "success", (query, answer)
    return [float(each["value"][1]) for each in answer["data"]["result"]]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("prometheus") is None, reason="the package prometheus is not installed")
def test_prometheus_has_a_value_for_each_documented_query_under_load(production, tmp_path):
    target = urlsplit(production.home.require().monitor).netloc
    is_over, statuses, before = threading.Event(), Counter(), scrape(production)

    def load(model: str) -> None:
        samples = [payload for _, payload in production.samples(model)]
        while not is_over.is_set():
            for payload in [*samples, b""]:  # an empty body is refused
                statuses[production.predict(model, payload).status_code] += 1

    with prometheus(tmp_path, target) as address, ThreadPoolExecutor(6) as callers:
        running = [callers.submit(load, model) for model in (*MODELS, *MODELS)]
        try:
            time.sleep(LOADED)
            missing = {query for query in QUERIES if not any(map(math.isfinite, asked(address, query)))}
            by_model = asked(address, 'sum by (model) (rate(bundle_requests_total{status="200"}[1m])) > 0')
            up = asked(address, "up")
        finally:
            is_over.set()
        for one in running:
            one.result()
        assert len(QUERIES) > 10 and missing == set() and up == [1] and len(by_model) == len(MODELS)
    before, counted = counts(before), counts(scrape(production))
    assert statuses[200] <= counted["200"] - before["200"] <= statuses[200] + 3 * LOADED  # the monitor sends samples, too
    assert statuses[400] == counted["400"] - before["400"] > 0


def counts(scraped: dict) -> dict[str, float]:
    return {status: value(scraped, "bundle_requests_total", status=status) for status in ("200", "400")}
