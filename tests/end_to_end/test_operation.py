"""Operation of a real server: served equals trained, metrics, whose code a worker runs, which worker must not start."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import requests
import yaml

from archive.build import build, record
from serving.errors import ServerError
from serving.evaluate import evaluate
from tests.bundle import wait_for

pytestmark = pytest.mark.server
MODELS = ("digits", "sounds", "intents")


@pytest.mark.parametrize("model", MODELS)
def test_what_is_served_is_what_was_trained(bundle, model):
    figures = evaluate(bundle.home, model, bundle.artifacts / model / "test.zip", clients=16)
    assert figures.disagreements == []
    assert figures.value == figures.offline > 0.8


@pytest.mark.parametrize("model", MODELS)
def test_each_batch_is_measured(bundle, model):
    names = ("PreprocessTime", "InferenceTime", "PostprocessTime")
    before = {name: bundle.metric(f"{name}_count", model) for name in names}
    for _ in range(3):
        assert bundle.predict(model, bundle.samples(model)[0][1]).status_code == 200
    for name in names:
        # TorchServe reads a worker's metrics from its output, after the answer has gone.
        wait_for(lambda name=name: bundle.metric(f"{name}_count", model) >= before[name] + 3)
        assert bundle.metric(f"{name}_count", model) <= before[name] + 4  # the monitor sends a sample, too
        assert bundle.metric(f"{name}_sum", model) > 0


def write_altered(good: Path, bad: Path, version: str, name: str, alter) -> None:
    """An archive of another version, with one file altered: `alter` takes its bytes and returns the new ones."""
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(bad, "w") as target:
        for each in source.namelist():
            content = source.read(each)
            if each == name:
                content = alter(content)
            if each == "MAR-INF/MANIFEST.json":
                content = content.replace(b'"1.0"', f'"{version}"'.encode())
            target.writestr(each, content)
    record(bad)


def test_a_workers_code_comes_from_its_archive(bundle):
    other = bundle.store / "digits-7.7.mar"
    prints = b"\nprint('this code is the one of digits 7.7', flush=True)\n"
    write_altered(bundle.store / "digits-1.0.mar", other, "7.7", "handlers/base.py", lambda code: code + prints)
    try:
        bundle.client.register("digits", "7.7", bundle.home.workers_log)
        assert "this code is the one of digits 7.7" in bundle.home.workers_log.read_text()
        assert bundle.client.predict("digits", bundle.samples("digits")[0][1], version="7.7").status_code == 200
    finally:
        bundle.client.unregister("digits", "7.7")
        other.unlink()


def test_a_worker_whose_samples_come_out_wrong_never_serves(bundle):
    """The archive is changed after it was built, as by a bad disk or by mistake."""

    def alter(content: bytes) -> bytes:
        samples = json.loads(content)
        samples[0]["answer"][0]["score"] -= 0.05
        return json.dumps(samples).encode()

    bad = bundle.store / "digits-6.6.mar"
    write_altered(bundle.store / "digits-1.0.mar", bad, "6.6", "samples/expected.json", alter)
    try:
        with pytest.raises(ServerError, match=r"a worker of digits 6\.6 cannot start: .*WrongAnswer: sample .* training says"):
            bundle.client.register("digits", "6.6", bundle.home.workers_log)
        assert bundle.predict("digits", bundle.samples("digits")[0][1]).status_code == 200
    finally:
        bad.unlink()


def test_two_versions_answer_side_by_side(bundle, artifacts, tmp_path):
    recipe = tmp_path / "digits.yaml"
    recipe.write_text(Path("archive/recipes/digits.yaml").read_text())
    build(artifacts / "digits", recipe, bundle.store, "2.0")
    bundle.client.register("digits", "2.0", bundle.home.workers_log)
    try:
        sample, payload = bundle.samples("digits")[0]
        for version in ("1.0", "2.0"):
            assert bundle.client.predict("digits", payload, version=version).json()[0]["label"] == sample["answer"][0]["label"]
    finally:
        bundle.client.unregister("digits", "2.0")


def test_more_workers_give_the_same_answers(bundle):
    bundle.client.scale("intents", 2)
    try:
        figures = evaluate(bundle.home, "intents", bundle.artifacts / "intents" / "test.zip", clients=8)
        assert figures.disagreements == []
    finally:
        bundle.client.scale("intents", 1)


BREAKS_AT_ONE = """

right = top


def top(logits, labels, top_k, *rest):
    if top_k == 1:
        raise KeyError("first\\n[METRICS]Fake.ms:1|#Level:Host|#type:GAUGE")
    return right(logits, labels, top_k, *rest)
"""


def test_an_error_of_the_model_is_one_line_of_the_log_and_an_id_for_the_caller(bundle, artifacts, tmp_path):
    """A handler whose postprocess fails: the log has the traceback and the request's id, the answer has only the id."""
    recipe = yaml.safe_load(Path("archive/recipes/digits.yaml").read_text())
    (tmp_path / "digits.yaml").write_text(yaml.safe_dump(recipe))
    archive = build(artifacts / "digits", tmp_path / "digits.yaml", bundle.store, "7.7")
    with zipfile.ZipFile(archive) as source:
        entries = {name: source.read(name) for name in source.namelist()}
    entries["model_defs/postprocess.py"] += BREAKS_AT_ONE.encode()
    with zipfile.ZipFile(archive, "w") as target:
        for name, content in entries.items():
            target.writestr(name, content)
    record(archive)
    bundle.client.register("digits", "7.7", bundle.home.workers_log)
    try:
        payload = bundle.samples("digits")[0][1]
        url, token = bundle.client.url("digits", "7.7"), bundle.client.token("inference")
        answer = requests.post(url, files={"data": payload}, data={"top_k": "1"}, headers=token, timeout=30)
        assert answer.status_code == 500 and "Traceback" not in answer.text and "KeyError" not in answer.text
        id = answer.headers["x-request-id"]
        wait_for(lambda: lines_of(bundle, id))  # a thread of TorchServe writes the workers' lines, a little later
        lines = lines_of(bundle, id)
        assert len(lines) == 1 and "KeyError" in lines[0] and "Traceback" in lines[0]
        assert "Fake" not in bundle.client.metrics()
    finally:
        bundle.client.unregister("digits", "7.7")
        archive.unlink()


def lines_of(bundle, id: str) -> list[str]:
    """The lines of the workers' log about a request."""
    return [line for line in bundle.home.workers_log.read_text().splitlines() if id in line]


def test_status_lists_the_models(bundle):
    command = [sys.executable, "-m", "serving", "status", "--home", bundle.home.folder]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for model in MODELS:
        assert model in shown
