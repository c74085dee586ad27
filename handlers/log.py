"""Logging of a worker: one event is one line.

TorchServe reads a worker's output line by line and obeys lines that start with `[METRICS]`. Text from a caller must never start
a line there.
"""

import logging
import warnings
from typing import TextIO

# The characters that end a line for java.util.Scanner, with which TorchServe reads.
LINE_BREAKS = {ord(character): repr(character)[1:-1] for character in "\r\n\x85\u2028\u2029"}


class OneLine(logging.Formatter):
    """The message and the traceback in one line. Line breaks are written as `\\n`."""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).translate(LINE_BREAKS)


def one_line_each() -> None:
    """Make all handlers of the root logger write one line per event, and Python's warnings too."""
    logging.captureWarnings(True)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(OneLine(handler.formatter._fmt if handler.formatter else None))


def leave_out_inputs() -> None:
    """Log nothing about what callers send. Pillow warns of odd files; enough of them would push real faults out of the log."""
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"PIL\.")


class BufferedMetrics(logging.Handler):
    """Writes all lines that a logger gets inside a `with` at once. It drops what the logger gets outside.

    Each write is a system call that wakes the reader. Written line by line, metrics took 20% of a text worker's time.
    """

    def __init__(self, stream: TextIO):
        super().__init__()
        self.setFormatter(OneLine("%(message)s"))
        self.stream = stream
        self.lines: list[str] = []

    def __enter__(self) -> None:
        self.lines = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record) + "\n")

    def __exit__(self, *_) -> None:
        self.stream.write("".join(self.lines))
        self.stream.flush()
