"""What every command does with an error: one line for the person who typed it, and the rest in a file that the line names."""

import errno
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
FULL = "free some space, and run it again"
IN_THE_WAY = "a file is where a folder should be, or a folder where a file should be; move it away"
DENIED = "change its owner or its permissions, or run this as somebody who may"
TO_DO = {  # what the system says of files -> what the person who typed the command can do
    errno.EACCES: DENIED,
    errno.EPERM: DENIED,
    errno.EROFS: "work in a copy that can be written to",
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL,
    errno.EFBIG: "raise the limit on the size of a file: ulimit -f",
    errno.EMFILE: "raise the limit on open files: ulimit -n",
    errno.ELOOP: "a link leads to itself; remove it",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ENOTDIR: IN_THE_WAY,
    errno.EISDIR: IN_THE_WAY,
    errno.EEXIST: IN_THE_WAY,
}
NAMELESS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # of a file that is open already, so its name is not told


@contextmanager
def reported(command: str, folder: Path = FOLDER) -> Iterator[None]:
    """End the process with status 1 and a message on stderr where the block raises; with 130 after Ctrl-C.

    An error of ours is its own message. What the system says of a file, such as that it may not be read, comes with what to do.
    Of any other error, the message is its kind and first line; its traceback goes to a file. So does that of an error in the
    user's own code.

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
        if told := of_file(error):
            sys.exit(f"error: {told}")
        said = next(iter(str(error).strip().splitlines()), "")
        file = kept(traceback.format_exc(), command, folder)
        sys.exit(f"error: {type(error).__name__}: {said or 'without a message'}; its traceback is in {file}")


def of_file(error: BaseException | None) -> str | None:
    """What the system says of a file, and what to do; None if it is another error."""
    if isinstance(error, OSError) and error.errno in TO_DO and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}; {TO_DO[error.errno]}"
    while error is not None:  # a library that writes a file says it in an error of its own, or fails again as it closes the file
        for number in NAMELESS:
            if getattr(error, "errno", None) == number or os.strerror(number) in str(error):
                return f"{os.strerror(number)}; {TO_DO[number]}"
        error = error.__cause__ or error.__context__
    return None


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
