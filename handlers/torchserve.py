"""The entry file of every archive, and the only one that imports TorchServe.

TorchServe imports this file by its base name from the archive's root, and expects exactly one class in it. The handler's code is
imported inside `initialize`: TorchServe reports an ImportError while it imports this file as a missing handler.
"""

import logging
import os
import sys
import threading
from collections import Counter
from http import HTTPStatus

# Histograms, one value per batch. `serving/metrics.yaml` lists them too, because TorchServe drops metrics that it does not list.
TIMES = ("PreprocessTime", "InferenceTime", "PostprocessTime")
REFUSED = "RefusedRequests"  # a counter per reason
BATCHES = "Batches"  # a counter per size: serving/metrics.py makes a histogram of it, because TorchServe's have fixed buckets
VERSION = "0.12.0"  # of TorchServe, whose private function for reading a socket is known and replaced
SHARE = 0.8  # of responseTimeout that a batch may take. After responseTimeout, TorchServe kills the worker.
MAX_DIGITS = 12  # of a length in bytes
NICE = 19  # of workers that explain: predictions get the cores first
LAST_WORDS = 0.2  # seconds until a worker ends, for its last answers to leave


class Service:
    """Calls the handler for TorchServe's batches, and sets each row's status, content type and metrics."""

    def initialize(self, context) -> None:
        """Load the handler that the recipe names, and check its answers to the artifact's samples. TorchServe calls it once."""
        from handlers import base, log
        from handlers.request import RawRequest
        from model_defs.bundle_format import EXPLAINER, EXPLAINERS_VARIABLE, MAX_BODY_BYTES, MAX_BODY_VARIABLE

        log.one_line_each()
        log.leave_out_inputs()
        os.environ["TS_DECODE_INPUT_REQUEST"] = "false"  # it would log a traceback for each body that is not UTF-8 or not JSON
        logging.getLogger().setLevel(logging.WARNING)  # at INFO, TorchServe's worker writes a useless line per batch
        read_in_large_pieces()
        keep_repeated_names()
        self.raw_request = RawRequest
        self.max_bytes = int(os.environ.get(MAX_BODY_VARIABLE, MAX_BODY_BYTES))
        self.add_metrics(context)
        self.is_ending = False
        is_explainer = context.model_name.endswith(EXPLAINER)
        has_explainer = not is_explainer and os.environ.get(EXPLAINERS_VARIABLE) == "true"
        version = context.manifest["model"].get("modelVersion")
        self.explainer = f"{context.model_name}{EXPLAINER}/{version}" if has_explainer else ""
        properties, recipe = context.system_properties, context.model_yaml_config
        gpu = properties.get("gpu_id")
        device = "cpu" if gpu is None else f"cuda:{gpu}"
        try:
            seconds = SHARE * recipe["responseTimeout"]
            self.handler = base.load(properties["model_dir"], recipe["handler"], device, recipe["minWorkers"], seconds)
            self.handler.warm_up(properties["batch_size"])
            if self.handler.ExplanationParameters is None:
                self.explainer = ""
            if is_explainer:
                os.nice(NICE)
        except Exception:
            logging.exception("this worker cannot start")  # TorchServe itself only says "Unknown exception"
            raise

    def add_metrics(self, context) -> None:
        """Register the metrics, and let TorchServe's logger of metrics write a batch's lines at once."""
        from ts.metrics.metric_type_enum import MetricTypes

        from handlers.log import BufferedMetrics

        self.metric_lines = BufferedMetrics(sys.stdout)
        logger = logging.getLogger("ts.metrics")  # a line in its output is how a metric reaches TorchServe
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.addHandler(self.metric_lines)
        add, labels = context.metrics.add_metric_to_cache, ["ModelName", "Level"]
        self.times = {name: add(name, "seconds", labels, MetricTypes.HISTOGRAM) for name in TIMES}
        self.refused = add(REFUSED, "count", [*labels, "Reason"], MetricTypes.COUNTER)
        self.batches = add(BATCHES, "count", ["ModelName", "ModelVersion", "Size", "Level"], MetricTypes.COUNTER)

    def handle(self, data: list[dict], context) -> list[bytes]:
        """Answer a batch: returns one body per row, and sets the statuses in the context."""
        if is_description_wanted(data, context):
            context.set_response_content_type(0, "application/json")
            return [self.handler.description()]
        rows = [self.raw(fields, index, context) for index, fields in enumerate(data)]
        answered = self.handler.answer(rows, self.explainer)
        for index, answer in enumerate(answered.answers):
            # Only the standard phrase: a line break in it ends the worker, and TorchServe counts characters but sends bytes.
            context.set_response_status(answer.code, HTTPStatus(answer.code).phrase, index)
            context.set_response_content_type(index, answer.content_type)
            for header, text in answer.headers.items():
                context.set_response_header(index, header, text)
        with self.metric_lines:
            for name, value in answered.seconds.items():
                self.times[name].add_or_update(round(value, 6), [context.model_name, "Model"])
            version = context.manifest["model"].get("modelVersion", "")
            self.batches.add_or_update(1, [context.model_name, version, str(len(rows)), "Model"])
            for code, count in Counter(answer.code for answer in answered.answers if answer.code >= 400).items():
                self.refused.add_or_update(count, [context.model_name, "Model", HTTPStatus(code).name])
        if answered.is_lost and not self.is_ending:
            self.is_ending = True
            logging.error("this worker has lost its GPU and ends; TorchServe starts another")
            threading.Timer(LAST_WORDS, os._exit, [1]).start()
        return [answer.body for answer in answered.answers]

    def raw(self, fields: dict, index: int, context):
        """TorchServe's row -> RawRequest."""
        headers = headers_of(context, index)
        # At /invocations, TorchServe hands over the names by which it has found the model.
        model = context.manifest["model"]
        own = {"model_name": context.model_name, "model_version": model.get("modelVersion")}
        return self.raw_request(
            {name: value for name, value in fields.items() if name not in own or as_text(value) != own[name]},
            content_type=headers.get("content-type", ""),
            id=context.get_request_id(index),
            explain=headers.get("explain") == "True",
            client=headers.get("user-agent", ""),
            encoding=headers.get("content-encoding", ""),
            repeated=getattr(fields, "repeated", ()),
            max_bytes=self.max_bytes,
            protocol=protocol_of(headers),
            json_bytes=whole_number(headers.get("inference-header-content-length")),
        )


def headers_of(context, index: int) -> dict[str, str]:
    """A request's headers by their names in lower case: TorchServe keeps the caller's spelling.

    TorchServe puts a form's fields among them, whose values are no text.
    """
    given = context.get_all_request_header(index)
    return {name.lower(): value for name, value in given.items() if isinstance(value, str)}


def protocol_of(headers: dict[str, str]) -> str:
    """The protocol of the address, which TorchServe does not say. Its headers differ: `/predictions` and `/explanations` have
    `url_path`; `/v1/models` and `/v2/models` have only `explain`; `/invocations`, `/<model>/predict` and gRPC have neither."""
    if "url_path" in headers:
        return ""
    return "kserve" if "explain" in headers else "sagemaker"


def whole_number(text: str | None) -> int | None:
    """The number in a header; -1, which no length is, if it is not a number."""
    if text is None:
        return None
    return int(text) if text.isascii() and text.isdigit() and len(text) < MAX_DIGITS else -1


def as_text(value) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes | bytearray) else str(value)


def is_description_wanted(data: list[dict], context) -> bool:
    """Whether TorchServe itself asks, for `GET /models/<model>?customized=true`. It asks alone, and sends nothing."""
    return len(data) == 1 and not data[0] and headers_of(context, 0).get("describe") == "True"


def keep_repeated_names() -> None:
    """Let TorchServe say which fields of a form came more than once."""
    from ts.service import Service as Stock

    from handlers.repeated_fields import keeping_repeated

    Stock.retrieve_data_for_inference = staticmethod(keeping_repeated(Stock.retrieve_data_for_inference))


def read_in_large_pieces() -> None:
    """Replace the function with which TorchServe reads its socket, if this is the TorchServe that we know."""
    import ts
    from ts.protocol import otf_message_handler

    from handlers.buffered_recv import BufferedReader

    if ts.__version__ == VERSION:
        otf_message_handler._retrieve_buffer = BufferedReader()
