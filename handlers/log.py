"""One event, one line. An engine that reads a worker's output line by line (TorchServe obeys lines that begin with `[METRICS]`)
must never find a line there that a caller's text has begun."""

import logging


class OneLine(logging.Formatter):
    """The message and, after it, the traceback, with line breaks written as `\\n`."""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("\r", "\\r").replace("\n", "\\n")


def one_line_each() -> None:
    """Let every handler of the root logger, and Python's warnings, write so."""
    logging.captureWarnings(True)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(OneLine(handler.formatter._fmt if handler.formatter else None))
