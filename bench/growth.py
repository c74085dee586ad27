"""What more work costs: more clients, larger pictures, longer sounds and texts, more models. Also the time of a cold start.

python -m bench growth
"""

import io
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import psutil
import requests
import soundfile
from PIL import Image
from rich.table import Table

from archive import build
from bench import servers
from bench.cases import CASES
from bench.load import Measured, Target, measure
from model_defs.artifact import Artifact
from serving import processes
from serving.client import BYTES, TYPES
from serving.registry import Registry
from serving.state import StateDir

ARTIFACTS, RECIPES = Path("artifacts"), Path("archive/recipes")
CLIENTS = (1, 4, 16, 64, 256)
MEGAPIXELS = (0.1, 0.5, 2, 8, 20)
SOUND_SECONDS = (1, 10, 60, 300)
WORDS = (10, 100, 1_000, 10_000)
MODELS = (1, 5, 20, 50)
MODELS_ALONE = (1, 5, 20)  # 50 would need 19 GB
PEERS, PEER_MODELS = ("litserve", "pytriton"), (1, 5)
FEW_CLIENTS = 4  # where something else grows
LOAD_SECONDS = 3.0
QUALITY = 90  # of the JPEGs: a picture of 20 megapixels stays below max_request_size


def pictures() -> Iterator[tuple[str, bytes]]:
    """The photograph of the benchmark in other sizes."""
    photograph = Image.open(io.BytesIO(CASES["vision"].body(None)))
    for megapixels in MEGAPIXELS:
        scale = (megapixels * 1e6 / (photograph.width * photograph.height)) ** 0.5
        file = io.BytesIO()
        photograph.resize((round(photograph.width * scale), round(photograph.height * scale))).save(file, "JPEG", quality=QUALITY)
        yield f"{megapixels} megapixels, {len(file.getvalue()) / 1e6:.2f} MB", file.getvalue()


def sounds() -> Iterator[tuple[str, bytes]]:
    """Noise of several lengths, 16 kHz WAV."""
    for seconds in SOUND_SECONDS:
        file = io.BytesIO()
        noise = np.random.default_rng(0).uniform(-0.3, 0.3, 16_000 * seconds)
        soundfile.write(file, noise, 16_000, format="WAV")
        yield f"{seconds} s, {len(file.getvalue()) / 1e6:.2f} MB", file.getvalue()


def texts() -> Iterator[tuple[str, bytes]]:
    """The words of the benchmark, repeated to several lengths."""
    words = CASES["text"].body(Artifact.read(ARTIFACTS / "intents")).decode().split()
    for count in WORDS:
        yield f"{count:,} words", " ".join((words * count)[:count]).encode()


# What grows in a request's body: the model, the bodies, their content type.
BODIES = {
    "size of a picture": ("resnet18", pictures, BYTES),
    "length of a sound": ("sounds", sounds, BYTES),
    "length of a text": ("intents", texts, TYPES[".txt"]),
}


def run(show: Callable[[str], None]) -> tuple[list[Table], dict[str, list]]:
    """Measure everything.

    Args:
        show: prints what is being done.

    Returns:
        The tables, and the same figures for the JSON file.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        figures = one_server(folder, show)
        figures["models"] = list(many_models(folder, show))
        figures["models in other servers"] = list(peers_with_models(folder, show))
    return [table(title, rows) for title, rows in figures.items()], figures


def one_server(folder: Path, show: Callable[[str], None]) -> dict[str, list]:
    """A cold start, then more clients and larger bodies on one server of three models."""
    store, figures = folder / "store", {}
    for model, _, _ in BODIES.values():
        show(f"building {model}")
        build.build(ARTIFACTS / model, RECIPES / f"{model}.yaml", store)
    start = time.monotonic()
    with servers.bundle(store, folder / ".torchserve", [("intents", "1.0")]) as server:
        answer(server, "intents", next(texts())[1], TYPES[".txt"])
        figures["cold start"] = [("seconds from nothing to the first answer", time.monotonic() - start)]
        registry = Registry(StateDir(folder / ".torchserve"))
        for model in ("resnet18", "sounds"):
            registry.host(model, "1.0")

        def load(model: str, body: bytes, content_type: str, clients: int) -> Measured:
            headers = server.headers | {"Content-Type": content_type}
            return measure(Target(server.url(model), body, headers), clients, LOAD_SECONDS)

        photograph = CASES["vision"].body(None)
        figures["clients"] = []
        for clients in CLIENTS:
            show(f"{clients} clients")
            figures["clients"].append((f"{clients}", load("resnet18", photograph, BYTES, clients)))
        for title, (model, bodies, content_type) in BODIES.items():
            figures[title] = []
            for label, body in bodies():
                show(f"{title}: {label}")
                figures[title].append((label, load(model, body, content_type, FEW_CLIENTS)))
    return figures


def many_models(folder: Path, show: Callable[[str], None]) -> Iterator[tuple[str, float]]:
    """One small model in more and more versions, with one worker each: workers that are forked, then workers that start alone.

    Yields:
        A label with the memory and the time to start each, and the answers per second of the first version.
    """
    store, recipe = folder / "many", folder / "one-worker.yaml"
    recipe.write_text(re.sub(r"^minWorkers:.*", "minWorkers: 1", (RECIPES / "intents.yaml").read_text(), flags=re.M))
    for index in range(max(MODELS)):
        build.build(ARTIFACTS / "intents", recipe, store, f"1.{index}")
    for is_forked in (True, False):
        state = StateDir(folder / f".many-{is_forked}")
        changes = [f"fork_workers={str(is_forked).lower()}", "explanation_workers=false"]
        with servers.bundle(store, state.folder, [], changes) as server:
            registry, hosted = Registry(state), 0
            for count in MODELS if is_forked else MODELS_ALONE:
                kind = f"{count} {'forked' if is_forked else 'alone'}"
                show(f"{kind}: starting")
                start = time.monotonic()
                for index in range(hosted, count):
                    registry.host("intents", f"1.{index}")
                seconds, hosted = (time.monotonic() - start) / (count - hosted), count
                headers = server.headers | {"Content-Type": TYPES[".txt"]}
                target = Target(f"{server.url('intents')}/1.0", next(texts())[1], headers)
                rate = measure(target, FEW_CLIENTS, LOAD_SECONDS).rate
                java, python = memory(processes.family(state.require().temporary))
                newest = registry.client.describe("intents", f"1.{count - 1}")[0]["workers"][0]["pid"]
                own = processes.private_memory(newest)
                yield f"{kind}: Python {python:,.0f} MB, Java {java:,.0f}; a worker {own}, {seconds:.1f} s to start", rate


def peers_with_models(folder: Path, show: Callable[[str], None]) -> Iterator[tuple[str, float]]:
    """Other servers with several of the same small model, in the eager form. One that is not installed is left out.

    Yields:
        A label with the memory and the time to start all, and the answers per second of the first model.
    """
    from bench.peers.running import PeerError, family, started

    archive, body = folder / "many" / "intents-1.0.mar", next(texts())[1]
    for name in PEERS:
        for count in PEER_MODELS:
            show(f"{name}, {count} models")
            start = time.monotonic()
            try:
                with started(name, archive, "eager", body, models=count, threads=1) as peer:
                    seconds = time.monotonic() - start
                    rate = measure(Target(peer.url, peer.body, peer.headers), FEW_CLIENTS, LOAD_SECONDS).rate
                    java, python = memory(family(peer.pids[0]))
                    yield f"{name}, {count}: {java + python:,.0f} MB in all, {seconds:.1f} s to start all", rate
            except PeerError as error:
                show(f"{name}: {error}")


def memory(all_of_them: Iterable[psutil.Process]) -> tuple[float, float]:
    """The proportional set size (PSS) in MB: of Java's process, and of all others together. Shared pages count once."""
    java = python = 0.0
    for process in all_of_them:
        size = process.memory_full_info().pss / 1e6
        if process.name() == "java":
            java += size
        else:
            python += size
    return java, python


def answer(server: servers.Running, model: str, body: bytes, content_type: str) -> None:
    """Send one request and wait for its answer."""
    headers = server.headers | {"Content-Type": content_type}
    requests.post(server.url(model), data=body, headers=headers, timeout=60).raise_for_status()


def table(title: str, rows: list) -> Table:
    """Rows of a label and what was measured, or a label and one number."""
    made = Table(title=title, title_justify="left")
    for name in (title, "answers/s", "p50 ms", "p99 ms", "other answers"):
        made.add_column(name, justify="left" if name == title else "right")
    for label, found in rows:
        if isinstance(found, Measured):
            others = ", ".join(f"{count} x {status}" for status, count in found.others.items())
            made.add_row(label, f"{found.rate:,.1f}", f"{found.p50:,.1f}", f"{found.p99:,.1f}", others)
        else:
            made.add_row(label, f"{found:,.1f}")
    return made
