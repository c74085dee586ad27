"""What can be wrong with the data that somebody handed us, and with what a network makes of it.

Raised by transforms and answers, in training as in serving. Knows nothing of HTTP: `handlers/request.py` says which status each
becomes. A message is for the person who sent the data: what was given, what was expected, what to do.
"""


class InputError(Exception):
    """The data cannot be used; the message says why and what to send instead."""


class Unreadable(InputError):
    """The bytes are not what they claim to be: truncated, corrupt, another format."""


class TooLarge(InputError):
    """More pixels, seconds or characters than the transform takes."""


class WrongKind(InputError):
    """Another kind of data than the model takes: a sound sent to a picture model."""


class WrongValue(InputError):
    """Readable, and of the right kind, but with a value outside what is allowed: an empty text, a NaN."""


class OutputError(Exception):
    """What the network gave cannot be an answer: our fault, not the sender's."""
