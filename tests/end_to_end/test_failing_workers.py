"""A batch that takes longer than TorchServe waits, and a worker that lost its GPU: what each caller gets, and what still runs."""

import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
import yaml

from archive.build import record
from tests.bundle import wait_for

pytestmark = pytest.mark.server

# A text classifier that breaks if it is asked for this many labels. No request can do that to the real one.
SLOW, LOST = 7, 8
BRITTLE = f"""

class Brittle(TextClassifier):
    def postprocess(self, output, sample, request):
        if request.parameters.top_k == {SLOW}:
            import time
            time.sleep(60)
        if request.parameters.top_k == {LOST}:
            self.is_lost = lambda: True
            raise RuntimeError("CUDA error: device-side assert triggered")
        return super().postprocess(output, sample, request)
"""
TIMEOUT = 4  # seconds after which TorchServe kills the worker; the handler's deadline is 80% of it


@pytest.fixture(scope="module")
def brittle(bundle):
    """A function that asks the brittle version of `intents` for so many labels."""
    archive = bundle.store / "intents-8.8.mar"
    with zipfile.ZipFile(bundle.store / "intents-1.0.mar") as source, zipfile.ZipFile(archive, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "handlers/text.py":
                content += BRITTLE.encode()
            if name == "MAR-INF/MANIFEST.json":
                content = content.replace(b'"1.0"', b'"8.8"')
            if name == "model-config.yaml":
                recipe = yaml.safe_load(content)
                recipe |= {"responseTimeout": TIMEOUT, "batchSize": 8, "maxBatchDelay": 300}
                recipe["handler"]["class_path"] = "handlers.text.Brittle"
                content = yaml.safe_dump(recipe)
            target.writestr(name, content)
    record(archive)
    bundle.client.register("intents", "8.8", bundle.home.workers_log)

    def ask(top_k: int) -> requests.Response:
        body = {"inputs": "wake me at seven", "parameters": {"top_k": top_k}}
        return requests.post(bundle.client.url("intents", "8.8"), json=body, headers=bundle.client.token("inference"), timeout=60)

    yield ask
    bundle.client.unregister("intents", "8.8")
    archive.unlink()


def worker(bundle) -> dict:
    return bundle.client.describe("intents", "8.8")[0]["workers"][0]


def test_a_slow_request_gets_504_and_its_neighbours_and_the_worker_do_not_notice(bundle, brittle):
    before = worker(bundle)["pid"]
    with ThreadPoolExecutor(4) as callers:
        answers = list(callers.map(brittle, [1, SLOW, 1, 1]))
    assert [answer.status_code for answer in answers] == [200, 504, 200, 200]
    assert "raise responseTimeout" in answers[1].json()["message"]
    assert worker(bundle)["pid"] == before and brittle(1).status_code == 200


def test_a_worker_that_lost_its_gpu_says_so_and_a_new_one_replaces_it(bundle, brittle):
    before = worker(bundle)["pid"]
    answer = brittle(LOST)
    assert answer.status_code == 503 and "send the request again" in answer.json()["message"]
    wait_for(lambda: worker(bundle)["pid"] not in (before, -1) and worker(bundle)["status"] == "READY", seconds=120)
    assert brittle(1).status_code == 200


def test_refused_requests_are_counted_by_reason(bundle):
    before = bundle.metric("RefusedRequests", "digits", Reason="BAD_REQUEST")
    for _ in range(3):
        assert bundle.predict("digits", b"no picture").status_code == 400
    # TorchServe reads a worker's metrics from its output, after the answer has gone.
    wait_for(lambda: bundle.metric("RefusedRequests", "digits", Reason="BAD_REQUEST") == before + 3)
