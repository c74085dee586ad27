"""A real Ray Serve on this machine answers as TorchServe does, changes versions under load, and loses nothing by a fault."""

import json
import os
import re
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import requests

from cluster import local
from serving.client import BYTES
from serving.errors import ServerError
from serving.evaluate import evaluate
from tests.bundle import wait_for
from tests.cluster.ray_cluster import RayBundle, archives, cluster_of, spoil
from tests.faults.steady_load import CALLERS, SteadyLoad

pytest.importorskip("ray", reason="make setup EXTRAS=ray")
pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.timeout(600)]
BATCH = 8


@pytest.fixture(scope="module")
def ray(artifacts, tmp_path_factory):
    """Digits, one replica, which waits for full batches; intents, two replicas, with versions 2.0 and 3.0 in the store."""
    folder = tmp_path_factory.mktemp("ray")
    archives(artifacts, folder, {"digits": ["1.0"]}, minWorkers=1, maxWorkers=1, maxBatchDelay=200)
    store = archives(artifacts, folder, {"intents": ["1.0", "2.0", "3.0"]}, minWorkers=2, maxWorkers=2)
    spoil(store / "intents-3.0.mar")
    with cluster_of(artifacts, store, folder, [("digits", "1.0"), ("intents", "1.0")]) as running:
        yield running
    assert not local.members(running.home)


@pytest.mark.parametrize("protocol", ["native", "v1", "v2"])
@pytest.mark.parametrize("model", ["digits", "intents"])
def test_a_whole_test_set_is_answered_as_in_training(ray, model, protocol):
    test_set, archive = ray.artifacts / model / "test.zip", ray.store / f"{model}-1.0.mar"
    figures = evaluate(ray.home, model, test_set, clients=8, protocol=protocol, archive=archive)
    assert figures.disagreements == [] and figures.inputs > 100


def test_the_ingress_is_haproxy_and_no_python_process(ray):
    assert local.ingress_program(ray.settings.port) == "haproxy"
    with ThreadPoolExecutor(8) as clients:
        seen = set(clients.map(lambda _: ray.predict("intents", b"wake me").headers["x-replica"], range(40)))
    assert seen <= {str(replica["pid"]) for replica in ray.replicas("intents")} and len(seen) == 2


def test_seven_good_requests_and_a_truncated_one_meet_in_a_batch(ray):
    samples = ray.samples("digits")
    bodies = [samples[index % len(samples)] for index in range(BATCH)]
    start = Barrier(BATCH)

    def send(index: int) -> requests.Response:
        start.wait()
        payload = bodies[index][1]
        return ray.predict("digits", payload[: len(payload) // 2] if index == 3 else payload)

    for _ in range(5):
        with ThreadPoolExecutor(BATCH) as clients:
            answers = list(clients.map(send, range(BATCH)))
        assert answers[3].status_code == 400 and "not a picture" in answers[3].json()["message"]
        for index in {*range(BATCH)} - {3}:
            assert answers[index].json()[0]["label"] == bodies[index][0]["answer"][0]["label"]


def test_the_gateway_explains_and_refuses_in_json(ray):
    _, payload = ray.samples("digits")[0]
    assert ray.explain("digits", payload).json()["heatmap"]
    assert ray.explain("digits", payload[:50]).status_code == 400
    for path, kind in (
        ("/predictions/nobody", "ModelNotFoundException"),
        ("/explanations/nobody", "ModelNotFoundException"),
        ("/predictions/digits/9.0", "ModelVersionNotFoundException"),
        ("/elsewhere", "ResourceNotFoundException"),
    ):
        answer = requests.post(
            ray.client.server.inference + path, data=payload, headers=ray.client.token("inference"), timeout=30
        )
        assert (answer.status_code, answer.json()["type"]) == (404, kind)
    assert requests.get(f"{ray.client.server.inference}/ping", timeout=30).json() == {"status": "Healthy"}


def test_a_model_says_what_it_takes_and_whether_it_is_ready(ray):
    def get(path: str, **headers) -> requests.Response:
        return requests.get(ray.client.server.inference + path, headers=headers, timeout=30)

    key = ray.client.token("inference")
    assert get("/v2/models/digits", **key).json()["versions"] == ["1.0"]
    described = get("/models/digits", **key).json()
    assert described["name"] == "digits" and described["input"]["schema"]
    assert get("/v2/models/digits/ready").json()["ready"] is True and get("/ready").json()["ready"] is True
    assert get("/v2/models/nobody/ready").status_code == 404
    assert get("/v2/models/digits").json()["type"] == "InvalidKeyException"


def test_sagemakers_address_asks_the_model_that_the_header_names(ray):
    sample, payload = ray.samples("digits")[0]
    headers = ray.client.token("inference") | {"Content-Type": "image/png"}
    url = f"{ray.client.server.inference}/invocations"
    named = requests.post(url, data=payload, headers=headers | {"X-Amzn-SageMaker-Target-Model": "digits.mar"}, timeout=30)
    assert named.json()[0]["label"] == sample["answer"][0]["label"]
    assert requests.post(url, data=payload, headers=headers, timeout=30).status_code == 404  # there are two models


def test_prometheus_finds_torchserves_metrics_on_the_node(ray):
    payload = ray.samples("digits")[0][1]
    assert ray.predict("digits", payload).status_code == 200 and ray.predict("digits", payload[:50]).status_code == 400
    discovered = json.loads((local.folder_of(ray.home, "session") / "prom_metrics_service_discovery.json").read_text())
    targets = [target for group in discovered for target in group["targets"]]

    def scraped() -> str:
        return "".join(requests.get(f"http://{target}/metrics", timeout=30).text for target in targets)

    names = [f"ray_{name.lower()}_count" for name in ("PreprocessTime", "InferenceTime", "PostprocessTime", "BatchSize")]
    names.append("ray_refusedrequests_total")
    wait_for(lambda: all(re.search(rf'^{name}{{.*ModelName="digits"', scraped(), re.MULTILINE) for name in names), 60)


@pytest.mark.parametrize("api", ["predictions", "explanations"])
def test_without_the_key_a_request_is_refused_as_by_torchserve(ray, api):
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        answer = requests.post(ray.url("digits", api), data=ray.samples("digits")[0][1], headers=headers, timeout=30)
        assert (answer.status_code, answer.json()["type"]) == (400, "InvalidKeyException")


def test_rays_own_api_refuses_who_has_no_token(ray):
    assert requests.get(f"{ray.settings.api}/api/serve/applications/", timeout=30).status_code in (401, 403)
    assert requests.post(f"{ray.settings.api}/api/jobs/", json={"entrypoint": "id"}, timeout=30).status_code in (401, 403)


def test_a_version_next_to_the_default_one_has_its_own_address(ray):
    ray.fleet.deploy([("intents", "2.0")])
    answers = {version: ray.client.predict("intents", b"wake me", version=version) for version in (None, "1.0", "2.0")}
    versions = {version: answer.headers["x-model-version"] for version, answer in answers.items()}
    assert versions == {None: "1.0", "1.0": "1.0", "2.0": "2.0"}
    assert ray.fleet.undeploy("intents", "2.0") == ["intents-2.0"]
    assert ray.client.predict("intents", b"wake me", version="2.0").status_code == 404


def test_callers_do_not_notice_promotions_and_rollbacks(ray, trials, report):
    with SteadyLoad(ray, "intents") as load:
        for _ in range(trials):
            assert ray.fleet.promote("intents", "2.0") == "1.0"
            assert ray.fleet.rollback("intents") == ("1.0", "2.0")
            load.wait_for_answers(5)
    report.add("cluster: promote, and roll back", trials, load, note=load.latency_text())
    assert load.lost_bare() == load.lost_through_client() == Counter()
    assert ray.predict("intents", b"wake me").headers["x-model-version"] == "1.0"


def test_a_version_that_answers_its_samples_otherwise_is_not_promoted(ray, report):
    before = {replica["actor_id"] for replica in ray.replicas("intents")}
    with SteadyLoad(ray, "intents") as load, pytest.raises(ServerError, match="cannot be deployed"):
        ray.fleet.promote("intents", "3.0")
    report.add("cluster: promote a version that answers otherwise", 1, load, note="the old replicas stay")
    assert load.lost_bare() == load.lost_through_client() == Counter()
    assert {replica["actor_id"] for replica in ray.replicas("intents")} == before
    assert ray.predict("intents", b"wake me").headers["x-model-version"] == "1.0"


def has_replicas(ray: RayBundle, count: int) -> bool:
    return len(ray.replicas("intents")) == count


def test_a_replica_that_is_killed_costs_the_client_nothing(ray, trials, report):
    seconds = []
    with SteadyLoad(ray, "intents") as load:
        for _ in range(trials):
            killed = ray.replicas("intents")[0]["pid"]
            started = time.monotonic()
            os.kill(killed, signal.SIGKILL)
            wait_for(lambda killed=killed: killed not in pids(ray) and has_replicas(ray, 2), 180)
            seconds.append(time.monotonic() - started)
            load.wait_for_answers(5)
    report.add("cluster: kill -9 of one of two replicas", trials, load, seconds)
    assert load.lost_through_client() == Counter()
    assert sum(load.lost_bare().values()) <= 2 * CALLERS * trials  # what the replica had in hand


def pids(ray: RayBundle) -> set[int]:
    return {replica["pid"] for replica in ray.replicas("intents")}


@pytest.mark.parametrize("name", ["haproxy", "ray::ServeController"])
def test_haproxy_and_the_controller_are_started_again_when_they_are_killed(ray, trials, report, name):
    with SteadyLoad(ray, "intents") as load:
        for _ in range(trials):
            killed = [process for process in local.members(ray.home) if name in (process.name(), process.cmdline()[0])]
            assert killed
            for process in killed:
                process.kill()
            load.wait_for_answers(5)
            wait_for(lambda: has_replicas(ray, 2), 120)
    report.add(f"cluster: kill -9 of {name}", trials, load)
    assert load.lost_through_client() == Counter()


def test_replicas_come_and_go_and_nobody_notices(ray, trials, report):
    with SteadyLoad(ray, "intents") as load:
        for _ in range(trials):
            ray.fleet.scale("intents", None, 3)
            wait_for(lambda: has_replicas(ray, 3), 120)
            ray.fleet.scale("intents", None, 2)
            wait_for(lambda: has_replicas(ray, 2), 120)
            load.wait_for_answers(5)
    report.add("cluster: scale to 3 replicas and back to 2", trials, load, note=load.latency_text())
    assert load.lost_bare() == load.lost_through_client() == Counter()


def test_the_configuration_is_valid_for_serve_itself(ray):
    from ray.serve.schema import ServeDeploySchema

    configured = ray.fleet.api.configured()
    ServeDeploySchema.model_validate(ray.fleet.config(configured))
    assert "secret" not in json.dumps(configured) and ray.key not in json.dumps(configured)


def test_nothing_of_the_callers_key_is_in_a_log(ray):
    logs = [
        file
        for file in local.folder_of(ray.home, "session").rglob("*")
        if file.is_file() and file.suffix in (".log", ".out", ".err")
    ]
    assert logs and not [file for file in logs if ray.key.encode() in file.read_bytes()]


def test_a_text_reaches_the_model_byte_for_byte(ray):
    sample, payload = ray.samples("intents")[0]
    answer = ray.client.predict("intents", payload, BYTES)
    assert answer.json()[0]["label"] == sample["answer"][0]["label"]
