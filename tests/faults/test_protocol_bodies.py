"""Changed bodies on every protocol: none gets a 5xx, no worker starts again, and neighbours get their answers.

`make test ARGS="tests/faults/test_protocol_bodies.py --requests=2000"` sends 2,000 on each protocol.
"""

from collections import Counter

import pytest
from rich.progress import Progress

from tests.faults.concurrent_clients import ConcurrentClients
from tests.faults.process_usage import processes
from tests.faults.protocol_bodies import bodies
from tests.faults.request_case import RequestCase

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(1_800)]
PATHS = {
    "native": "/predictions/{model}",
    "v1": "/v1/models/{model}:predict",
    "vertex": "/v1/models/{model}:predict",
    "v2": "/v2/models/{model}/infer",
    "sagemaker": "/invocations?model_name={model}",
}
MODELS = ("intents", "digits")
SHORT = 300  # bodies on each protocol, without --requests
GOOD = 10  # one request in so many is a native one that must be answered
FINE = frozenset({200, *range(400, 500)})


@pytest.mark.parametrize("protocol", PATHS)
def test_changed_bodies_are_answered_or_refused_and_hurt_no_neighbour(production, request, protocol, capfd):
    count = request.config.getoption("requests") or SHORT
    before = processes(production)
    statuses: Counter = Counter()
    faults = []
    for seed, model in enumerate(MODELS):
        _, payload = production.samples(model)[0]
        good = production.predict(model, payload)
        neighbour = RequestCase(
            kind="neighbour", model=model, body=payload, headers={"Content-Type": production.content_type(model)}
        )
        cases = [neighbour if index % GOOD == 0 else None for index in range(count // len(MODELS))]
        changed = bodies(protocol, "how is the weather", len(cases), seed)
        cases = [
            case or RequestCase(kind=protocol, model=model, body=body, headers=headers, path=PATHS[protocol], statuses=FINE)
            for case, (body, headers) in zip(cases, changed, strict=True)
        ]
        with Progress(disable=True) as progress:
            clients = Clients(production, progress, good.content)
            results = clients.send(cases, protocol)
        faults += results.faults
        for one in results.statuses.values():
            statuses += one
    with capfd.disabled():
        print(f"\n{protocol}: {dict(sorted(statuses.items()))}", flush=True)
    assert not faults, f"{len(faults)} faults:\n" + "\n".join(faults[:20])
    assert statuses[200] and sum(statuses.values()) > statuses[200]
    assert processes(production) == before, "a worker was started again"


class Clients(ConcurrentClients):
    """Clients that check a changed body's status alone, and a neighbour's whole answer."""

    def __init__(self, bundle, progress, good: bytes):
        super().__init__(bundle, progress)
        self.good = good

    def ask(self, case: RequestCase) -> tuple[int, str | None]:
        status, body = self.exchange(case)
        if status >= 400:
            self.hang_up()
        if status not in case.statuses:
            return status, f"{status}: {body[:300]!r}"
        if case.kind == "neighbour" and labels(body) != labels(self.good):
            return status, f"another answer: {body[:300]!r}"
        if b"Traceback" in body:
            return status, f"a traceback: {body[:300]!r}"
        return status, None


def labels(body: bytes) -> bytes:
    """The answer up to its first score, whose last digits depend on the batch."""
    return body.partition(b"score")[0]
