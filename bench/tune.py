"""Find the best recipe for a model on this machine, and write it: `make tune MODEL=digits`.

python -m bench.tune digits                          # the most answers per second for 16 clients
python -m bench.tune digits --goal "p99<50ms"        # the most within a bound; or --goal latency: the shortest wait of one client

It builds each installed runtime and precision and compares it with the eager network, as `make archive` does. Those outside the
accuracy bound are refused. A separate server then serves the fastest under load, with several numbers of workers and threads and
several batch sizes. The best goes into the recipe, with a comment that has the date, the machine and the figures.
"""

import argparse
import contextlib
import logging
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import torch
from rich.console import Console
from rich.live import Live

from archive import build, recipe
from archive.errors import ArchiveError
from bench import rewrite, servers, tuning_view
from bench.candidates import Candidate, layouts, networks, refinements
from bench.goal import CLIENTS, Goal
from bench.load import Measured, Target, measure
from handlers.base import WrongAnswer
from handlers.request import RawRequest
from handlers.runtimes.runtime import RuntimeUnavailable
from handlers.settings import Settings
from model_defs.artifact import Artifact
from model_defs.command import reported
from serving.client import BYTES, TYPES, Client
from serving.registry import Registry
from serving.state import ServerError, StateDir

RECIPES, ARTIFACTS = Path("archive/recipes"), Path("artifacts")
WIDTH = 150  # characters of the table
LOAD_SECONDS = 3.0  # at each number of clients
FASTEST = 3  # this many networks are served
MAX_COMPARED = 200  # test inputs while tuning; `make archive` compares the winner on more
TRIAL_SECONDS = 1.0  # for the speed of a network without a server


class Trial(msgspec.Struct):
    """A candidate with its measurements, one per number of clients; or with the reason why it was not served."""

    candidate: Candidate
    measured: list[Measured] = []
    reason: str = ""


class Tuning:
    """The search for one model.

    Args:
        artifact: of the model.
        file: its recipe.
        goal: scores the trials.
        seconds: after this time no new trial begins.
        folder: for archives and the server.
        input_file: what every request holds; a sample of the artifact of middle size if None.
    """

    def __init__(self, artifact: Artifact, file: Path, goal: Goal, seconds: float, folder: Path, input_file: Path | None = None):
        self.artifact, self.file, self.goal, self.folder = artifact, file, goal, folder
        self.deadline = time.monotonic() + seconds
        self.recipe = recipe.read(file)
        self.trials: list[Trial] = []
        samples = sorted(artifact.samples(), key=lambda pair: len(pair[1]))
        sample, self.payload = samples[len(samples) // 2]
        self.suffix = Path(sample.file).suffix
        if input_file:
            self.payload, self.suffix = input_file.read_bytes(), input_file.suffix
        self.store = folder / "store"
        self.store.mkdir()

    def run(self) -> Trial:
        """Try everything and return the best trial.

        Raises:
            ArchiveError: no candidate could be served.
        """
        with Live(tuning_view.table(self.trials, self.goal), console=Console(width=WIDTH), refresh_per_second=2) as live:
            self.show = lambda step="": live.update(tuning_view.table(self.trials, self.goal, step))
            fastest = self.fastest(networks(torch.cuda.is_available()))
            with self.server() as registry:
                for one in fastest:
                    for layout in layouts(one):
                        self.serve(layout, registry)
                for one in refinements(self.best().candidate):
                    self.serve(one, registry)
        return self.best()

    def best(self) -> Trial:
        served = [trial for trial in self.trials if trial.measured]
        if not served:
            raise ArchiveError("no runtime could be served; the table says why")
        return max(served, key=lambda trial: self.goal.score(trial.measured))

    def fastest(self, candidates: list[Candidate]) -> list[Candidate]:
        """The fastest of the candidates that answer as the eager network does."""
        speeds = {}
        for one in candidates:
            self.show(f"building {one.network}")
            try:
                handler = build.assemble(self.artifact, self.settings(one), self.staging_folder(one))
                speeds[one] = self.speed(handler, one.batch), handler
            except (ArchiveError, RuntimeUnavailable) as error:
                self.trials.append(Trial(one, reason=str(error)))
        accepted = []
        for one, (speed, handler) in sorted(speeds.items(), key=lambda item: item[1][0], reverse=True):
            if len(accepted) == FASTEST:
                self.trials.append(Trial(one, reason=f"slower: {speed:,.0f} inputs/s without a server"))
                continue
            self.show(f"comparing {one.network} with eager fp32")
            try:
                build.prove(self.artifact, handler, one.batch, MAX_COMPARED)
                accepted.append(one)
            except (ArchiveError, WrongAnswer) as error:
                self.trials.append(Trial(one, reason=str(error)))
        return accepted

    def settings(self, one: Candidate) -> Settings:
        """The recipe's handler section with the candidate's runtime."""
        kept = {"class_path", "init_args", "tolerance", "metric_loss", "max_inputs"}
        settings = {name: value for name, value in msgspec.to_builtins(self.recipe.handler).items() if name in kept}
        return msgspec.convert(settings | one.handler(), Settings)

    def speed(self, handler, batch: int) -> float:
        """Inputs per second in this process, with decoding. The first batch is not counted."""
        rows = [RawRequest({"body": self.payload})] * batch
        handler.answer(rows)
        start, batches = time.perf_counter(), 0
        while time.perf_counter() < start + TRIAL_SECONDS:
            handler.answer(rows)
            batches += 1
        return batches * batch / (time.perf_counter() - start)

    def staging_folder(self, one: Candidate) -> Path:
        return self.folder / f"{one.runtime}-{one.precision}-{one.channels_last}"

    @contextlib.contextmanager
    def server(self) -> Iterator[Registry]:
        """A server for the trials."""
        with servers.bundle(self.store, self.folder / ".torchserve", []):
            yield Registry(StateDir(self.folder / ".torchserve"))

    def serve(self, one: Candidate, registry: Registry) -> None:
        """Serve the candidate and measure it, unless it was tried already, or the time is up and one was measured."""
        is_late = time.monotonic() > self.deadline and any(trial.measured for trial in self.trials)
        if is_late or any(trial.candidate == one for trial in self.trials):
            return
        self.show(f"serving {one}")
        version = f"0.{len(self.trials)}"
        changed = self.folder / "recipe.yaml"
        changed.write_text(rewrite.changed(self.file.read_text(encoding="utf-8"), one), encoding="utf-8")
        try:
            build.pack(self.artifact.name, self.staging_folder(one), changed, self.store, version)
            registry.host(self.artifact.name, version)
            measured = [measure(self.target(registry.client, version), clients, LOAD_SECONDS) for clients in CLIENTS]
            registry.drop(self.artifact.name, version)
            self.trials.append(Trial(one, measured))
        except ServerError as error:
            self.trials.append(Trial(one, reason=str(error)))
        registry.archive(self.artifact.name, version).unlink(missing_ok=True)
        self.show()

    def target(self, client: Client, version: str) -> Target:
        headers = client.token("inference") | {"Content-Type": TYPES.get(self.suffix, BYTES)}
        return Target(client.url(self.artifact.name, version), self.payload, headers)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.tune", description="Find a model's fastest recipe on this machine.")
    parser.add_argument("model", metavar="MODEL", help="a folder in artifacts/ and a recipe in archive/recipes/")
    parser.add_argument("--goal", default="throughput", help="throughput, latency, or a bound: p99<50ms (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=9, help="after this time no new trial begins (default: %(default)s)")
    parser.add_argument("--input", type=Path, metavar="FILE", help="what every request holds (default: a sample of the artifact)")
    parser.add_argument("--dry-run", action="store_true", help="leave the recipe as it is")
    arguments = parser.parse_args()
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.ERROR)
    file, artifact = RECIPES / f"{arguments.model}.yaml", ARTIFACTS / arguments.model
    with reported("tune"):
        goal = Goal(arguments.goal)
        with tempfile.TemporaryDirectory(prefix="tune-") as folder:
            tuning = Tuning(Artifact.read(artifact), file, goal, 60 * arguments.minutes, Path(folder), arguments.input)
            best = tuning.run()
    picture = tuning_view.draw(tuning.trials, best, artifact / "report" / "tuning.png")
    print(f"best for {goal.text}: {best.candidate}; the picture: {picture}")
    if not arguments.dry_run:
        rewrite.write(file, best.candidate, tuning_view.comment(best, goal))
        print(f"written into {file}")


if __name__ == "__main__":
    main()
