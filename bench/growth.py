"""What it costs when the work grows: more clients, larger pictures, longer sounds and texts, more models; and a cold start.

python -m bench growth
"""

import io
import tempfile
import time
from collections.abc import Callable, Iterator
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
from serving.client import BYTES, TYPES
from serving.registry import Registry
from serving.state import StateDir

ARTIFACTS, RECIPES = Path("artifacts"), Path("archive/recipes")
CLIENTS = (1, 4, 16, 64, 256)
MEGAPIXELS = (0.1, 0.5, 2, 8, 20)
SOUND_SECONDS = (1, 10, 60, 300)
WORDS = (10, 100, 1_000, 10_000)
MODELS = (1, 5, 10, 20)
FEW = 4  # clients, where another thing than their number grows
LOAD = 3.0  # seconds
QUALITY = 90  # of the JPEGs: a picture of 20 megapixels stays below max_request_size


def pictures() -> Iterator[tuple[str, bytes]]:
    """The photograph of the benchmark at other sizes."""
    photograph = Image.open(io.BytesIO(CASES["vision"].body(None)))
    for megapixels in MEGAPIXELS:
        scale = (megapixels * 1e6 / (photograph.width * photograph.height)) ** 0.5
        file = io.BytesIO()
        photograph.resize((round(photograph.width * scale), round(photograph.height * scale))).save(file, "JPEG", quality=QUALITY)
        yield f"{megapixels} megapixels, {len(file.getvalue()) / 1e6:.2f} MB", file.getvalue()


def sounds() -> Iterator[tuple[str, bytes]]:
    for seconds in SOUND_SECONDS:
        file = io.BytesIO()
        noise = np.random.default_rng(0).uniform(-0.3, 0.3, 16_000 * seconds)
        soundfile.write(file, noise, 16_000, format="WAV")
        yield f"{seconds} s, {len(file.getvalue()) / 1e6:.2f} MB", file.getvalue()


def texts() -> Iterator[tuple[str, bytes]]:
    words = CASES["text"].body(Artifact.read(ARTIFACTS / "intents")).decode().split()
    for count in WORDS:
        yield f"{count:,} words", " ".join((words * count)[:count]).encode()


def run(tell: Callable[[str], None]) -> tuple[list[Table], dict[str, list]]:
    """The tables, and the same for the JSON file."""
    grown: dict[str, list] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        store = folder / "store"
        models = {"resnet18": "clients", "sounds": "length of a sound", "intents": "length of a text"}
        for model in models:
            tell(f"building {model}")
            build.build(ARTIFACTS / model, RECIPES / f"{model}.yaml", store)
        began = time.monotonic()
        with servers.bundle(store, folder / ".torchserve", [("intents", "1.0")]) as host:
            answered(host, "intents", next(texts())[1], TYPES[".txt"])
            grown["cold start"] = [("seconds from nothing to the first answer", time.monotonic() - began)]
            hosting = Registry(StateDir(folder / ".torchserve"))
            for model in ("resnet18", "sounds"):
                hosting.host(model, "1.0")

            def loaded(model: str, body: bytes, content_type: str, clients: int) -> Measured:
                return measure(Target(host.url(model), body, host.headers | {"Content-Type": content_type}), clients, LOAD)

            photograph = CASES["vision"].body(None)
            for clients in CLIENTS:
                tell(f"{clients} clients")
                grown.setdefault("clients", []).append((f"{clients}", loaded("resnet18", photograph, BYTES, clients)))
            for what, model, made, content_type in (
                ("size of a picture", "resnet18", pictures, BYTES),
                ("length of a sound", "sounds", sounds, BYTES),
                ("length of a text", "intents", texts, TYPES[".txt"]),
            ):
                for label, body in made():
                    tell(f"{what}: {label}")
                    grown.setdefault(what, []).append((label, loaded(model, body, content_type, FEW)))
        grown["models"] = list(many(folder, tell))
    return [table(what, rows) for what, rows in grown.items()], grown


def many(folder: Path, tell: Callable[[str], None]) -> Iterator[tuple[str, float]]:
    """One small model under more and more versions, a worker each: seconds to be ready, memory, and the answers of the first."""
    store, recipe = folder / "many", RECIPES / "intents.yaml"
    for number in range(max(MODELS)):
        build.build(ARTIFACTS / "intents", recipe, store, f"1.{number}")
    with servers.bundle(store, folder / ".many", []) as host:
        hosting, hosted = Registry(StateDir(folder / ".many")), 0
        for count in MODELS:
            tell(f"{count} models")
            began = time.monotonic()
            for number in range(hosted, count):
                hosting.host("intents", f"1.{number}")
            each, hosted = (time.monotonic() - began) / (count - hosted), count
            body = next(texts())[1]
            rate = measure(
                Target(f"{host.url('intents')}/1.0", body, host.headers | {"Content-Type": TYPES[".txt"]}), FEW, LOAD
            ).rate
            family = [psutil.Process(host.pid), *psutil.Process(host.pid).children(recursive=True)]
            own = sum(process.memory_full_info().uss for process in family) / 1e6
            yield f"{count}: {own:,.0f} MB in all, {each:.1f} s to start each", rate


def answered(host: servers.Host, model: str, body: bytes, content_type: str) -> None:
    headers = host.headers | {"Content-Type": content_type}
    requests.post(host.url(model), data=body, headers=headers, timeout=60).raise_for_status()


def table(what: str, rows: list) -> Table:
    made = Table(title=what, title_justify="left")
    for name in (what, "answers/s", "p50 ms", "p99 ms", "other answers"):
        made.add_column(name, justify="left" if name == what else "right")
    for label, found in rows:
        if isinstance(found, Measured):
            others = ", ".join(f"{count} x {status}" for status, count in found.others.items())
            made.add_row(label, f"{found.rate:,.1f}", f"{found.p50:,.1f}", f"{found.p99:,.1f}", others)
        else:
            made.add_row(label, f"{found:,.1f}")
    return made
