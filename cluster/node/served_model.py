"""One archive in this process: its handler, its batches, and an answer to each request. It does not need Ray.

A request comes with the parts of its HTTP form and gets a `Reply`, whichever way it came.
"""

import json
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from cluster.node import archives, refusals, routes
from cluster.node.batcher import Batcher, QueueFull
from cluster.node.form import MalformedForm, fields_of
from cluster.node.refusals import Reply
from cluster.node.routes import Route

log = logging.getLogger("ray.serve")
SHARE = 0.8  # of responseTimeout that a batch may take; after all of it this process ends
QUEUE = 100  # requests that may wait, unless the recipe says jobQueueSize
LAST_WORDS = 0.2  # seconds until a replica ends, for its last answers to leave
MANIFEST = "MAR-INF/MANIFEST.json"
ID_HEADER, JSON_LENGTH = "x-request-id", "inference-header-content-length"
MAX_DIGITS = 12  # of a length in bytes


class Asked(NamedTuple):
    """One HTTP request.

    Args:
        path: with the model in it, such as /predictions/digits/1.0.
        headers: with names in lower case.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class ServedModel:
    """The model of an archive.

    Args:
        args: of the application; see `cluster/plan.py`.
        device: "cpu", "cuda:0" ...
        observe: called after each batch with the steps' seconds, the number of rows, and how many answers had which status.

    Raises:
        ValueError: it is not the archive of the configuration.
        Exception: what the handler raises if it cannot start, or answers its samples otherwise than in training.
    """

    def __init__(self, args: dict[str, Any], device: str, observe: Callable[[dict[str, float], int, Counter], None]):
        self.args, self.observe = args, observe
        self.is_ending = False
        folder = archives.unpacked(args["archive"], args["sha256"], archives.default_cache())
        archives.use(folder)
        described = json.loads((folder / MANIFEST).read_bytes())["model"]
        recipe = yaml.safe_load((folder / described["configFile"]).read_text(encoding="utf-8"))
        self.seconds = recipe["responseTimeout"]
        self.queue_size = recipe.get("jobQueueSize", QUEUE)
        # A thread that ends the process, because an archive that never gets ready would be waited for without end.
        starting = threading.Timer(recipe["startupTimeout"], self.never_started, [recipe["startupTimeout"]])
        starting.daemon = True
        starting.start()
        self.batcher = Batcher(
            self.answer, recipe["batchSize"], recipe["maxBatchDelay"] / 1000, self.queue_size, self.seconds,
            first=lambda: self.load(folder, recipe, device),
        )  # fmt: skip
        starting.cancel()

    def load(self, folder: Path, recipe: dict[str, Any], device: str) -> None:
        """Load the handler and check its answers to the samples, in the thread that will answer."""
        from handlers import base
        from handlers import log as handlers_log
        from handlers.request import RawRequest

        handlers_log.leave_out_inputs()
        self.raw_request = RawRequest
        self.handler = base.load(folder, recipe["handler"], device, recipe["minWorkers"], SHARE * self.seconds)
        self.handler.warm_up(recipe["batchSize"])

    def never_started(self, seconds: float) -> None:
        log.error("the model was not ready after the recipe's startupTimeout of %g s; this replica ends", seconds)
        os._exit(1)

    # --- requests

    async def ask(self, asked: Asked) -> Reply:
        """The answer to a request at one of the routes of `routes.py`."""
        request_id = asked.headers.get(ID_HEADER, "")  # Serve gives each request one, and puts it into the answer
        if asked.method == "GET" and (described := routes.named(routes.DESCRIBED, asked.path)):
            return self.describe(described, is_v2=asked.path.startswith("/v2/"))
        route = routes.find(asked.path, asked.headers)
        return self.refused(asked, route) or await self.predicted(asked, route, request_id)

    def refused(self, asked: Asked, route: Route | None) -> Reply | None:
        """Why the request is not passed on to the handler."""
        if route is None or (route.protocol and "protocol" not in self.raw_request.__struct_fields__):
            return refusals.no_resource()
        if not refusals.is_key(asked.headers.get("authorization", ""), self.args["key_sha256"]):
            return refusals.wrong_key()
        if asked.method not in ("POST", "PUT"):
            return refusals.wrong_method()
        if route.version not in ("", self.args["version"]):
            return refusals.no_version(self.args["model"], route.version)
        if len(asked.body) > self.args["max_bytes"]:
            return refusals.too_large(self.args["max_bytes"])
        return None

    async def predicted(self, asked: Asked, route: Route, request_id: str) -> Reply:
        headers = asked.headers
        content_type = headers.get("content-type", "")
        try:
            fields, repeated = fields_of(asked.body, content_type)
        except MalformedForm as error:
            return refusals.refusal(400, "BadRequest", str(error))
        given = {
            "fields": fields,
            "content_type": content_type,
            "id": request_id,
            "explain": route.is_explanation,
            "client": headers.get("user-agent", ""),
            "encoding": headers.get("content-encoding", ""),
            "repeated": repeated,
            "max_bytes": self.args["max_bytes"],
        }
        if route.protocol:
            given |= {"protocol": route.protocol, "json_bytes": whole_number(headers.get(JSON_LENGTH))}
        try:
            answer = await self.batcher.submit(self.raw_request(**given))
        except QueueFull:
            return refusals.queue_full(self.args["model"], self.queue_size)
        except Exception:  # the batcher has written it to the log
            return refusals.failed(request_id)
        return Reply(answer.body, answer.code, answer.content_type, tuple(getattr(answer, "headers", {}).items()))

    def describe(self, route: Route, is_v2: bool) -> Reply:
        """What the model takes and gives; at the address of the Open Inference Protocol, in its form if the archive has it."""
        if route.version not in ("", self.args["version"]):
            return refusals.no_version(self.args["model"], route.version)
        body = self.handler.description()
        if not is_v2:
            return Reply(body)
        found = json.loads(body).get("v2")
        return Reply(json.dumps(found).encode()) if found else refusals.no_resource()

    def answer(self, rows: list) -> list:
        """A batch's answers, in the batcher's thread."""
        answered = self.handler.answer(rows)
        self.observe(answered.seconds, len(rows), Counter(answer.code for answer in answered.answers if answer.code >= 400))
        if answered.is_lost and not self.is_ending:
            self.is_ending = True
            log.error("this replica has lost its GPU and ends; Serve starts another")
            threading.Timer(LAST_WORDS, os._exit, [1]).start()
        return answered.answers


def whole_number(text: str | None) -> int | None:
    """The number in a header; -1, which no length is, if it is not a number."""
    if text is None:
        return None
    return int(text) if text.isascii() and text.isdigit() and len(text) < MAX_DIGITS else -1
