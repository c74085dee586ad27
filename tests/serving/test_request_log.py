"""serving/request_log.py: requests counted from the log that TorchServe writes of its answers."""

from pathlib import Path

import pytest

from serving.request_log import SECONDS, Histogram, RequestLog
from serving.state import RegisteredModel

REGISTERED = {"digits": RegisteredModel("1.0", versions={"1.0": "", "2.0-rc1": ""}), "two_words": RegisteredModel("1.0")}
NETTY = "epollEventLoopGroup-3-1"


def answered(thread: str, path: str = "/predictions/digits", status: int = 200, ms: int = 7) -> str:
    return f'{thread} /127.0.0.1:40000 "POST {path} HTTP/1.1" {status} {ms}\n'


def timed(thread: str, waited: int, rest: int, kind: str = "Backend") -> str:
    return f"{thread} Waiting time ns: {waited}, {kind} time ns: {rest}\n"


@pytest.fixture
def file(tmp_path) -> Path:
    file = tmp_path / "requests.log"
    file.write_text(answered("W-9000-digits_1.0") + timed("W-9000-digits_1.0", 1, 1))  # of the server before this one
    return file


@pytest.fixture
def log(file) -> RequestLog:
    return RequestLog(file)


def append(file: Path, *lines: str) -> None:
    with file.open("a") as opened:
        opened.write("".join(lines))


def counts(log: RequestLog) -> dict[tuple[str, str, str], float]:
    log.read(REGISTERED)
    return {key: histogram.count for key, histogram in log.seconds.items()}


def test_an_answer_counts_for_the_version_whose_worker_gave_it(file, log):
    worker = "W-9001-two_words_2.0-rc1"
    append(file, answered(worker, "/predictions/two_words", 422), timed(worker, 300_000, 200_000))
    assert counts(log) == {("two_words", "2.0-rc1", "422"): 1}
    whole, waited = log.seconds["two_words", "2.0-rc1", "422"], log.waited["two_words", "2.0-rc1"]
    assert whole.sum == pytest.approx(0.0005) and waited.sum == pytest.approx(0.0003)
    assert dict(whole.buckets())["0.0005"] == 1 and dict(whole.buckets())["0.00025"] == 0


def test_lines_of_workers_that_answer_at_once_find_their_own_answers(file, log):
    one, other = "W-9000-digits_1.0", "W-9001-digits_2.0-rc1"
    append(file, answered(one), answered(other, status=400), timed(other, 0, 2_000), timed(one, 0, 3_000))
    assert counts(log) == {("digits", "1.0", "200"): 1, ("digits", "2.0-rc1", "400"): 1}


def test_a_worker_that_died_has_its_whole_time_in_one_figure(file, log):
    worker = "W-9000-digits_1.0"
    append(file, answered(worker, status=500), timed(worker, 10_000_000, 90_000_000, "Inference"))
    assert counts(log) == {("digits", "1.0", "500"): 1}
    assert log.seconds["digits", "1.0", "500"].sum == pytest.approx(0.09)


@pytest.mark.parametrize(
    ("path", "counted"),
    [
        ("/predictions/digits", ("digits", "1.0")),
        ("/explanations/digits/2.0-rc1", ("digits", "2.0-rc1")),
        ("/v1/models/digits:predict", ("digits", "1.0")),
        ("/v2/models/digits/infer", ("digits", "1.0")),
        ("/predictions/digits?x=1", ("digits", "1.0")),
        ("/predictions/digits/9.9", ("", "")),
        ("/predictions/no_such_model", ("", "")),
        ("/models/digits", None),
        ("/ping", None),
    ],
)
def test_what_the_frontend_refuses_counts_for_the_model_that_the_caller_has_named(file, log, path, counted):
    append(file, answered(NETTY, path, 503, 20))
    assert counts(log) == ({(*counted, "503"): 1} if counted else {})


def test_a_caller_who_has_hung_up_is_not_counted(file, log):
    worker = "W-9000-digits_1.0"
    append(file, timed(worker, 1, 1), answered(worker), timed(worker, 1, 1), timed(worker, 1, 1))
    assert counts(log) == {("digits", "1.0", "200"): 1}


def test_a_description_is_no_prediction(file, log):
    worker = "W-9000-digits_1.0"
    append(file, answered(worker, "/models/digits?customized=true"), answered(worker, status=415), timed(worker, 1, 1))
    assert counts(log) == {("digits", "1.0", "415"): 1}


def test_lines_that_come_in_pieces_are_counted_once(file, log):
    worker = "W-9000-digits_1.0"
    text = (answered(worker) + timed(worker, 1, 1)) * 3
    for index in range(0, len(text), 7):
        append(file, text[index : index + 7])
        log.read(REGISTERED)
    assert counts(log) == {("digits", "1.0", "200"): 3}


def test_no_line_is_lost_when_the_server_begins_another_file(file, log):
    worker = "W-9000-digits_1.0"
    append(file, answered(worker), timed(worker, 1, 1), answered(worker))
    log.read(REGISTERED)
    append(file, timed(worker, 1, 1))
    file.rename(file.with_name("requests.1.log"))
    append(file, answered(worker), timed(worker, 1, 1))
    assert counts(log) == {("digits", "1.0", "200"): 3}


def test_a_log_that_does_not_exist_yet_is_read_from_its_start(tmp_path):
    log = RequestLog(tmp_path / "requests.log")
    assert counts(log) == {}
    append(log.file, answered("W-9000-digits_1.0"), timed("W-9000-digits_1.0", 1, 1))
    assert counts(log) == {("digits", "1.0", "200"): 1}


def test_other_lines_and_what_callers_write_into_an_address_are_no_answers(file, log):
    worker = "W-9000-digits_1.0"
    append(file, "java.lang.IllegalStateException: no\n", "\tat somewhere\n", answered(NETTY, '/predictions/digits"_200_1', 404))
    append(file, answered(NETTY, f"/predictions/{worker}_Waiting", 404), "\n")
    assert counts(log) == {}


def test_a_histogram_counts_what_is_at_most_as_large_as_each_bound():
    histogram = Histogram(SECONDS)
    for value in (0, 0.0001, 0.00011, 30, 31):
        histogram.observe(value)
    found = dict(histogram.buckets())
    assert found["0.0001"] == 2 and found["0.00025"] == 3 and found["30.0"] == 4 and found["+Inf"] == histogram.count == 5
    assert histogram.sum == pytest.approx(61.00021)
