"""The errors of the server's side. A command prints the message of each as one line, without a traceback."""

from model_defs.errors import BundleError


class ServerError(BundleError):
    """Something that the user can act on: the message says what is wrong and what to do."""


class Unreachable(ServerError):
    """Nothing listens at the address, or the connection broke before an answer came."""


class UnsafeArchive(ServerError):
    """The archive must not be served; the message says why."""
