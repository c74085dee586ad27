"""What every peer's command line takes."""

import argparse
import os
from typing import Literal

import msgspec

OPTIONS = "BENCH_PEER"  # the environment's name for them: some servers start their workers with command lines of their own


class Options(msgspec.Struct, frozen=True):
    """
    Args:
        port: on loopback.
        archive: the .mar file.
        runtime: which form of the work.
        threads: of the network in each worker; 0: the cores divided by the workers.
        workers: processes, or what the server has instead; 0: as the peer's own documentation would have it.
        batch: requests at most.
        delay_ms: how long the first request of a batch waits for the others.
    """

    port: int
    archive: str
    runtime: Literal["eager", "fast"] = "eager"
    threads: int = 0
    workers: int = 0
    batch: int = 8
    delay_ms: float = 2


def options(workers: int = 1) -> Options:
    """As the command line says, or the process that started this one was told; `workers` where that does not say."""
    if os.environ.get(OPTIONS):
        return msgspec.json.decode(os.environ[OPTIONS], type=Options)
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for field in msgspec.structs.fields(Options):
        kind = str if field.name in ("archive", "runtime") else float if field.name == "delay_ms" else int
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=kind, default=field.default, required=field.required)
    given = vars(parser.parse_args())
    chosen = msgspec.convert(given | {"workers": given["workers"] or workers}, Options)
    os.environ[OPTIONS] = msgspec.json.encode(chosen).decode()
    return chosen
