"""What every command does with an error: one line for the person who typed it, and the rest in a file that the line names."""

import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model_defs.errors import BundleError

FOLDER = Path("runs/errors")
MAX_LINES = 20  # of a message on the screen


@contextmanager
def reported(command: str, folder: Path = FOLDER) -> Iterator[None]:
    """End the process with status 1 and a message on stderr where the block raises; with 130 after Ctrl-C.

    An error of ours is its own message. Of any other one, the message is its kind and first line; its traceback goes to a
    file. So does that of an error in the user's own code.

    Args:
        command: the first part of the file's name.
        folder: for such files.
    """
    try:
        yield
    except BundleError as error:
        rest = f"; its traceback is in {kept(traceback.format_exc(), command, folder)}" if error.has_traceback else ""
        sys.exit(f"error: {shortened(str(error), command, folder)}{rest}")
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        said = next(iter(str(error).strip().splitlines()), "")
        file = kept(traceback.format_exc(), command, folder)
        sys.exit(f"error: {type(error).__name__}: {said or 'without a message'}; its traceback is in {file}")


def shortened(message: str, command: str, folder: Path) -> str:
    """The message; if it is long, its first lines, and the name of a file with all of it."""
    lines = message.splitlines()
    if len(lines) <= MAX_LINES:
        return message
    more = len(lines) - MAX_LINES
    return "\n".join([*lines[:MAX_LINES], f"  and {more:,} more: {kept(message, command, folder)} has them all"])


def kept(text: str, command: str, folder: Path) -> str:
    """The name of the file that has the text now. If no file can be written there, the text is printed."""
    file = folder / f"{command}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError:
        print(text, file=sys.stderr)
        return "the lines above"
    return str(file)
