"""The options of every peer's command line."""

import argparse
import os
from typing import Literal

import msgspec

OPTIONS = "BENCH_PEER"  # their environment variable: some servers start workers with other command lines


class Options(msgspec.Struct, frozen=True):
    """
    Args:
        port: on the loopback interface.
        archive: the .mar file.
        runtime: the form of the work.
        threads: of the network in each worker; 0 means the cores divided by the workers.
        workers: processes, or what the server has instead; 0 means the number in the peer's documentation.
        batch: the most requests in a batch.
        models: how many times the server hosts the archive; only LitServe and Triton take more than one.
        delay_ms: how long the first request of a batch waits for others.
    """

    port: int
    archive: str
    runtime: Literal["eager", "fast"] = "eager"
    threads: int = 0
    workers: int = 0
    batch: int = 8
    delay_ms: float = 2
    models: int = 1


def options(workers: int = 1) -> Options:
    """The options of the command line, or those of the process that started this one.

    Args:
        workers: the number if the command line gives none.
    """
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
