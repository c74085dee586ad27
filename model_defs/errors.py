"""The bundle's errors: their one base, and those that transforms and answers raise.

A message is for a person. It says what was given, what was expected, and what to do.
"""

import traceback
from pathlib import Path


def first_line(error: Exception, most: int = 300) -> str:
    """The first line of another library's message, or the error itself if it has none."""
    return (str(error).strip().splitlines() or [repr(error)])[0][:most]


def where(error: BaseException, file: Path | None = None) -> str:
    """An error in one line, with the line of code that raised it: the last one of this file, if it has one, or else of any."""
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    frames = [frame for frame in frames if not frame[0].startswith("<frozen")]
    if isinstance(error, SyntaxError) and error.filename:
        frames, text = [(error.filename, error.lineno)], error.msg
    else:
        text = next(iter(str(error).strip().splitlines()), "")
    name, line = ([frame for frame in frames if file and Path(frame[0]) == file] or frames)[-1]
    return f"{type(error).__name__} in {Path(name).name}:{line}: {text[:300]}"


class BundleError(Exception):
    """The base of the bundle's own errors. A command prints the message without a traceback.

    `status` is the HTTP status, for errors that a caller over HTTP can get. With `has_traceback`, a command keeps the traceback
    in a file that it names.
    """

    status: int | None = None
    has_traceback = False


class OwnCodeError(BundleError):
    """Code that the user wrote fails. The message says how and in which line."""

    has_traceback = True


class InputError(BundleError):
    """The input cannot be used. The message says why, and what to send instead."""

    status = 400


class Unreadable(InputError):
    """The bytes are not what they claim to be: truncated, corrupt, or in another format."""

    status = 400


class TooLarge(InputError):
    """More pixels, seconds or characters than the transform takes."""

    status = 413


class WrongKind(InputError):
    """Data of another kind than the model takes, such as a sound for a picture model."""

    status = 415


class WrongValue(InputError):
    """Readable data of the right kind with a value that is not allowed, such as an empty text or a NaN."""

    status = 422


class OutputError(BundleError):
    """The network's output cannot be an answer. This is a server error, not the caller's."""

    status = 500
