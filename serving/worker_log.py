"""Find in the workers' log why a worker cannot start."""

from collections.abc import Callable
from itertools import dropwhile
from pathlib import Path

from serving.errors import ServerError


def watch(log: Path | None, model: str, version: str) -> Callable[[], None]:
    """A function that raises a ServerError once the log tells, after this moment, that a worker of the model cannot start."""
    start = log.stat().st_size if log and log.exists() else 0

    def check() -> None:
        if log and (death := death_in(log, start, f"{model}_{version}")):
            raise ServerError(f"a worker of {model} {version} cannot start: {death}; see {log}")

    return check


def death_in(log: Path, start: int, worker: str) -> str | None:
    """The error that ended a worker of that name, if the log tells of one after its first `start` bytes."""
    if not log.exists():
        return None
    with log.open("rb") as file:
        file.seek(start)
        lines = [line for line in file.read().decode(errors="replace").splitlines() if f"-{worker}-" in line]
    messages = [line.partition(" - ")[2] for line in lines]
    for message in messages:
        if message.startswith("this worker cannot start"):  # from the bundle's own handlers: a traceback in one line
            return message.rpartition("\\n")[2]
    since = dropwhile(lambda message: not message.startswith("Backend worker process died"), messages)
    next(since, None)
    # A traceback follows, line by line. Its last line may not be in the log yet.
    return next((message for message in since if message and not message.startswith((" ", "Traceback"))), None)
