"""The deployment that serves one archive. Ray Serve imports it by name, as TorchServe imports `handlers/torchserve.py`."""

import os
from collections import Counter as Counts
from http import HTTPStatus
from typing import Any

import ray
from ray import serve
from ray.serve.metrics import Counter, Histogram
from starlette.requests import Request
from starlette.responses import Response

from cluster.node.refusals import Reply
from cluster.node.served_model import Asked, ServedModel

STEPS = ("PreprocessTime", "InferenceTime", "PostprocessTime")  # as in handlers/torchserve.py; Ray puts `ray_` in front
SECONDS = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30]
SIZES = [1, 2, 4, 8, 16, 32, 64, 128]
LABELS = ("ModelName", "ModelVersion")


class Metrics:
    """The metrics of a model under the names that they have under TorchServe."""

    def __init__(self, model: str, version: str):
        self.steps = {name: Histogram(name, boundaries=SECONDS, tag_keys=LABELS) for name in STEPS}
        self.sizes = Histogram("BatchSize", boundaries=SIZES, tag_keys=LABELS)
        self.refused = Counter("RefusedRequests", tag_keys=(*LABELS, "Reason"))
        for metric in (*self.steps.values(), self.sizes, self.refused):
            metric.set_default_tags({"ModelName": model, "ModelVersion": version})  # a dict each: Ray changes it

    def observe(self, seconds: dict[str, float], rows: int, refused: Counts) -> None:
        for name, value in seconds.items():
            self.steps[name].observe(value)
        self.sizes.observe(rows)
        for code, count in refused.items():
            self.refused.inc(count, tags={"Reason": HTTPStatus(code).name})


@serve.deployment
class Model:
    """One archive in one process.

    Args:
        args: of the application; see `cluster/plan.py`.
    """

    def __init__(self, args: dict[str, Any]):
        import torch  # not at the top: Serve imports this module to read the configuration, too

        # Ray hides all GPUs but this replica's. It believes a node that offers GPUs, whether it has them or not.
        device = "cuda:0" if ray.get_gpu_ids() and torch.cuda.is_available() else "cpu"
        self.model = ServedModel(args, device, Metrics(args["model"], args["version"]).observe)
        self.own_headers = {"x-model-version": args["version"], "x-replica": str(os.getpid())}

    async def __call__(self, request: Request) -> Response:
        """A request at the model's own route."""
        asked = Asked(request.method, request.scope["path"], request.headers, await request.body())
        reply = await self.model.ask(asked)
        return Response(reply.body, reply.code, self.own_headers | dict(reply.headers), reply.content_type)

    async def ask(self, asked: tuple) -> Reply:
        """A request that came to the gateway."""
        return await self.model.ask(Asked(*asked))


def application(args: dict[str, Any]):
    """What Serve's configuration names."""
    return Model.bind(args)
