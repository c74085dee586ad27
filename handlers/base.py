"""Rows -> answers. A handler's author writes TorchServe's own three words: `preprocess` and `postprocess` see one request,
`inference` sees the batch. What can fail for one caller is done per request; what is faster together, per batch.

Knows nothing of TorchServe: `handlers/torchserve.py` is the engine's side.
"""

import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from http import HTTPStatus
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import nn

from handlers import comparison_report, runtimes
from handlers.batch import Refusal, each, together
from handlers.deadline import DeadlineExceeded, deadline
from handlers.request import Kind, RawRequest, Request, is_out_of_memory, read, refuse
from handlers.settings import Settings
from model_defs.answer_diff import difference
from model_defs.artifact import Artifact, Sample
from model_defs.build import SpecError, build, find_class
from model_defs.errors import BundleError

log = logging.getLogger(__name__)
PACKAGE = ("handlers",)  # where a recipe's handler must lie
STEPS = ("PreprocessTime", "InferenceTime", "PostprocessTime")
MESSAGE_CHARS = 1000  # of an error's message at most: it may quote what the caller sent


class Answer(msgspec.Struct):
    """What goes back to one caller."""

    body: bytes
    code: int = 200
    content_type: str = "application/json"


class Answered(msgspec.Struct):
    """A batch's answers, in the order of its rows.

    Args:
        seconds: how long each step took.
        is_lost: the device takes no more work, so this process can answer nothing more.
    """

    answers: list[Answer]
    seconds: dict[str, float]
    is_lost: bool = False


class WrongAnswer(BundleError):
    """A sample of the artifact is not answered as it was in training: this worker must not serve."""


class Handler:
    """The base of every handler.

    Args:
        artifact: what training left behind, or the unpacked archive, which holds the same files.
        settings: the recipe's `handler:` section.
        device: "cpu", "cuda:0" ...
        workers: how many processes share this machine's cores for this model.
        seconds: that a batch may take; without end if None.
    """

    accepts: Kind
    Parameters: type[msgspec.Struct]

    def __init__(
        self, artifact: Artifact, settings: Settings, device: str = "cpu", workers: int = 1, seconds: float | None = None
    ):
        self.artifact, self.settings, self.seconds = artifact, settings, seconds
        self.labels = artifact.labels
        self.transform = artifact.build_transform()
        self.device = device
        threads = settings.threads or max(1, (os.cpu_count() or 1) // workers)
        self.runtime = runtimes.load(artifact, settings, device, threads)
        self.decoders = map if settings.decoders == 1 else ThreadPoolExecutor(settings.decoders, "decoder").map
        self.encode = msgspec.json.Encoder().encode

    @cached_property
    def eager(self) -> nn.Module:
        """The network as it was trained, whatever runs the predictions: for explanations, built at the first."""
        return self.artifact.build_network().to(self.device)

    @cached_property
    def tolerance(self) -> float:
        """How far a score may lie from training's: the arithmetic's noise, and what the runtime was measured to add."""
        measured = comparison_report.read(self.artifact.folder)
        return self.settings.tolerance + (measured.largest_difference if measured else 0)

    # --- what an author writes

    def preprocess(self, request: Request) -> Any:
        """One request -> one sample.

        Raises:
            InputError: what was sent cannot be used.
        """
        return self.transform(request.payload)

    def inference(self, samples: list) -> list:
        """The batch's samples -> one output each."""
        return self.transform.outputs(self.runtime, samples)

    def postprocess(self, output: Any, sample: Any, request: Request) -> Any:
        """One output -> what JSON can hold."""
        raise NotImplementedError

    def explain(self, output: Any, sample: Any, request: Request) -> Any:
        """One output -> why it is so."""
        raise Refusal(501, f"{type(self).__name__} gives no explanations; send this to /predictions")

    # --- what every handler does

    def answer(self, rows: list[RawRequest]) -> Answered:
        """One Answer a row, whatever the rows hold."""
        clock, column = [time.perf_counter()], rows
        try:
            with deadline(self.seconds):
                column = requests = each(partial(read, accepts=self.accepts, parameters=self.Parameters), rows, refuse=refuse)
                column = samples = each(self.preprocess, requests, refuse=refuse, over=self.decoders)
                clock.append(time.perf_counter())
                column = outputs = together(self.infer, samples, refuse=refuse)
                clock.append(time.perf_counter())
                column = each(self.finish, outputs, samples, requests, refuse=refuse)
        except DeadlineExceeded as late:  # it rang between two rows
            column = [value if isinstance(value, Refusal) else refuse(late) for value in column]
        clock.append(time.perf_counter())
        is_lost = any(isinstance(value, Refusal) and value.code == 500 for value in column) and self.is_lost()
        answers = [self.answered(value, row, is_lost) for value, row in zip(column, rows, strict=True)]
        times = {name: end - start for name, start, end in zip(STEPS, clock, clock[1:], strict=False)}
        return Answered(answers, times, is_lost)

    def infer(self, samples: list) -> list:
        """`inference`; when the memory runs out it is given back before the batch is tried again in halves."""
        try:
            return self.inference(samples)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            said = str(error)
        # Only here, with the exception gone, are the tensors free that its frames held.
        if self.device != "cpu":
            torch.cuda.empty_cache()
        raise MemoryError(said)

    def is_lost(self) -> bool:
        """Whether the GPU takes no more work from this process: after some errors, such as a failed assertion in a kernel,
        every call fails until the process is a new one."""
        if self.device == "cpu":
            return False
        try:
            torch.cuda.synchronize(self.device)
        except RuntimeError:
            return True
        return False

    def answered(self, value: bytes | Refusal, row: RawRequest, is_lost: bool) -> Answer:
        if not isinstance(value, Refusal):
            return Answer(value)
        if is_lost and value.code == 500:
            value = Refusal(503, "the worker lost its GPU and is being started anew; send the request again", value.cause)
        return self.refused(value, row)

    def finish(self, output: Any, sample: Any, request: Request) -> bytes:
        """One row's output -> the body of its answer."""
        return self.encode((self.explain if request.explain else self.postprocess)(output, sample, request))

    def refused(self, refusal: Refusal, row: RawRequest) -> Answer:
        """What is wrong, for the caller; a fault of ours is named by the request's id and told in full to the log only."""
        message = refusal.message[:MESSAGE_CHARS].encode(errors="backslashreplace").decode()  # JSON can hold half characters
        if refusal.code == 500:
            message += f"; the server's log says why under request {row.id}"
        if refusal.cause or refusal.code == 500:
            log.error("request %s: %s", row.id, refusal.message, exc_info=refusal.cause)
        kind = HTTPStatus(refusal.code).phrase.replace(" ", "").replace("-", "")
        return Answer(self.encode({"code": refusal.code, "type": kind, "message": message}), refusal.code)

    def warm_up(self, batch_size: int) -> None:
        """Answer all the artifact's samples at every batch size up to `batch_size`, so that the first caller meets nothing new.

        Raises:
            WrongAnswer: an answer differs from what training wrote down.
        """
        try:
            samples = self.artifact.samples()
        except msgspec.ValidationError as error:
            raise WrongAnswer(f"{self.artifact.folder} has samples that an older bundle wrote ({error}); train anew") from None
        if not samples:
            raise WrongAnswer(f"{self.artifact.folder} has no samples to check the answers against; train the model anew")
        for size in range(1, batch_size + 1):
            line = list(islice(cycle(samples), max(size, len(samples))))
            for start in range(0, len(line), size):
                self.check(line[start : start + size])

    def check(self, samples: list[tuple[Sample, bytes]]) -> None:
        """Answer one batch of samples; for the error see `warm_up`."""
        rows = [RawRequest({"body": payload}, id=f"sample {sample.file}") for sample, payload in samples]
        for (sample, _), answer in zip(samples, self.answer(rows).answers, strict=True):
            wrong = difference(msgspec.json.decode(answer.body), sample.answer, self.tolerance)
            if answer.code != 200 or wrong:
                body, within = answer.body[:200].decode(errors="replace"), f"within {self.tolerance:.4g}"
                raise WrongAnswer(f"sample {sample.file} in a batch of {len(rows)} got {answer.code} {body}; {wrong}, {within}")


def load(folder: Path | str, section: dict, device: str = "cpu", workers: int = 1, seconds: float | None = None) -> Handler:
    """The handler that a recipe's `handler:` section names, over an artifact or an unpacked archive.

    Raises:
        msgspec.ValidationError: a setting that does not exist or is of the wrong type.
        SpecError: no such class, one that is not a Handler, or `init_args` that it does not take.
        RuntimeUnavailable: the runtime cannot do here what the settings ask.
    """
    settings = msgspec.convert(section, Settings)
    if not issubclass(find_class(settings.class_path, PACKAGE), Handler):
        raise SpecError(f"{settings.class_path} is not a Handler; name one such as handlers.vision.ImageClassifier")
    given = {"artifact": Artifact.read(folder), "settings": settings, "device": device, "workers": workers, "seconds": seconds}
    return build({"class_path": settings.class_path, "init_args": settings.init_args}, given, PACKAGE)
