"""Measure the bundle, TorchServe's stock handlers and other servers, in turn, on the same weights and inputs.

python -m bench                          # vision, audio and text against the stock handlers, and the server's own overhead
python -m bench vision --rounds 5
python -m bench growth                   # the cost of more clients, larger inputs and more models
python -m bench --peers                  # and against Triton, BentoML, MLServer, LitServe, Ray Serve, mosec and FastAPI
"""

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import requests
from rich.console import Console

from archive import build
from bench import echo_archive, growth, loop, report, rewrite, rounds, servers, tuning_view
from bench.candidates import CORES
from bench.cases import CASES, Case
from bench.load import LoadError, Target
from handlers import base
from handlers.request import RawRequest
from model_defs.artifact import Artifact
from model_defs.command import reported

ARTIFACTS, RECIPES, OUTPUT = Path("artifacts"), Path("archive/recipes"), Path("runs/bench")
CLIENTS = (1, 4, 16, 64)
CAPACITY_CLIENTS = 16  # the rate at this many clients is taken as the capacity
SHARES = (0.5, 0.9)  # of the capacity, in the open loop
# How a peer can run: the form of the work, and other fields of `bench.peers.options.Options`.
FORMS = {"eager": ("eager", {}), "fast": ("fast", {}), "fast-per-core": ("fast", {"workers": CORES, "threads": 1})}
OTHER_CASES = ("server", "growth")  # the server's own overhead; the cost of more work

console = Console(width=150)


def show(step: str) -> None:
    """Print what is being done."""
    console.print(f"[dim]{step}[/]", highlight=False)


@contextlib.contextmanager
def bundle_targets(case: Case, body: bytes, folder: Path) -> Iterator[dict[str, Target]]:
    """The bundle with the model's recipe and, for each of the case's `exact` settings, a further version with these."""
    artifact, recipe, store = Artifact.read(ARTIFACTS / case.model), RECIPES / f"{case.model}.yaml", folder / "store"
    show(f"building {case.model}")
    build.build(artifact.folder, recipe, store)
    versions = {"this bundle": "1.0"}
    for number, settings in enumerate(case.exact, 2):
        exact = folder / "exact.yaml"
        exact.write_text(rewrite.changed(recipe.read_text(encoding="utf-8"), settings), encoding="utf-8")
        name, version = f"this bundle, {settings.network}", f"{number}.0"
        build.build(artifact.folder, exact, store, version)
        versions[name] = version
    with servers.bundle(store, folder / ".torchserve", [(case.model, version) for version in versions.values()]) as server:
        headers = server.headers | {"Content-Type": case.content_type}
        yield {name: Target(f"{server.url(case.model)}/{version}", body, headers) for name, version in versions.items()}


@contextlib.contextmanager
def stock_targets(case: Case, body: bytes, folder: Path) -> Iterator[dict[str, Target]]:
    """TorchServe with its defaults and the case's stock archive."""
    archive = case.stock(Artifact.read(ARTIFACTS / case.model), folder / "stock-store")
    with servers.stock(archive.parent, folder / "stock", {case.model: archive}) as server:
        yield {"TorchServe, stock handler": Target(server.url(case.model), body, {"Content-Type": case.content_type})}


@contextlib.contextmanager
def peer_targets(
    case: Case, body: bytes, label: str, folder: Path, forms: list[str], names: list[str]
) -> Iterator[dict[str, Target]]:
    """The peers in these forms. One that does not start, or takes only pictures, is reported and left out."""
    from bench.peers.running import PeerError, started
    from bench.peers.wire import wire

    archive, targets = folder / "store" / f"{case.model}-1.0.mar", {}
    with contextlib.ExitStack() as stack:
        for name in names:
            if wire(name).is_for_pictures and not case.is_picture:
                show(f"{name} is written for pictures here; left out")
                continue
            for form in forms:
                show(f"starting {name}, {form}")
                runtime, options = FORMS[form]
                try:
                    peer = stack.enter_context(started(name, archive, runtime, body, label, **options))
                except PeerError as error:
                    console.print(f"{name}, {form}: {error}", highlight=False)
                    continue
                targets[f"{name}, {form}"] = Target(peer.url, peer.body, peer.headers)
        yield targets


def first_answers(targets: dict[str, Target], expected: list[dict]) -> dict[str, str]:
    """The start of each contender's first answer, for the report.

    Raises:
        LoadError: a contender does not answer 200.
    """
    answers = {}
    for name, target in targets.items():
        response = requests.post(target.url, data=target.body, headers=target.headers, timeout=60)
        if response.status_code != 200:
            raise LoadError(f"{name} answers {response.status_code}: {response.text[:300]}")
        answers[name] = response.content[:200].decode(errors="replace")
    return answers | {"eager": str(expected[:2])}


def bench(case: Case, arguments: argparse.Namespace) -> report.Report:
    """Start all contenders of a case and measure them in turn."""
    artifact = Artifact.read(ARTIFACTS / case.model)
    body = case.body(artifact)
    row = RawRequest({"body": body}, case.content_type)
    class_path = build.recipes.read(RECIPES / f"{case.model}.yaml").handler.class_path
    expected = msgspec.json.decode(base.load(artifact.folder, {"class_path": class_path}).answer([row]).answers[0].body)
    with tempfile.TemporaryDirectory(prefix="bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        targets = stack.enter_context(bundle_targets(case, body, folder))
        targets |= stack.enter_context(stock_targets(case, body, folder))
        if arguments.peers:
            label = expected[0]["label"]
            targets |= stack.enter_context(peer_targets(case, body, label, folder, arguments.forms, arguments.peers))
        notes = {"answers": first_answers(targets, expected)}
        figures = rounds.alternate(targets, arguments.clients, arguments.rounds, arguments.seconds, show)
        capacity = {each.contender: each.rate for each in figures if each.clients == CAPACITY_CLIENTS}
        for share in SHARES if capacity and arguments.open else ():
            rates = {contender: share * rate for contender, rate in capacity.items()}
            figures += rounds.paced(targets, rates, arguments.rounds, arguments.seconds, show)
        notes["no server"] = {
            f"{workers} x {threads}": loop.rate(folder / "store" / f"{case.model}-1.0.mar", body, workers, threads)
            for workers, threads in {(1, CORES), (CORES, 1)}
        }
    return report.Report(f"{CORES} cores of {tuning_view.processor()}", case.title, figures, notes)


def overhead(arguments: argparse.Namespace) -> list[report.Report]:
    """Measure a handler that does nothing, with the bundle's configuration and TorchServe's default one, for two body sizes."""
    reports = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        quiet, loud = (echo_archive.build(folder / kind, quiet=kind == "quiet") for kind in ("quiet", "loud"))
        running = {
            "this bundle": stack.enter_context(servers.unchecked(quiet.parent, folder / ".torchserve", [quiet])),
            "TorchServe, default configuration": stack.enter_context(
                servers.stock(loud.parent, folder / "stock", {"echo": loud})
            ),
        }
        for size in (200, 130_000):
            targets = {name: Target(server.url("echo"), bytes(size), server.headers) for name, server in running.items()}
            figures = rounds.alternate(targets, (1, 16), arguments.rounds, arguments.seconds, show)
            title = f"a handler that does nothing, bodies of {size:,} bytes"
            reports.append(report.Report(f"{CORES} cores of {tuning_view.processor()}", title, figures))
    return reports


def parse() -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the bundle and others on the same work.")
    known = [*CASES, *OTHER_CASES]
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(known)} (default: all except growth)")
    parser.add_argument("--rounds", type=int, default=3, help="each contender is measured in each (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=4, help="of load at each number of clients (default: %(default)s)")
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS, help="closed loop (default: %(default)s)")
    parser.add_argument("--no-open", dest="open", action="store_false", help="leave the open loop out")
    parser.add_argument("--peers", nargs="*", metavar="NAME", help="the servers of bench/peers/ too; all, or those named")
    forms = ["eager", "fast"]
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=forms, help="of the peers (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="where bench.json and bench.png go (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.peers is not None:
        from bench.peers.wire import PEERS

        arguments.peers = arguments.peers or list(PEERS)
    unknown = set(arguments.cases) - {*known}
    if unknown:
        parser.error(f"no case {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if "growth" in arguments.cases and len(arguments.cases) > 1:
        parser.error("growth is measured alone")
    return arguments


def require_artifacts(models: list[str]) -> None:
    """End with one line if a model has not been trained."""
    missing = [model for model in models if not (ARTIFACTS / model / "model.json").exists()]
    if missing:
        sys.exit(f'error: no artifacts of {", ".join(missing)}; run: make artifacts MODEL="{" ".join(missing)}"')


def main() -> None:
    arguments = parse()
    names = arguments.cases or ([*CASES] if arguments.peers else [*CASES, "server"])
    require_artifacts([case.model for name, case in CASES.items() if name in names or "growth" in names])
    if names == ["growth"]:
        tables, found = growth.run(show)
        for each in tables:
            console.print(each)
        print(report.write(found, arguments.output / "growth.json"))
        return
    reports = []
    with reported("bench"):
        for name in names:
            found = overhead(arguments) if name == "server" else [bench(CASES[name], arguments)]
            for each in found:
                console.print(report.table(each))
            reports += found
    file = report.write(reports, arguments.output / "bench.json")
    picture = report.draw(reports, arguments.output / "bench.png")
    for each in reports:
        print(f"\n{each.case}\n\n{report.markdown(each, CAPACITY_CLIENTS)}")
    print(f"\n{file}, {picture}")


if __name__ == "__main__":
    main()
