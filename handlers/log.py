"""One event, one line. An engine that reads a worker's output line by line (TorchServe obeys lines that begin with `[METRICS]`)
must never find a line there that a caller's text has begun."""

import logging

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
