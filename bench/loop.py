"""The same decoding, network and encoding without a server: the most that the cores can do.

python -m bench.loop ARCHIVE FILE --workers 2 --threads 1
"""

import argparse
import json
import multiprocessing
import tempfile
import time
import zipfile
from pathlib import Path

SECONDS = 5.0


def answer(archive: Path, payload: bytes, threads: int, batch: int, ready, results) -> None:
    """Answer batches of one input for `SECONDS`, and put the rate into `results`.

    Args:
        ready: a barrier: all processes start together.
    """
    import yaml

    from handlers import base
    from handlers.request import RawRequest

    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(archive) as file:
        file.extractall(folder)
        manifest = json.loads(file.read("MAR-INF/MANIFEST.json"))
        section = yaml.safe_load(file.read(manifest["model"]["configFile"]))["handler"]
        handler = base.load(folder, section | {"threads": threads})
    rows = [RawRequest({"body": payload})] * batch
    assert handler.answer(rows).answers[0].code == 200
    ready.wait()
    end, count = time.perf_counter() + SECONDS, 0
    while time.perf_counter() < end:
        handler.answer(rows)
        count += batch
    results.put(count / SECONDS)


def rate(archive: Path, payload: bytes, workers: int, threads: int, batch: int = 8) -> float:
    """Inputs per second that `workers` processes with `threads` threads each answer."""
    spawn = multiprocessing.get_context("spawn")  # the libraries' threads do not survive a fork
    ready, results = spawn.Barrier(workers), spawn.Queue()
    processes = [spawn.Process(target=answer, args=(archive, payload, threads, batch, ready, results)) for _ in range(workers)]
    for process in processes:
        process.start()
    total = sum(results.get(timeout=120) for _ in processes)
    for process in processes:
        process.join()
    return total


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.loop", description="Measure how much the cores can do without a server."
    )
    parser.add_argument("archive", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    total = rate(arguments.archive, arguments.file.read_bytes(), arguments.workers, arguments.threads)
    print(f"{total:,.1f} inputs/s by {arguments.workers} processes with {arguments.threads} threads each")


if __name__ == "__main__":
    main()
