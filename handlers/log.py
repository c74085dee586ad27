"""One event, one line. An engine that reads a worker's output line by line (TorchServe obeys lines that begin with `[METRICS]`)
must never find a line there that a caller's text has begun."""

import logging
from typing import TextIO

# What java.util.Scanner, with which TorchServe reads, takes for the end of a line.
BREAKS = {ord(character): repr(character)[1:-1] for character in "\r\n\x85\u2028\u2029"}


class OneLine(logging.Formatter):
    """The message and, after it, the traceback, with line breaks written as `\\n`."""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).translate(BREAKS)


def one_line_each() -> None:
    """Let every handler of the root logger, and Python's warnings, write so."""
    logging.captureWarnings(True)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(OneLine(handler.formatter._fmt if handler.formatter else None))


class BufferedMetrics(logging.Handler):
    """Lines of a logger in one write: `with` it around what logs them; what comes outside is dropped.

    A write is a system call that wakes up who reads; a line at a time, a batch's metrics took a fifth of a worker of texts.
    """

    def __init__(self, stream: TextIO):
        super().__init__()
        self.setFormatter(OneLine("%(message)s"))
        self.stream, self.lines = stream, []

    def __enter__(self) -> None:
        self.lines = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record) + "\n")

    def __exit__(self, *_) -> None:
        self.stream.write("".join(self.lines))
        self.stream.flush()
