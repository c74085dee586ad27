"""TorchServe and Ray Serve next to each other: both serve the same archives, and are loaded in turn.

    python -m bench.engines digits sounds intents --clients 1 16 --rounds 3
    python -m bench.engines intents --plain       # and a deployment of the same network as Ray's documentation writes it

Prints answers per second, latencies, the processor time of a request by the kind of process, and what each engine costs idle.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from bench import servers
from bench.load import Target, measure
from bench.peers.running import started
from bench.rounds import Figure, alternate
from cluster import local, settings
from cluster.fleet import Fleet
from cluster.state import ClusterDir
from model_defs.command import reported
from serving.client import BYTES, TYPES, Client
from serving.processes import family
from serving.state import StateDir
from serving.verify import newest

STORE, ARTIFACTS = Path("model_store"), Path("artifacts")
SECONDS = 5.0  # of a round
IDLE = 10  # seconds in which the idle processes are watched
ENGINES = ("TorchServe", "Ray Serve")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.engines", description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16], help="connections (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--plain", action="store_true", help="also measure Ray Serve with its own batching and HTTP proxy")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of a round (default: %(default)s)")
    with reported("bench"), tempfile.TemporaryDirectory(prefix="bench-") as folder:
        compare(parser.parse_args(), Path(folder))


def compare(arguments: argparse.Namespace, folder: Path) -> None:
    """Start both, load one after the other, print."""
    console, chosen = Console(width=140), [(model, newest(STORE, model)) for model in arguments.models]
    started = time.perf_counter()
    with servers.bundle(STORE, folder / "torchserve", chosen) as torchserve:
        console.print(f"TorchServe serves after {time.perf_counter() - started:.0f} s")
        home, configured = ClusterDir(folder / ".ray"), settings.read(overrides=[f"archives={STORE.absolute()}"])
        started = time.perf_counter()
        try:
            local.start_head(home, configured, STORE)
            console.print(f"Ray's head answers after {time.perf_counter() - started:.0f} s")
            Fleet(home, configured, STORE).deploy(chosen)
            console.print(f"Ray Serve serves after {time.perf_counter() - started:.0f} s")
            ray = servers.Running(configured.ingress, Client.of(home).token("inference"), home.require().pid)
            processes = {
                "TorchServe": lambda: family(StateDir(folder / "torchserve").require().temporary),
                "Ray Serve": lambda: local.members(home),
            }
            for name, members in processes.items():
                console.print(f"{name} idle: {idle(members)}")
            for model in arguments.models:
                targets = {name: target(model, server) for name, server in zip(ENGINES, (torchserve, ray), strict=True)}
                with plain(model, STORE) if arguments.plain else contextlib.nullcontext({}) as others:
                    both = targets | others
                    figures = alternate(both, arguments.clients, arguments.rounds, arguments.seconds, lambda line: None)
                console.print(table(model, figures))
                for name, each in targets.items():
                    console.print(f"{model}, {name}: {cost(each, max(arguments.clients), processes[name])}")
        finally:
            local.stop(home)


@contextlib.contextmanager
def plain(model: str, store: Path) -> Iterator[dict[str, Target]]:
    """A replica with `serve.batch` behind Ray's Python proxy: bench/peers/ray_serve.py, in this environment."""
    body = target(model, servers.Running("", {}, 0)).body
    archive = store / f"{model}-{newest(store, model)}.mar"
    with started("ray_serve", archive, "fast", body, python=Path(sys.executable)) as peer:
        yield {"plain Ray Serve": Target(peer.url, peer.body, peer.headers)}


def target(model: str, server: servers.Running) -> Target:
    """The model's first sample."""
    samples = ARTIFACTS / model / "samples"
    file = samples / json.loads((samples / "expected.json").read_bytes())[0]["file"]
    kind = {"Content-Type": TYPES.get(file.suffix, BYTES)}
    return Target(server.url(model), file.read_bytes(), server.headers | kind)


def table(model: str, figures: list[Figure]) -> Table:
    """The figures, and each rate as a share of the first contender's."""
    first = figures[0].contender
    shown = Table("", "clients", "answers/s", f"of {first}", "p50 ms", "p99 ms", "not 200", title=model)
    rates = {(figure.contender, figure.clients): figure.rate for figure in figures}
    for figure in figures:
        share = figure.rate / rates[first, figure.clients]
        shown.add_row(
            figure.contender, str(figure.clients), f"{figure.rate:,.0f}", f"{share:.2f}", f"{figure.p50:.1f}",
            f"{figure.p99:.1f}", str(figure.others),
        )  # fmt: skip
    return shown


def cost(loaded: Target, clients: int, members) -> str:
    """The processor milliseconds of a request, by the kind of process, the costliest first."""
    before = seconds(members())
    started = time.perf_counter()
    measured = measure(loaded, clients, SECONDS)
    spent = time.perf_counter() - started
    answers = measured.rate * spent  # the load runs a little longer than what it counts
    costs = {name: 1e3 * value / answers for name, value in by_kind(since(before, members())).items()}
    parts = [f"{kind} {ms:.2f}" for kind, ms in sorted(costs.items(), key=lambda pair: -pair[1]) if ms >= 0.005]
    return f"{sum(costs.values()):.2f} CPU ms per request: {', '.join(parts)}"


def seconds(members) -> dict[psutil.Process, float]:
    """The processor time of each process so far."""
    found = {}
    for process in members:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            found[process] = times.user + times.system
    return found


def since(before: dict[psutil.Process, float], members) -> dict[psutil.Process, float]:
    return {process: value - before.get(process, 0) for process, value in seconds(members).items()}


def by_kind(spent: dict[psutil.Process, float]) -> dict[str, float]:
    found: dict[str, float] = defaultdict(float)
    for process, value in spent.items():
        with contextlib.suppress(psutil.Error):
            found[kind(process)] += value
    return found


def kind(process: psutil.Process) -> str:
    """What a process is. Ray names actors in their title, such as `ray::ServeReplica:digits:Model`, and what they do now."""
    command = " ".join(process.cmdline()[:1]) or process.name()
    return command.split()[0].rpartition("/")[2] if command.startswith("ray::") or "/" in command else process.name()


def idle(members) -> str:
    """Memory and processor time while nothing is asked, except those of the models' own processes."""
    before = seconds(members())
    time.sleep(IDLE)
    own = [process for process in members() if not is_model(kind(process))]
    cores = sum(since(before, own).values()) / IDLE
    return f"{cores:.2f} cores, {memory(own):,.0f} MB in {len(own)} processes; with the models' {memory(members()):,.0f} MB"


def is_model(kind: str) -> bool:
    return kind.startswith("ray::ServeReplica") and "gateway" not in kind


def memory(members) -> float:
    """MB, with what processes share divided among them (PSS)."""
    found = []
    for process in members:
        try:
            found.append(process.memory_full_info().pss)
        except psutil.Error:
            continue
    return sum(found) / 1e6


if __name__ == "__main__":
    main()
