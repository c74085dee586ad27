import http.server
import threading
import time

import numpy as np
import pytest

from bench import load
from bench.load import LoadError, Target, measure, pace, rhythm

pytestmark = pytest.mark.skipif(load.shutil.which(load.TOOL) is None, reason="h2load is not installed")


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers 200 if the body is the one in the header `Expected`, after the seconds in the header `Wait`."""

    protocol_version = "HTTP/1.1"  # connections stay open

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(float(self.headers.get("Wait", 0)))
        self.send_response(200 if body == self.headers["Expected"].encode() else 400)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def url():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_the_body_and_the_headers_arrive_and_answers_are_timed(url):
    found = measure(Target(url, b"a body", {"Expected": "a body"}), clients=2, seconds=1)
    assert found.rate > 10
    assert found.others == {}
    assert 0 < found.p50 <= found.p99
    assert found.tool < 1


def test_a_refusal_does_not_count_as_an_answer(url):
    found = measure(Target(url, b"another", {"Expected": "a body"}), clients=2, seconds=1)
    assert found.rate == 0
    assert set(found.others) == {400}


def test_the_open_loop_sends_at_the_rate_asked_for(url):
    found = pace(Target(url, b"x", {"Expected": "x"}), rate=40, seconds=1)
    assert found.rate == pytest.approx(40, rel=0.25)
    assert (found.clients, found.asked, found.others) == (0, 40, {})


def test_the_open_loop_does_not_wait_for_earlier_answers(url):
    found = pace(Target(url, b"x", {"Expected": "x", "Wait": "0.5"}), rate=20, seconds=1)
    assert found.p50 == pytest.approx(500, rel=0.2)
    assert found.rate == pytest.approx(20 / 1.5, rel=0.25)  # the last ones are answered half a second late


@pytest.mark.parametrize("rate", [0.5, 18.7, 37.3, 250, 1733, 9000])
def test_a_rate_becomes_whole_requests_and_milliseconds(rate):
    burst, period_ms = rhythm(rate)
    assert 1000 * burst / period_ms == pytest.approx(rate, rel=0.02)
    assert burst == 1 or period_ms < 100  # no long pauses between bursts


def test_a_port_where_nobody_listens_is_an_error():
    with pytest.raises(LoadError, match=r"got nothing from http://127\.0\.0\.1:9/"):
        measure(Target("http://127.0.0.1:9/", b"x"), clients=1, seconds=0.5)


def test_only_answers_within_the_time_count(monkeypatch):
    starts = np.arange(0, 4_000_000, 100_000)  # µs, ten per second
    lines = np.stack([starts, np.full(len(starts), 200), np.full(len(starts), 10_000)], axis=1)
    monkeypatch.setattr(load, "run", lambda *_: (lines, 0.0))
    found = measure(Target("", b""), clients=1, seconds=2)
    assert found.rate == 10
    assert found.p50 == found.p99 == 10
