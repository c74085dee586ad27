"""Which model a path asks, in which protocol: the routes that a model's replicas answer."""

import re
from collections.abc import Mapping
from typing import NamedTuple

# Protocols are names in an archive's `handlers/protocols.py`; "" is the bundle's own. An archive may have none of the others.
PATTERNS = tuple(
    (re.compile(pattern), protocol)
    for pattern, protocol in (
        (r"/(?P<api>predictions|explanations)/(?P<model>[^/]+)(?:/(?P<version>[^/]+))?/?", ""),
        (r"/v1/models/(?P<model>[^/:]+)(?::(?P<api>predict|explain))", "v1"),
        (r"/v2/models/(?P<model>[^/]+)(?:/versions/(?P<version>[^/]+))?/(?P<api>infer|explain)", "v2"),
    )
)
# What a GET asks: whether a model is ready, and what it takes and gives.
MODEL_READY = re.compile(r"/v[12]/models/(?P<model>[^/:]+)(?:/versions/(?P<version>[^/]+))?/ready|/v1/models/(?P<named>[^/:]+)")
DESCRIBED = re.compile(
    r"/models/(?P<model>[^/]+)(?:/(?P<version>[^/]+))?|/v2/models/(?P<named>[^/]+)(?:/versions/(?P<numbered>[^/]+))?"
)
READY, LIVE, PING = ("/ready", "/v2/health/ready"), "/v2/health/live", "/ping"
EXPLAINING = ("explanations", "explain")
INVOCATIONS, SAGEMAKER = "/invocations", "sagemaker"
MODEL_HEADER = "x-amzn-sagemaker-target-model"  # names the archive; SageMaker sends it if a server has several models


class Route(NamedTuple):
    """
    Args:
        model: "" if the path names none.
        version: "" if the path names none.
        protocol: a name in `handlers/protocols.py`.
    """

    model: str
    version: str = ""
    protocol: str = ""
    is_explanation: bool = False


def find(path: str, headers: Mapping[str, str]) -> Route | None:
    """The route of a path; None if there is no such one."""
    if path == INVOCATIONS:
        return Route(headers.get(MODEL_HEADER, "").removesuffix(".mar"), protocol=SAGEMAKER)
    for pattern, protocol in PATTERNS:
        if match := pattern.fullmatch(path):
            found = match.groupdict()
            return Route(found["model"], found.get("version") or "", protocol, found["api"] in EXPLAINING)
    return None


def named(pattern: re.Pattern, path: str) -> Route | None:
    """The model that a path with this pattern names; None if it is another path."""
    match = pattern.fullmatch(path)
    if match is None:
        return None
    found = {name: value or "" for name, value in match.groupdict().items()}
    return Route(found["model"] or found["named"], found.get("version") or found.get("numbered", ""))
