"""The bundle's errors: their one base, and those that transforms and answers raise.

A message is for a person. It says what was given, what was expected, and what to do.
"""


def first_line(error: Exception, most: int = 300) -> str:
    """The first line of another library's message, or the error itself if it has none."""
    return (str(error).strip().splitlines() or [repr(error)])[0][:most]


class BundleError(Exception):
    """The base of the bundle's own errors. A command prints the message without a traceback.

    `status` is the HTTP status, for errors that a caller over HTTP can get.
    """

    status: int | None = None


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
