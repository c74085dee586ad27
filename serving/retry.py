"""Which answers are no answers, and how long to wait before asking again.

A prediction changes nothing, so that asking again is safe. Knows nothing of models or addresses.
"""

import random
import time
from collections.abc import Iterator

import requests

FIRST, LONGEST = 0.05, 1.0  # seconds between two tries: doubled each time, and drawn at random below that


def pauses(seconds: float) -> Iterator[None]:
    """A try at once, then others after growing pauses, until so many seconds are over.

    Each pause is drawn between nothing and twice the one before ("full jitter"), so that callers who were refused together
    do not come back together.
    """
    deadline, longest = time.monotonic() + seconds, FIRST
    yield
    while (left := deadline - time.monotonic()) > 0:
        time.sleep(min(random.uniform(0, longest), left))
        longest = min(2 * longest, LONGEST)
        yield


def is_passing(answer: requests.Response) -> bool:
    """Whether the answer speaks of the server's state alone: a full queue, no worker, a lost GPU (503); a worker that died
    with the request (500, or 507 where it was killed); a token that was changed (400)."""
    try:
        said = answer.json()
        kind, message = said["type"], said["message"]
    except (ValueError, TypeError, KeyError):
        return False
    if answer.status_code == 400:
        return kind == "InvalidKeyException"
    if answer.status_code == 503:
        return message != "Prediction failed"  # a handler that is not the bundle's has raised an exception
    return answer.status_code in (500, 507) and message.startswith("Worker ")
