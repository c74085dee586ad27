"""Rows -> answers. A handler's author writes TorchServe's own three words: `preprocess` and `postprocess` see one request,
`inference` sees the batch. What can fail for one caller is done per request; what is faster together, per batch.

Knows nothing of TorchServe: `handlers/torchserve.py` is the engine's side.
"""

import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec

from handlers.batch import Refusal, each, together
from handlers.request import Kind, Request, Row, read, refuse
from handlers.runtime import RUNTIMES
from handlers.settings import Settings
from model_defs.artifact import Artifact, Sample
from model_defs.build import find_class

log = logging.getLogger(__name__)


class Answer(msgspec.Struct):
    """What goes back to one caller."""

    body: bytes
    code: int = 200
    content_type: str = "application/json"


class Answered(msgspec.Struct):
    """A batch's answers, in the order of its rows, and how long each step took in seconds."""

    answers: list[Answer]
    seconds: dict[str, float]


class WrongAnswer(RuntimeError):
    """A sample of the artifact is not answered as it was in training: this worker must not serve."""


class Handler:
    """The base of every handler.

    Args:
        artifact: what training left behind, or the unpacked archive, which holds the same files.
        settings: the recipe's `handler:` section.
        device: "cpu", "cuda:0" ...
        workers: how many processes share this machine's cores for this model.
    """

    accepts: Kind
    Parameters: type[msgspec.Struct]

    def __init__(self, artifact: Artifact, settings: Settings, device: str = "cpu", workers: int = 1):
        self.artifact, self.settings = artifact, settings
        self.labels = artifact.labels
        self.transform = artifact.build_transform()
        threads = settings.threads or max(1, (os.cpu_count() or 1) // workers)
        self.runtime = RUNTIMES[settings.runtime](artifact.build_network(), device, settings.precision, threads)
        self.decoders = map if settings.decoders == 1 else ThreadPoolExecutor(settings.decoders, "decoder").map
        self.encode = msgspec.json.Encoder().encode

    # --- what an author writes

    def preprocess(self, request: Request) -> Any:
        """One request -> one sample.

        Raises:
            InputError: what was sent cannot be used.
        """
        return self.transform(request.payload)

    def inference(self, samples: list) -> list:
        """The batch's samples -> one output each."""
        return list(self.runtime(self.transform.collate(samples)).unbind())

    def postprocess(self, output: Any, sample: Any, request: Request) -> Any:
        """One output -> what JSON can hold."""
        raise NotImplementedError

    def explain(self, output: Any, sample: Any, request: Request) -> Any:
        """One output -> why it is so."""
        raise Refusal(501, f"{type(self).__name__} gives no explanations; send this to /predictions")

    def agrees(self, answer: Any, sample: Sample) -> bool:
        """Whether the decoded answer is the one that training wrote down for the sample."""
        raise NotImplementedError

    # --- what every handler does

    def answer(self, rows: list[Row]) -> Answered:
        """One Answer a row, whatever the rows hold."""
        started = time.perf_counter()
        requests = each(partial(read, accepts=self.accepts, parameters=self.Parameters), rows, refuse=refuse)
        samples = each(self.preprocess, requests, refuse=refuse, over=self.decoders)
        preprocessed = time.perf_counter()
        outputs = together(self.inference, samples, refuse=refuse)
        inferred = time.perf_counter()
        bodies = each(self.finish, outputs, samples, requests, refuse=refuse)
        answers = [self.refused(body, row) if isinstance(body, Refusal) else Answer(body) for body, row in zip(bodies, rows, strict=True)]
        seconds = {
            "PreprocessTime": preprocessed - started,
            "InferenceTime": inferred - preprocessed,
            "PostprocessTime": time.perf_counter() - inferred,
        }
        return Answered(answers, seconds)

    def finish(self, output: Any, sample: Any, request: Request) -> bytes:
        """One row's output -> the body of its answer."""
        return self.encode((self.explain if request.explain else self.postprocess)(output, sample, request))

    def refused(self, refusal: Refusal, row: Row) -> Answer:
        """What is wrong, for the caller; a fault of ours is named by the request's id and told in full to the log only."""
        message = refusal.message
        if refusal.code == 500:
            message += f"; the server's log says why under request {row.id}"
        if refusal.cause:
            log.error("request %s: %s", row.id, refusal.message, exc_info=refusal.cause)
        kind = HTTPStatus(refusal.code).phrase.replace(" ", "").replace("-", "")
        return Answer(self.encode({"code": refusal.code, "type": kind, "message": message}), refusal.code)

    def warm_up(self, batch_size: int) -> None:
        """Answer the artifact's samples at every batch size up to `batch_size`, so that the first caller meets nothing new.

        Raises:
            WrongAnswer: an answer differs from what training wrote down.
        """
        samples = self.artifact.samples()
        rows = [Row({"body": payload}, id=f"sample {sample.file}") for sample, payload in samples]
        for size in range(1, batch_size + 1):
            places = [place % len(rows) for place in range(size)]
            answers = self.answer([rows[place] for place in places]).answers
            for place, answer in zip(places, answers, strict=True):
                sample = samples[place][0]
                if answer.code != 200 or not self.agrees(msgspec.json.decode(answer.body), sample):
                    raise WrongAnswer(
                        f"sample {sample.file} in a batch of {size} got {answer.code} {answer.body[:200].decode()}; "
                        f"training says {sample.answer!r} at {sample.score:.4f}, within {self.settings.tolerance}"
                    )


def load(folder: Path | str, section: dict, device: str = "cpu", workers: int = 1) -> Handler:
    """The handler that a recipe's `handler:` section names, over an artifact or an unpacked archive.

    Raises:
        msgspec.ValidationError: a setting that does not exist or is of the wrong type.
        SpecError: no such class.
    """
    settings = msgspec.convert(section, Settings)
    handler = find_class(settings.class_path, within=("handlers",))
    return handler(Artifact.read(folder), settings, device, workers, **settings.init_args)
