"""serving/__main__.py and serving/commands.py: what a person types and reads."""

import contextlib
import io
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from serving.__main__ import main
from serving.verify import SUMS
from tests.serving.conftest import archive, sign

pytestmark = pytest.mark.server


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def serving(home, monkeypatch):
    """Runs a command as `python -m serving` does, in this process: a new one takes seconds to import what it needs."""

    def run(command: str, *arguments: object) -> Done:
        out, err, status = io.StringIO(), io.StringIO(), 0
        given = ["serving", command, "--home", home.folder, *arguments]
        monkeypatch.setattr(sys, "argv", [str(part) for part in given])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
            except SystemExit as ended:
                status = ended.code or 0
        if isinstance(status, str):  # Python prints it and ends with 1
            err.write(f"{status}\n")
            status = 1
        return Done(status, out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def artifacts(tmp_path):
    """An artifact of the echo, with the files that the commands read."""
    samples = tmp_path / "echo" / "samples"
    samples.mkdir(parents=True)
    (samples / "0.bin").write_text("hello")
    sample = {"file": "0.bin", "truth": "hello", "answer": [{"label": "hello", "score": 0.5}]}
    (samples / "expected.json").write_text(json.dumps([sample]))
    return tmp_path


def test_start_prints_an_answer_below_the_curl_line_that_gives_it(serving, artifacts):
    done = serving("start", "echo", "--artifacts", artifacts)
    assert done.returncode == 0, done.stderr
    command, answer = done.stdout.splitlines()[-2:]
    assert command.startswith("$ curl ") and json.loads(answer) == [{"label": "hello", "score": 0.5}]
    pasted = subprocess.run(command.removeprefix("$ ") + " -sS", shell=True, capture_output=True, text=True, check=True)
    assert json.loads(pasted.stdout) == json.loads(answer)


def test_start_hosts_the_version_that_was_asked_for_and_tries_it(serving, artifacts, client):
    try:
        done = serving("start", "echo", "--version", "1.9", "--artifacts", artifacts)
        assert done.returncode == 0, done.stderr
        assert "echo 1.9 is ready" in done.stdout and "/predictions/echo/1.9" in done.stdout
        assert "echo 1.0 still answers where a request names no version; make promote changes that" in done.stdout
    finally:
        serving("unregister", "echo", "--version", "1.9")


def test_status_shows_model_version_workers_and_queue(serving):
    done = serving("status")
    assert done.returncode == 0
    assert "echo" in done.stdout and "1 of 1 ready" in done.stdout and "0 of 100" in done.stdout


def test_a_model_that_answers_wrongly_is_not_ready(serving, client):
    client.register("echo", "3.0")
    try:
        done = serving("status")
        assert done.returncode == 1
        assert "not ready: echo 3.0 answers 0.txt otherwise than in training: " in done.stderr
        client.scale("echo", 0, "3.0")
        assert "not ready: echo 3.0: not every worker is ready" in serving("status").stderr
    finally:
        client.unregister("echo", "3.0")
    assert serving("status").returncode == 0


def test_status_without_a_server_says_so_and_ends_with_3(tmp_path):
    command = [sys.executable, "-m", "serving", "status", "--home", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 3 and "make serve" in done.stdout


def test_a_version_that_should_be_hosted_and_is_not_fails_the_probe(serving, home, client):
    serving("register", "second")
    client.unregister("second", "1.0")  # by TorchServe's own API
    done = serving("status")
    assert done.returncode == 1 and "not ready: second 1.0 should be hosted and is not; make register MODEL=second" in done.stderr
    assert "second 1.0 is no longer hosted" in serving("unregister", "second").stdout
    assert "second" not in home.registered() and serving("status").returncode == 0


def test_a_model_that_a_start_could_not_host_is_missed_afterwards(serving, home):
    done = serving("start", "broken")
    assert done.returncode == 1 and "a worker of broken 1.0 cannot start" in done.stderr
    done = serving("status")
    assert done.returncode == 1 and "broken 1.0 should be hosted and is not" in done.stderr
    assert serving("unregister", "broken").returncode == 0 and serving("status").returncode == 0


def test_an_archive_under_another_name_is_proved_like_its_own(serving, client):
    name = "Écho V2"
    client.manage("POST", "/models", url="second-1.0.mar", model_name=name, initial_workers="1", synchronous="true")
    try:
        done = serving("status")
        assert done.returncode == 0, done.stderr
        assert f"{name} 1.0 was not hosted by make: a restart does not bring it back" in done.stdout
    finally:
        client.unregister(name, "1.0")


def test_settings_that_a_running_server_does_not_take_are_named(serving, home):
    effective = (home.folder / "config.properties").read_text().splitlines()
    given = [part for line in effective for part in ("--set", line)]
    assert serving("start", *given).stderr == ""
    done = serving("start", *given, "--set", "job_queue_size=7")
    assert (
        "not applied: job_queue_size=7 (it runs with job_queue_size=100); the server runs already, make stop first" in done.stderr
    )


def test_the_curl_line_passes_a_proxy_by(serving, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    command, answer = serving("predict", "echo", "what a day").stdout.splitlines()
    pasted = subprocess.run(command.removeprefix("$ ") + " -sS", shell=True, capture_output=True, text=True, check=True)
    assert json.loads(pasted.stdout) == json.loads(answer)


def test_a_text_may_be_given_in_place_of_a_file(serving):
    done = serving("predict", "echo", "what a day")
    assert json.loads(done.stdout.splitlines()[-1])[0]["label"] == "what a day"


@pytest.mark.parametrize("text", ['it costs $HOME `id` "x" it\'s', "long " * 100], ids=["quotes", "longer than a file's name"])
def test_the_curl_line_of_any_text_can_be_pasted(serving, text):
    command, answer = serving("predict", "echo", text).stdout.splitlines()
    pasted = subprocess.run(command.removeprefix("$ ") + " -sS", shell=True, capture_output=True, text=True, check=True)
    assert json.loads(pasted.stdout) == json.loads(answer) == [{"label": text.strip(), "score": 0.5}]


def test_a_sample_that_is_refused_fails_the_start(serving, artifacts):
    (artifacts / "echo" / "samples" / "0.bin").write_bytes(b"\xff")
    assert serving("start", "echo", "--artifacts", artifacts).returncode == 1


def test_a_file_that_is_not_there_is_not_sent_as_a_text(serving):
    done = serving("predict", "echo", "picture.png")
    assert done.returncode == 1 and done.stderr == "error: picture.png: no such file\n"


def test_a_version_is_hosted_next_to_another_and_an_unchanged_one_stays(serving, client):
    assert "echo 1.10 is ready" in serving("register", "echo", "--version", "1.10").stdout
    before = client.describe("echo", "1.10")[0]["workers"][0]["pid"]
    assert "echo 1.10 is ready" in serving("register", "echo", "--version", "1.10").stdout
    assert client.describe("echo", "1.10")[0]["workers"][0]["pid"] == before
    assert client.describe("echo", "")[0]["modelVersion"] == "1.0"
    assert "echo 1.10 is no longer hosted" in serving("unregister", "echo", "--version", "1.10").stdout


def test_a_changed_archive_takes_the_old_ones_place(serving, echo_store, client, tmp_path):
    serving("register", "echo", "--version", "1.9")
    before = client.describe("echo", "1.9")[0]["workers"][0]["pid"]
    there = echo_store / "echo-1.9.mar"
    kept = Path(shutil.copy(there, tmp_path))
    archive(tmp_path, echo_store, "echo", "1.9", extra={"note.txt": "changed"})
    try:
        assert serving("register", "echo", "--version", "1.9").returncode == 0
        assert client.describe("echo", "1.9")[0]["workers"][0]["pid"] != before
    finally:
        client.unregister("echo", "1.9")
        shutil.copy(kept, there)
        sign(there)


def test_no_archive_says_what_makes_one(serving):
    done = serving("register", "nothing")
    assert done.returncode == 1
    assert done.stderr.startswith("error: no archive of 'nothing'") and "make archive MODEL=nothing" in done.stderr


def test_scale_takes_a_number(serving, client):
    assert "echo 1.0 has 2 workers" in serving("scale", "echo", "--workers", 2).stdout
    assert "echo 1.0 has 1 workers" in serving("scale", "echo", "--workers", 1).stdout
    done = serving("scale", "echo", "--workers", -1)
    assert done.returncode == 1 and done.stderr == "error: -1 workers: give 1 or more, or 0 to pause echo\n"
    assert len(client.describe("echo", "1.0")[0]["workers"]) == 1


def test_a_version_or_a_model_that_is_not_hosted_is_told_at_once(serving):
    started = time.monotonic()
    done = serving("predict", "echo", "hello", "--version", "7.7")
    assert done.returncode == 1 and '"code": 404' in done.stdout and time.monotonic() < started + 30
    done = serving("unregister", "ecko")
    assert done.returncode == 1 and done.stderr == "error: ecko is not hosted; make status lists what is\n"


def verified(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "serving", "verify", *arguments]
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120)


def test_verify_shows_a_good_store(echo_store):
    done = verified("--store", echo_store)
    assert done.returncode == 0 and done.stderr == ""
    (line,) = (line for line in done.stdout.splitlines() if "1.10" in line)
    digest = next(line[:12] for line in (echo_store / SUMS).read_text().splitlines() if "echo-1.10.mar" in line)
    assert "echo" in line and digest in line and "e" * 12 in line and "good" in line


def test_verify_names_each_fault_and_fails(tmp_path):
    store = tmp_path / "store"
    good, changed, gone = (archive(tmp_path, store, "echo", version) for version in ("1.0", "2.0", "3.0"))
    changed.write_bytes(changed.read_bytes() + b"x")
    gone.unlink()
    shutil.copy(good, store / "copy-1.0.mar")
    done = verified("--store", store)
    assert done.returncode == 1 and done.stdout.count("good") == 1 and done.stdout.count("bad") == 3
    said = done.stderr.replace(f"{store}/", "").splitlines()
    assert [line.split()[1].rstrip(":") for line in said] == ["copy-1.0.mar", "echo-2.0.mar", "echo-3.0.mar"]
    assert "not in SHA256SUMS" in said[0] and "is not the one that was built" in said[1] and "no such archive" in said[2]


def test_verify_takes_single_archives_by_path_or_by_name(echo_store):
    for named in (echo_store / "echo-1.9.mar", "echo-1.9.mar"):
        done = verified(named, "--store", echo_store)
        assert done.returncode == 0 and done.stdout.count("good") == 1


def test_verify_of_nothing_says_what_makes_something(tmp_path):
    done = verified("--store", tmp_path)
    assert done.returncode == 1 and "make archive" in done.stderr and "Traceback" not in done.stderr
