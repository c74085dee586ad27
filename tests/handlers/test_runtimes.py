"""handlers/runtimes/: each answers as the eager network does, and says what is missing where it cannot."""

import importlib.util
import os
import subprocess
import sys

import msgspec
import pytest
import torch

from archive.export import export, exporter
from handlers import runtimes
from handlers.runtimes.compile import name_the_cache
from handlers.runtimes.onnxruntime import OnnxRuntime
from handlers.runtimes.openvino import core
from handlers.runtimes.runtime import RuntimeUnavailable
from handlers.settings import Settings
from model_defs.artifact import Artifact
from model_defs.vision import ImageTransform, SmallCNN
from tests.conftest import png, wav, write
from tests.runtimes import RUNTIMES, each, needs

CLASS_PATH = "handlers.vision.ImageClassifier"
EXPORTED = [name for name, runtime in RUNTIMES.items() if runtime.files]
AT_ONCE = [name for name in RUNTIMES if name != "compile"]  # which takes seconds to minutes
GENERAL = [name for name in AT_ONCE if name != "ncnn"]  # which texts and sounds cannot use: tests/archive/test_export.py


def settings(**section) -> Settings:
    return msgspec.convert({"class_path": CLASS_PATH} | section, Settings)


def load(folder, device: str = "cpu", **section) -> runtimes.Runtime:
    return runtimes.load(Artifact.read(folder), settings(**section), device, threads=1)


def exported(folder, **section) -> runtimes.Runtime:
    """The runtime, with the files that it needs written next to the weights."""
    export(Artifact.read(folder), settings(**section), folder)
    return load(folder, **section)


@pytest.mark.parametrize(
    ("kind", "runtime"),
    [
        pytest.param(kind, runtime, marks=needs(runtime))
        for kind, able in {"picture": AT_ONCE, "sound": GENERAL, "text": GENERAL}.items()
        for runtime in able
    ],
)
def test_every_runtime_answers_every_batch_size_as_the_network_does(kind, runtime, request):
    artifact = request.getfixturevalue(f"{kind}_artifact")
    read = Artifact.read(artifact)
    network, transform = read.build_network(), read.build_transform()
    samples = [transform(payload) for _, payload in read.samples()]
    served = exported(artifact, runtime=runtime)
    for count in (1, 2, 3, 8):
        inputs = transform.collate((samples * 2)[:count])
        with torch.inference_mode():
            expected = network(*inputs)
        outputs = served(inputs)
        assert outputs.dtype == torch.float32 and outputs.shape == expected.shape
        assert torch.allclose(outputs, expected, atol=1e-4), runtime


@pytest.mark.parametrize("runtime", each(GENERAL))
@pytest.mark.parametrize("kind", ["sequence", "transformer", "long_sound"])
def test_every_runtime_answers_texts_and_sounds_of_any_length_as_the_network_does(kind, runtime, request):
    folder = request.getfixturevalue(f"{kind}_artifact")
    network, transform = Artifact.read(folder).build_network(), Artifact.read(folder).build_transform()
    longest = wav(9, length=12_000) if kind == "long_sound" else b"a round thing with five corners " * 6
    samples = [transform(payload) for payload in [longest, *(payload for _, payload in Artifact.read(folder).samples())]]
    served = exported(folder, runtime=runtime)
    with torch.inference_mode():
        expected = transform.outputs(lambda inputs: network(*inputs), samples)
    for output, wanted in zip(transform.outputs(served, samples), expected, strict=True):
        assert torch.allclose(output, wanted, atol=1e-4), runtime


@pytest.mark.slow
@needs("compile")
def test_a_compiled_network_answers_as_the_network_does(text_artifact):
    """The smallest of the three: each compilation takes seconds to minutes."""
    inputs = Artifact.read(text_artifact).example()
    assert torch.allclose(load(text_artifact, runtime="compile")(inputs), load(text_artifact)(inputs), atol=1e-4)


@pytest.mark.parametrize("runtime", ["eager", "torchscript"])
def test_channels_last_answers_the_same(picture_artifact, runtime):
    inputs = Artifact.read(picture_artifact).example()
    plain, last = load(picture_artifact, runtime=runtime), load(picture_artifact, runtime=runtime, channels_last=True)
    assert torch.allclose(last(inputs), plain(inputs), atol=1e-4)


@pytest.mark.parametrize("runtime", ["eager", "torchscript"])
def test_bf16_is_close_and_comes_back_as_float32(picture_artifact, runtime):
    inputs = Artifact.read(picture_artifact).example()
    exact, outputs = load(picture_artifact)(inputs), load(picture_artifact, runtime=runtime, precision="bf16")(inputs)
    assert outputs.dtype == torch.float32 and not torch.equal(outputs, exact)
    assert torch.allclose(outputs.softmax(-1), exact.softmax(-1), atol=0.02)


def test_no_gradient_is_kept(picture_artifact):
    assert not load(picture_artifact)(Artifact.read(picture_artifact).example()).requires_grad


def test_the_threads_are_those_asked_for(picture_artifact):
    before = torch.get_num_threads()
    try:
        runtimes.load(Artifact.read(picture_artifact), settings(), "cpu", threads=1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_a_runtime_is_a_module_of_its_name():
    assert runtimes.names() == ["compile", "eager", "ncnn", "onnxruntime", "openvino", "torchscript"]
    assert runtimes.find("onnxruntime") is OnnxRuntime


def test_a_runtime_that_is_not_there_names_the_nearest():
    with pytest.raises(RuntimeUnavailable, match=r"no runtime 'onnxruntme'; did you mean 'onnxruntime'\?"):
        runtimes.find("onnxruntme")


def test_runtimes_are_imported_only_when_they_are_asked_for():
    loaded = "import sys, handlers.base; print([name for name in sys.modules if name.startswith('handlers.runtimes.')])"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout == "['handlers.runtimes.runtime']\n"


def test_every_runtime_that_runs_files_has_an_exporter():
    assert all(importlib.util.find_spec(exporter(name)) for name in EXPORTED)


@needs("onnxruntime")
@pytest.mark.parametrize(
    "module", ["handlers.runtimes.onnxruntime", "archive.exporters.onnxruntime", "archive.exporters.openvino"]
)
def test_onnx_runtime_writes_nothing_into_the_home_folder(module, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ORT_"))}
    subprocess.run([sys.executable, "-c", f"import {module}, onnxruntime"], env=kept | {"HOME": str(home)}, check=True)
    assert list(home.rglob("*")) == []


@pytest.mark.parametrize(
    ("section", "device", "words"),
    [
        ({"runtime": "onnxruntime", "precision": "bf16"}, "cpu", "precision bf16: runtime onnxruntime has fp32, int8"),
        ({"runtime": "torchscript", "precision": "int8"}, "cpu", "runtime torchscript has fp32, bf16, fp16"),
        ({"runtime": "eager", "precision": "fp16"}, "cpu", "fp16 is for GPUs"),
        ({"runtime": "openvino"}, "cuda:0", "write deviceType: cpu"),
        ({"runtime": "openvino", "channels_last": True}, "cpu", "chooses the layout by itself"),
    ],
)
def test_what_a_runtime_cannot_do_is_refused_in_words(picture_artifact, section, device, words):
    with pytest.raises(RuntimeUnavailable, match=words):
        load(picture_artifact, device, **section)


@pytest.mark.parametrize("runtime", EXPORTED)
def test_a_missing_package_is_named_with_what_installs_it(picture_artifact, runtime, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == runtime else find(name))
    for attempt in (load, exported):
        with pytest.raises(RuntimeUnavailable, match=f"{runtime}, which is not installed: make setup EXTRAS={runtime}"):
            attempt(picture_artifact, runtime=runtime)


@pytest.mark.parametrize("runtime", each(EXPORTED))
def test_an_artifact_without_the_exported_file_says_what_exports_it(picture_artifact, runtime):
    with pytest.raises(RuntimeUnavailable, match=r"no network\..*make archive exports it"):
        load(picture_artifact, runtime=runtime)


def test_compiling_without_a_compiler_is_refused(picture_artifact, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(RuntimeUnavailable, match="no no-such-compiler: apt-get install"):
        load(picture_artifact, runtime="compile")


@needs("openvino")
def test_bf16_is_not_exchanged_for_fp32_where_the_cpu_has_none(picture_artifact):
    if "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU has bf16 arithmetic")
    with pytest.raises(RuntimeUnavailable, match="no bf16 arithmetic"):
        exported(picture_artifact, runtime="openvino", precision="bf16")


@pytest.mark.parametrize("runtime", each(EXPORTED))
def test_a_request_that_comes_alone_is_run_by_threads_of_its_own_and_answered_alike(picture_artifact, runtime):
    read = Artifact.read(picture_artifact)
    transform = read.build_transform()
    samples = [transform(payload) for _, payload in read.samples()]
    served = exported(picture_artifact, runtime=runtime, threads=1, lone_threads=2)
    assert served.lone is not served.batches
    together = served(transform.collate(samples[:2]))
    alone = torch.cat([served(transform.collate([sample])) for sample in samples[:2]])
    assert torch.allclose(alone, together, atol=1e-4)


def test_a_runtime_of_one_number_of_threads_says_so(picture_artifact):
    with pytest.raises(RuntimeUnavailable, match="lone_threads: runtime eager has one number of threads; leave it out"):
        load(picture_artifact, lone_threads=2)


SIGNALLED_AFTER_TWO = """
import signal, sys
from tests.handlers.test_runtimes import load
first, second = (load(sys.argv[1], runtime="openvino") for _ in range(2))
del first
del second
signal.signal(signal.SIGALRM, lambda *_: print("rang"))
signal.raise_signal(signal.SIGALRM)
"""


@pytest.mark.slow
@needs("openvino")
def test_a_signal_does_not_kill_a_process_whose_openvino_networks_are_gone(picture_artifact):
    exported(picture_artifact, runtime="openvino")
    done = subprocess.run([sys.executable, "-c", SIGNALLED_AFTER_TWO, picture_artifact], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "rang\n"), done.stderr


@needs("ncnn")
def test_ncnn_takes_pictures_whose_rows_do_not_fill_its_registers(tmp_path):
    """It lays channels out in multiples of 16 bytes, which 17 x 17 numbers are not."""
    folder = write(tmp_path / "pictures", SmallCNN, ImageTransform(size=17), {f"{seed}.png": png(seed) for seed in range(4)})
    inputs = Artifact.read(folder).example()
    assert torch.allclose(exported(folder, runtime="ncnn")(inputs), load(folder)(inputs), atol=1e-4)


@needs("ncnn")
def test_a_damaged_export_is_told(picture_artifact):
    exported(picture_artifact, runtime="ncnn")
    (picture_artifact / "network.param").write_text("something else")
    with pytest.raises(RuntimeUnavailable, match=r"cannot read .*network\.param; make archive exports it anew"):
        load(picture_artifact, runtime="ncnn")


def test_inductor_gets_a_cache_where_the_user_has_no_name(monkeypatch):
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr("getpass.getuser", nameless)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    name_the_cache()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"].endswith(f"torchinductor_{os.getuid()}")
