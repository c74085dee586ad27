"""What one caller who explains all the time costs the callers of predictions.

    python -m bench.explaining digits --rounds 3

In each round: predictions of 16 clients alone, then next to that caller. Once with workers of their own for explanations, once
without.
"""

import argparse
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import requests
from rich.console import Console
from rich.table import Table

from archive import build
from bench import servers
from bench.load import Target, measure
from model_defs.artifact import Artifact
from model_defs.command import reported
from serving.client import BYTES, TYPES

CLIENTS, SECONDS = 16, 8.0
WAYS = {"workers of their own": "true", "shared workers": "false"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.explaining", description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--rounds", type=int, default=3, help="how often (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of load each (default: %(default)s)")
    arguments = parser.parse_args()
    with reported("bench.explaining"):
        compare(arguments.model, arguments.rounds, arguments.seconds)


def compare(model: str, rounds: int, seconds: float) -> None:
    artifact = Artifact.read(Path("artifacts") / model)
    sample, body = artifact.samples()[0]
    table = Table("explanations have", "p99 alone, ms", "p99 with explanations, ms", "ratio", "answers/s", "with", "explanations")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        store = Path(folder, "store")
        build.build(artifact.folder, Path("archive/recipes") / f"{model}.yaml", store)
        for way, setting in WAYS.items():
            home = Path(folder, f".torchserve-{setting}")
            with servers.bundle(store, home, [(model, "1.0")], [f"explanation_workers={setting}"]) as server:
                headers = server.headers | {"Content-Type": TYPES.get(Path(sample.file).suffix, BYTES)}
                target = Target(server.url(model), body, headers)
                pairs, explained = [], 0
                for _ in range(rounds):
                    alone = measure(target, CLIENTS, seconds)
                    with explaining(target) as count:
                        pairs.append((alone, measure(target, CLIENTS, seconds)))
                    explained += count[0]
            p99, with_caller = (median(pair[index].p99 for pair in pairs) for index in (0, 1))
            rate, slower = (median(pair[index].rate for pair in pairs) for index in (0, 1))
            table.add_row(
                way,
                f"{p99:.1f}",
                f"{with_caller:.1f}",
                f"{with_caller / p99:.2f}",
                f"{rate:.0f}",
                f"{slower:.0f}",
                str(explained),
            )
    Console(width=130).print(table)


@contextmanager
def explaining(target: Target) -> Iterator[list[int]]:
    """A caller who asks for one explanation after the other. Yields how many came, in a list of one number."""
    is_over, count = threading.Event(), [0]

    def ask() -> None:
        with requests.Session() as session:
            while not is_over.is_set():
                url = target.url.replace("/predictions/", "/explanations/")
                count[0] += session.post(url, data=target.body, headers=target.headers, timeout=120).ok

    caller = threading.Thread(target=ask, daemon=True)
    caller.start()
    try:
        yield count
    finally:
        is_over.set()
        caller.join()


if __name__ == "__main__":
    main()
