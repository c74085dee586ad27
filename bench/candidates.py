"""What can be tried of a recipe, as data: runtimes and precisions first, then how many workers, threads, requests a batch.

Knows nothing of servers, nor of how a trial ends.
"""

import os
from collections.abc import Iterator

import msgspec

from handlers import runtimes

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
BATCHES = (1, 2, 4, 16, 32)
DELAYS = (5,)  # ms, beside 1: what is gained by waiting longer is measured, and as a rule nothing


class Candidate(msgspec.Struct, frozen=True):
    """The settings of a recipe that a trial changes; `workers` is both its minWorkers and its maxWorkers."""

    runtime: str
    precision: str
    channels_last: bool
    workers: int = 1
    threads: int = 0
    lone_threads: int = 0
    decoders: int = 1
    batch: int = 8
    delay: int = 1

    def handler(self) -> dict:
        """Its part of the recipe's `handler:` section; what is the default is left out."""
        settings = {"runtime": self.runtime, "precision": self.precision, "channels_last": self.channels_last}
        settings |= {"threads": self.threads, "decoders": self.decoders, "lone_threads": self.lone_threads}
        defaults = {"precision": "fp32", "channels_last": False, "threads": 0, "lone_threads": 0, "decoders": 1}
        return {name: value for name, value in settings.items() if defaults.get(name) != value}

    def recipe(self) -> dict:
        """Its part of the recipe beside `handler:`."""
        workers = {"minWorkers": self.workers, "maxWorkers": self.workers}
        return workers | {"batchSize": self.batch, "maxBatchDelay": self.delay}

    @property
    def network(self) -> str:
        """What runs the network."""
        return f"{self.runtime} {self.precision}{', channels last' if self.channels_last else ''}"

    def __str__(self) -> str:
        return (
            f"{self.network}, {self.workers} x {self.threads or CORES} threads, "
            f"{f'{self.lone_threads} for one alone, ' if self.lone_threads else ''}"
            f"{self.decoders} decoders, batch {self.batch}, {self.delay} ms"
        )


REFERENCE = Candidate("eager", "fp32", False)


def networks(has_gpu: bool) -> list[Candidate]:
    """The eager fp32 network, and one candidate for each runtime and precision that may be faster on the GPU, or on the CPU."""
    # fp32 leaves a GPU's tensor cores idle; a CPU has no fast fp16.
    device, slow = ("cuda", "fp32") if has_gpu else ("cpu", "fp16")
    found = [REFERENCE]
    for name in runtimes.names():
        runtime = runtimes.find(name)
        if device in runtime.devices and (has_gpu or not runtime.takes_minutes_to_start):
            precisions = [precision for precision in runtime.precisions if precision != slow]
            found += [Candidate(name, precision, runtime.lays_out_channels_last) for precision in precisions]
    return found


def layouts(one: Candidate, cores: int = CORES) -> Iterator[Candidate]:
    """The same network in one worker with all cores, in a worker a core, and between; threads for each and for all."""
    workers = 1
    while workers <= cores:
        for threads in sorted({cores // workers, min(cores, 2 * cores // workers)}):
            yield msgspec.structs.replace(one, workers=workers, threads=threads)
        workers *= 2


def refinements(one: Candidate, cores: int = CORES) -> Iterator[Candidate]:
    """The same layout with other batches, delays and decoders, one change each."""
    if one.threads < cores and runtimes.find(one.runtime).has_lone_threads:
        yield msgspec.structs.replace(one, lone_threads=cores)
    for batch in BATCHES:
        yield msgspec.structs.replace(one, batch=batch)
    for delay in DELAYS:
        yield msgspec.structs.replace(one, delay=delay)
    if cores > 1:
        yield msgspec.structs.replace(one, decoders=cores)
