"""The entry of every archive, and the only file that knows TorchServe 0.12.

TorchServe imports this file by its base name from the archive's root and wants exactly one class in it. Ours is imported
inside `initialize`, because an ImportError while TorchServe imports the file is reported as a missing handler.
"""

import logging
import os
import sys
import threading
from collections import Counter
from http import HTTPStatus

# Histograms, once a batch; `serving/metrics.yaml` lists them too, since TorchServe drops what is not listed.
METRICS = {"PreprocessTime": "seconds", "InferenceTime": "seconds", "PostprocessTime": "seconds", "BatchSize": "count"}
REFUSED = "RefusedRequests"  # a counter, by reason
SHARE = 0.8  # of responseTimeout, after which TorchServe would kill the worker, that a batch may take
LAST_WORDS = 0.2  # seconds in which the last answers leave a worker that ends


class Service:
    """TorchServe's calls -> the handler's; the handler's answers -> TorchServe's per-request statuses."""

    def initialize(self, context) -> None:
        """Load the handler that the recipe names and let it answer the artifact's samples; called once, before READY."""
        from ts.metrics.metric_type_enum import MetricTypes
        from ts.protocol import otf_message_handler

        from handlers import base, log
        from handlers.buffered_recv import BufferedReader
        from handlers.request import RawRequest

        log.one_line_each()
        logging.getLogger().setLevel(logging.WARNING)  # TorchServe's worker writes a line a batch, to say nothing
        self.metric_lines = log.BufferedMetrics(sys.stdout)
        metrics = logging.getLogger("ts.metrics")  # whose lines are how it passes on metrics
        metrics.setLevel(logging.INFO)
        metrics.propagate = False
        metrics.addHandler(self.metric_lines)
        otf_message_handler._retrieve_buffer = BufferedReader()
        self.row = RawRequest
        self.metrics = {
            name: context.metrics.add_metric_to_cache(name, unit, ["ModelName", "Level"], MetricTypes.HISTOGRAM)
            for name, unit in METRICS.items()
        }
        self.refused = context.metrics.add_metric_to_cache(
            REFUSED, "count", ["ModelName", "Level", "Reason"], MetricTypes.COUNTER
        )
        self.is_ending = False
        properties, recipe = context.system_properties, context.model_yaml_config
        gpu = properties.get("gpu_id")
        device = "cpu" if gpu is None else f"cuda:{gpu}"
        try:
            seconds = SHARE * recipe["responseTimeout"]
            self.handler = base.load(properties["model_dir"], recipe["handler"], device, recipe["minWorkers"], seconds)
            self.handler.warm_up(properties["batch_size"])
        except Exception:
            logging.exception("this worker cannot start")  # TorchServe says no more of a RuntimeError than "Unknown exception"
            raise

    def handle(self, data: list[dict], context) -> list[bytes]:
        """One body a row; the statuses go through the context."""
        rows = [self.read(fields, index, context) for index, fields in enumerate(data)]
        answered = self.handler.answer(rows)
        for index, answer in enumerate(answered.answers):
            # Only the standard phrase: TorchServe counts characters and sends bytes, and a line break in it ends the worker.
            context.set_response_status(answer.code, HTTPStatus(answer.code).phrase, index)
            context.set_response_content_type(index, answer.content_type)
        with self.metric_lines:
            for name, value in (answered.seconds | {"BatchSize": len(rows)}).items():
                self.metrics[name].add_or_update(round(value, 6), [context.model_name, "Model"])
            for code, count in Counter(answer.code for answer in answered.answers if answer.code >= 400).items():
                self.refused.add_or_update(count, [context.model_name, "Model", HTTPStatus(code).name])
        if answered.is_lost and not self.is_ending:
            self.is_ending = True
            logging.error("this worker has lost its GPU and ends; TorchServe starts another")
            threading.Timer(LAST_WORDS, os._exit, [1]).start()
        return [answer.body for answer in answered.answers]

    def read(self, fields: dict, index: int, context):
        """A row of TorchServe's -> ours. Header names come as the client spelt them; a form's fields stand among them."""
        headers = {name.lower(): value for name, value in context.get_all_request_header(index).items()}
        content_type = headers.get("content-type")
        return self.row(
            fields,
            content_type=content_type if isinstance(content_type, str) else "",
            id=context.get_request_id(index),
            explain=headers.get("explain") == "True",
            client=str(headers.get("user-agent", "")),
        )
