"""The bundle beside TorchServe as it comes, and beside its peers: the same weights, the same inputs, measured in turn.

python -m bench                          # vision, audio and text against the stock handlers, and the server's own price
python -m bench vision --rounds 5
python -m bench growth                   # what more clients, larger inputs and more models cost
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
from model_defs.errors import BundleError

ARTIFACTS, RECIPES, OUTPUT = Path("artifacts"), Path("archive/recipes"), Path("runs/bench")
CLIENTS = (1, 4, 16, 64)
FULL = 16  # clients at which the capacity is taken
SHARES = (0.5, 0.9)  # of the capacity, in the open loop
# Of the peers: which form of the work, and what else `bench.peers.options.Options` takes.
FORMS = {"eager": ("eager", {}), "fast": ("fast", {}), "fast-per-core": ("fast", {"workers": CORES, "threads": 1})}
OTHERS = ("server", "growth")  # the server's own price; what it costs when the work grows

console = Console(width=150)


def tell(doing: str) -> None:
    console.print(f"[dim]{doing}[/]", highlight=False)


@contextlib.contextmanager
def ours(case: Case, body: bytes, folder: Path) -> Iterator[dict[str, Target]]:
    """The bundle with the model's recipe, and where the case names one, with settings whose answers are the eager network's."""
    artifact, recipe, store = Artifact.read(ARTIFACTS / case.model), RECIPES / f"{case.model}.yaml", folder / "store"
    tell(f"building {case.model}")
    build.build(artifact.folder, recipe, store)
    versions = {"this bundle": "1.0"}
    if case.exact:
        exact = folder / "exact.yaml"
        exact.write_text(rewrite.changed(recipe.read_text(encoding="utf-8"), case.exact), encoding="utf-8")
        build.build(artifact.folder, exact, store, "2.0")
        versions["this bundle, fp32"] = "2.0"
    with servers.bundle(store, folder / ".torchserve", [(case.model, version) for version in versions.values()]) as host:
        headers = host.headers | {"Content-Type": case.content_type}
        yield {name: Target(f"{host.url(case.model)}/{version}", body, headers) for name, version in versions.items()}


@contextlib.contextmanager
def stocks(case: Case, body: bytes, folder: Path) -> Iterator[dict[str, Target]]:
    archive = case.stock(Artifact.read(ARTIFACTS / case.model), folder / "stock-store")
    with servers.stock(archive.parent, folder / "stock", {case.model: archive}) as host:
        yield {"TorchServe, stock handler": Target(host.url(case.model), body, {"Content-Type": case.content_type})}


@contextlib.contextmanager
def peers(case: Case, body: bytes, label: str, folder: Path, forms: list[str], names: list[str]) -> Iterator[dict[str, Target]]:
    """The peers, each in the forms asked for; one that does not start, or takes only pictures, is told and left out."""
    from bench.peers.running import PeerError, started
    from bench.peers.wire import wire

    archive, found = folder / "store" / f"{case.model}-1.0.mar", {}
    with contextlib.ExitStack() as stack:
        for name in names:
            if wire(name).is_for_pictures and not case.is_picture:
                tell(f"{name} is written for pictures here; left out")
                continue
            for form in forms:
                tell(f"starting {name}, {form}")
                runtime, options = FORMS[form]
                try:
                    peer = stack.enter_context(started(name, archive, runtime, body, label, **options))
                except PeerError as error:
                    console.print(f"{name}, {form}: {error}", highlight=False)
                    continue
                found[f"{name}, {form}"] = Target(peer.url, peer.body, peer.headers)
        yield found


def check(targets: dict[str, Target], expected: list[dict]) -> dict[str, str]:
    """What each contender's first answer says, for the report; an answer that is none ends the benchmark."""
    said = {}
    for name, target in targets.items():
        answer = requests.post(target.url, data=target.body, headers=target.headers, timeout=60)
        if answer.status_code != 200:
            raise LoadError(f"{name} answers {answer.status_code}: {answer.text[:300]}")
        said[name] = answer.content[:200].decode(errors="replace")
    return said | {"eager": str(expected[:2])}


def bench(case: Case, arguments: argparse.Namespace) -> report.Report:
    artifact = Artifact.read(ARTIFACTS / case.model)
    body = case.body(artifact)
    row = RawRequest({"body": body}, case.content_type)
    class_path = build.recipes.read(RECIPES / f"{case.model}.yaml").handler.class_path
    expected = msgspec.json.decode(base.load(artifact.folder, {"class_path": class_path}).answer([row]).answers[0].body)
    with tempfile.TemporaryDirectory(prefix="bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        targets = stack.enter_context(ours(case, body, folder))
        targets |= stack.enter_context(stocks(case, body, folder))
        if arguments.peers:
            targets |= stack.enter_context(peers(case, body, expected[0]["label"], folder, arguments.forms, arguments.peers))
        notes = {"answers": check(targets, expected)}
        figures = rounds.alternate(targets, arguments.clients, arguments.rounds, arguments.seconds, tell)
        capacity = {each.contender: each.rate for each in figures if each.clients == FULL}
        for share in SHARES if capacity and arguments.open else ():
            rates = {contender: share * rate for contender, rate in capacity.items()}
            figures += rounds.paced(targets, rates, arguments.rounds, arguments.seconds, tell)
        notes["no server"] = {
            f"{workers} x {threads}": loop.rate(folder / "store" / f"{case.model}-1.0.mar", body, workers, threads)
            for workers, threads in {(1, CORES), (CORES, 1)}
        }
    return report.Report(f"{CORES} cores of {tuning_view.processor()}", case.what, figures, notes)


def ceiling(arguments: argparse.Namespace) -> list[report.Report]:
    """A handler that does nothing, behind the bundle's configuration and behind the default one; small and large bodies."""
    made = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        quiet, loud = (echo_archive.build(folder / kind, quiet=kind == "quiet") for kind in ("quiet", "loud"))
        hosted = {
            "this bundle": stack.enter_context(servers.unchecked(quiet.parent, folder / ".torchserve", [quiet])),
            "TorchServe, default configuration": stack.enter_context(
                servers.stock(loud.parent, folder / "stock", {"echo": loud})
            ),
        }
        for size in (200, 130_000):
            targets = {name: Target(host.url("echo"), bytes(size), host.headers) for name, host in hosted.items()}
            figures = rounds.alternate(targets, (1, 16), arguments.rounds, arguments.seconds, tell)
            what = f"a handler that does nothing, bodies of {size:,} bytes"
            made.append(report.Report(f"{CORES} cores of {tuning_view.processor()}", what, figures))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="The bundle beside others, on the same work.")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join([*CASES, *OTHERS])} (default: all)")
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
    unknown = set(arguments.cases) - {*CASES, *OTHERS}
    if unknown:
        parser.error(f"no case {', '.join(sorted(unknown))}; there are {', '.join([*CASES, *OTHERS])}")
    if arguments.cases == ["growth"]:
        tables, grown = growth.run(tell)
        for each in tables:
            console.print(each)
        print(report.write(grown, arguments.output / "growth.json"))
        return
    reports = []
    try:
        for name in arguments.cases or ([*CASES] if arguments.peers else [*CASES, "server"]):
            reports += ceiling(arguments) if name == "server" else [bench(CASES[name], arguments)]
            console.print(report.table(reports[-1]))
    except BundleError as error:
        sys.exit(f"error: {error}")
    file = report.write(reports, arguments.output / "bench.json")
    picture = report.draw(reports, arguments.output / "bench.png")
    for each in reports:
        print(f"\n{each.case}\n\n{report.markdown(each, FULL)}")
    print(f"\n{file}, {picture}")


if __name__ == "__main__":
    main()
