"""The deployment behind every route that no model has: explanations, other protocols, probes, and refusals."""

import asyncio
import time
from typing import Any

from ray import serve
from ray.serve.exceptions import RayServeException
from starlette.requests import Request
from starlette.responses import Response

from cluster.node import refusals, routes
from cluster.node.refusals import Reply

OWN_NAME = "bundle-gateway"  # of the application, as cluster/plan.py names it
RUNNING = "RUNNING"
KNOWN = 0.5  # seconds for which a list of applications is used


@serve.deployment
class Gateway:
    """Passes requests on to the models' replicas.

    Args:
        args: of the application; see `cluster/plan.py`.
    """

    def __init__(self, args: dict[str, Any]):
        self.args = args
        self.handles: dict[str, Any] = {}
        self.known: dict[str, str] = {}
        self.looked = float("-inf")

    async def __call__(self, request: Request) -> Response:
        reply = await self.probed(request.scope["path"]) if request.method in ("GET", "HEAD") else None
        reply = reply or await self.passed_on(request)
        return Response(reply.body, reply.code, dict(reply.headers), reply.content_type)

    async def probed(self, path: str) -> Reply | None:
        """The answer to a probe, which needs no key; None if it is none."""
        if path == routes.PING:
            return refusals.healthy()
        if path == routes.LIVE:
            return refusals.state("live", True)
        if path in routes.READY:
            states = (await self.applications()).values()
            return refusals.state("ready", bool(states) and all(state == RUNNING for state in states))
        if route := routes.named(routes.MODEL_READY, path):
            name = self.application_of(route, await self.applications())
            return refusals.state("ready", self.known[name] == RUNNING) if name else refusals.no_model(route.model)
        return None

    async def passed_on(self, request: Request) -> Reply:
        """What a replica of the model answers, or why none is asked."""
        path = request.scope["path"]
        is_get = request.method == "GET"
        route = routes.named(routes.DESCRIBED, path) if is_get else routes.find(path, request.headers)
        if route is None:
            return refusals.no_resource()
        if not refusals.is_key(request.headers.get("authorization", ""), self.args["key_sha256"]):
            return refusals.wrong_key()
        if int(request.headers.get("content-length") or 0) > self.args["max_bytes"]:
            return refusals.too_large(self.args["max_bytes"])
        name = self.application_of(route, await self.applications())
        if not name:
            return refusals.no_model(route.model)
        asked = (request.method, path, dict(request.headers), await request.body())
        try:
            return await self.handle(name).ask.remote(asked)
        except RayServeException:
            self.handles.pop(name, None)
            return refusals.no_replica(route.model)

    async def applications(self) -> dict[str, str]:
        """The state of each application, except this one."""
        if time.monotonic() - self.looked > KNOWN:
            found = (await asyncio.get_running_loop().run_in_executor(None, serve.status)).applications
            self.known = {name: str(each.status.value) for name, each in found.items() if name != OWN_NAME}
            self.looked = time.monotonic()
        return self.known

    def application_of(self, route: routes.Route, applications: dict[str, str]) -> str:
        """The application that answers a route; "" if there is none. A request that names no model asks the only one."""
        if not route.model:
            return next(iter(applications)) if len(applications) == 1 else ""
        own = f"{route.model}-{route.version}"
        return next((name for name in (own, route.model) if name in applications), "")

    def handle(self, name: str):
        if name not in self.handles:
            self.handles[name] = serve.get_app_handle(name)
        return self.handles[name]


def application(args: dict[str, Any]):
    """What Serve's configuration names."""
    return Gateway.bind(args)
