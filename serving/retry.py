"""Which responses can be retried, and the pauses between attempts.

A prediction changes nothing on the server, so sending it again is safe.
"""

import random
import time
from collections.abc import Iterator

import requests

IN_BETWEEN = (408, 500, 502, 503, 504)  # of a proxy, or of Ray Serve: no replica, one that died with the request, or a reload
NO_ROUTES = "/-/routes"  # in the 404 of Ray Serve's HAProxy, which knows no route in its first moments
FIRST, LONGEST = 0.05, 1.0  # seconds: the longest pause after the first attempt, and after any


def pauses(seconds: float) -> Iterator[None]:
    """Yield once for each attempt, the first at once, until so many seconds are over. Between two attempts it sleeps.

    Each pause is random, between 0 and a limit that doubles ("full jitter"), so that callers who were refused together do not
    come back together.
    """
    deadline, longest = time.monotonic() + seconds, FIRST
    yield
    while (left := deadline - time.monotonic()) > 0:
        time.sleep(min(random.uniform(0, longest), left))
        longest = min(2 * longest, LONGEST)
        yield


def is_transient(response: requests.Response) -> bool:
    """Whether the response is about the server's state and not about the input, so that a later attempt may succeed.

    These are: a full queue, no worker, or a lost GPU (503); a worker that died with the request (500, or 507 if it was killed);
    a token that was rotated (400). An answer that is not JSON comes from what lies in between, such as a proxy or Ray Serve: the
    model has not answered.
    """
    try:
        body = response.json()
    except ValueError:
        return response.status_code in IN_BETWEEN or (response.status_code == 404 and NO_ROUTES in response.text)
    try:
        kind, message = body["type"], body["message"]
    except (TypeError, KeyError):
        return False
    if response.status_code == 400:
        return kind == "InvalidKeyException"
    if response.status_code == 503:
        return message != "Prediction failed"  # an exception in a handler that is not the bundle's
    return response.status_code in (500, 507) and message.startswith("Worker ")
