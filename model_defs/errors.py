"""The bundle's errors: one base, and those that transforms and answers raise, in training as in serving.

A message is for a person: what was given, what was expected, what to do.
"""


class BundleError(Exception):
    """The base of the bundle's own errors. A command prints the message without a traceback.

    `status` is the HTTP status, for errors that a caller over HTTP can get.
    """

    status: int | None = None


class InputError(BundleError):
    """The data cannot be used; the message says why and what to send instead."""

    status = 400


class Unreadable(InputError):
    """The bytes are not what they claim to be: truncated, corrupt, another format."""

    status = 400


class TooLarge(InputError):
    """More pixels, seconds or characters than the transform takes."""

    status = 413


class WrongKind(InputError):
    """Another kind of data than the model takes: a sound sent to a picture model."""

    status = 415


class WrongValue(InputError):
    """Readable, and of the right kind, but with a value outside what is allowed: an empty text, a NaN."""

    status = 422


class OutputError(BundleError):
    """What the network gave cannot be an answer: our fault, not the sender's."""

    status = 500
