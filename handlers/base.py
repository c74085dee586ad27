"""The base of all handlers: from the raw requests of a batch to their answers.

A handler's author writes three methods with TorchServe's names: `preprocess` and `postprocess` see one request, `inference` sees
the batch. What can fail for one caller runs per request. What is faster together runs per batch.
"""

import logging
import time
from functools import cached_property, partial
from http import HTTPStatus
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import nn

from handlers import comparison_report, description, protocols, runtimes
from handlers.answer_tensors import outputs_of
from handlers.batch import Refusal, each, together
from handlers.deadline import Deadline
from handlers.decoders import DecoderPool
from handlers.protocols import Model
from handlers.request import Answer, Kind, RawRequest, Request, is_out_of_memory, refuse
from handlers.settings import Settings
from handlers.several import Several, gathered, in_pieces, spread
from model_defs.answer_diff import difference
from model_defs.artifact import Artifact, Sample
from model_defs.build import SpecError, build, find_class
from model_defs.cpus import usable_cpus
from model_defs.errors import BundleError
from model_defs.file_network import FileNetwork

log = logging.getLogger(__name__)
PACKAGE = ("handlers",)  # a recipe's handler must be in it
MESSAGE_CHARS = 1000  # of an error's message at most, because it may quote what the caller sent
DECODING = 0.5  # of a batch's time: the share in which its rows must be decoded. The rest is for the network.


class Answered(msgspec.Struct):
    """A batch's answers, in the order of its rows.

    Args:
        seconds: each step's time, by the name of its metric.
        is_lost: whether the GPU takes no more work, so that this process cannot answer any more.
    """

    answers: list[Answer]
    seconds: dict[str, float]
    is_lost: bool = False


class Stopwatch:
    """Times of steps that follow each other."""

    def __init__(self):
        self.seconds: dict[str, float] = {}
        self.last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Record the time since the last lap."""
        now = time.perf_counter()
        self.seconds[name], self.last = now - self.last, now


class WrongAnswer(BundleError):
    """A sample of the artifact gets another answer than in training. This worker must not serve."""


class Handler:
    """The base of every handler.

    Args:
        artifact: of a training, or an unpacked archive, which has the same files.
        settings: the recipe's `handler:` section.
        device: "cpu", "cuda:0" ...
        workers: how many processes share this machine's CPUs for this model.
        seconds: the time limit of a batch; unlimited if None. Decoding may take half of it.
    """

    accepts: Kind
    Parameters: type[msgspec.Struct]
    Prediction: Any = Any  # the type of an answer, for the description
    ExplanationParameters: type[msgspec.Struct] | None = None  # None: it gives no explanations
    unexplained = ""  # why it gives none, and what can be explained instead
    takes_backgrounds = False  # whether a method of explanation needs training inputs in the archive

    def __init__(
        self, artifact: Artifact, settings: Settings, device: str = "cpu", workers: int = 1, seconds: float | None = None
    ):
        self.artifact, self.settings, self.seconds = artifact, settings, seconds
        self.labels = artifact.labels
        self.transform = artifact.build_transform()
        self.device = device
        threads = settings.threads or max(1, usable_cpus() // workers)
        self.runtime = runtimes.load(artifact, settings, device, threads)
        self.decoders = DecoderPool(settings.decoders)
        self.encode = msgspec.json.Encoder().encode
        self.largest_batch: int | None = None  # that the network is known to take; None: any

    @cached_property
    def eager(self) -> nn.Module:
        """The network in eager fp32, for explanations, whatever runtime predicts. It is built when it is first used.

        Raises:
            Refusal: the network is in a file, and torch cannot explain it.
        """
        network = self.artifact.build_network()
        if isinstance(network, FileNetwork):
            raise Refusal(
                501, f"torch has no network of {self.artifact.name!r}, so nothing explains it; send this to /predictions"
            )
        return network.to(self.device)

    @cached_property
    def tolerance(self) -> float:
        """How far a score may be from training's: the recipe's tolerance, and the runtime's measured difference."""
        measured = comparison_report.read(self.artifact.folder)
        return self.settings.tolerance + (measured.largest_difference if measured else 0)

    # --- what an author may override

    def read(self, row: RawRequest) -> Request | Several:
        """One request as it came -> what the other methods see. For the errors see `parse_request`."""
        return protocols.read(row, self.model)

    def preprocess(self, request: Request) -> Any:
        """One request -> one sample.

        Raises:
            InputError: the payload cannot be used.
        """
        chosen = {name: getattr(request.parameters, name) for name in self.transform.parameters}
        return self.transform(request.payload, **chosen)

    def inference(self, samples: list) -> list:
        """The batch's samples -> one output per sample."""
        return self.transform.outputs(self.runtime, samples)

    def postprocess(self, output: Any, sample: Any, request: Request) -> Any:
        """One output -> the answer, as JSON can express it."""
        raise NotImplementedError

    def explain(self, output: Any, sample: Any, request: Request) -> Any:
        """One output -> its explanation, as JSON can express it."""
        return self.subject(output, sample, request).answer()

    def subject(self, output: Any, sample: Any, request: Request) -> Any:
        """One output -> what is explained: a `handlers.explain.subject.Subject`. By default, nothing is."""
        raise self.no_explanations()

    # --- what every handler does

    def no_explanations(self) -> Refusal:
        return Refusal(501, f"{self.unexplained or f'{type(self).__name__} gives no explanations'}; send this to /predictions")

    def answer(self, rows: list[RawRequest], explainer: str = "") -> Answered:
        """One Answer per row, whatever the rows contain. `explainer`: see `protocols.sent_on`; "" if this process explains."""
        is_sent_on = [bool(explainer) and row.explain for row in rows]
        if any(is_sent_on):
            predicted = self.answer([row for row, is_elsewhere in zip(rows, is_sent_on, strict=True) if not is_elsewhere])
            left = iter(predicted.answers)
            both = zip(rows, is_sent_on, strict=True)
            whole = [protocols.sent_on(explainer, row) if is_elsewhere else next(left) for row, is_elsewhere in both]
            return Answered(whole, predicted.seconds, predicted.is_lost)
        stopwatch = Stopwatch()
        deadline = Deadline(self.seconds, len(rows))
        deadline.allow(DECODING, "decoding a batch")
        with deadline:
            parsed = each(deadline.limit(self.read), rows, refuse=refuse)
            has_several = any(isinstance(one, Several) for one in parsed)
            read_alone = partial(each, deadline.limit(partial(protocols.read_alone, model=self.model)), refuse=refuse)
            requests, raws = spread(parsed, rows, read_alone) if has_several else (parsed, rows)
            deadline.rows = len(requests)
            decode_all = partial(self.decoders.map, deadline=deadline)
            samples = each(deadline.limit(self.preprocess), requests, refuse=refuse, over=decode_all)
            deadline.allow(1)
            stopwatch.lap("PreprocessTime")
            run = partial(together, deadline.limit(self.infer), refuse=refuse)
            outputs = in_pieces(run, samples, self.largest_batch)
            stopwatch.lap("InferenceTime")
            bodies = each(deadline.limit(self.finish), outputs, samples, requests, refuse=refuse)
            stopwatch.lap("PostprocessTime")
        is_lost = any(isinstance(body, Refusal) and body.code == 500 for body in bodies) and self.is_lost()
        answers = [self.to_answer(body, raw, is_lost) for body, raw in zip(bodies, raws, strict=True)]
        answers = gathered(answers, parsed, rows, protocols.refusal) if has_several else answers
        return Answered(answers, stopwatch.seconds, is_lost)

    @cached_property
    def model(self) -> Model:
        """What a protocol must know of this model."""
        name, version = description.identity(self.artifact)
        outputs = outputs_of(self.Prediction)
        return Model(name, version, self.accepts, self.Parameters, self.ExplanationParameters, outputs, self.settings.max_inputs)

    def description(self) -> bytes:
        """What the model takes and gives, as JSON: the archive's description, or the same of an artifact."""
        return description.read(self.artifact.folder) or self.encode(description.describe(self))

    def infer(self, samples: list) -> list:
        """Call `inference`. If the memory runs out, free it first; then the batch is tried again in halves."""
        try:
            return self.inference(samples)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            said = str(error)
        # The exception's frames hold tensors. They are free only here, after the exception is gone.
        if self.device != "cpu":
            torch.cuda.empty_cache()
        raise MemoryError(said)

    def is_lost(self) -> bool:
        """Whether the GPU takes no more work from this process.

        After some errors, such as a failed assertion in a kernel, every call fails until a new process starts.
        """
        if self.device == "cpu":
            return False
        try:
            torch.cuda.synchronize(self.device)
        except RuntimeError:
            return True
        return False

    def to_answer(self, body: bytes | Refusal, row: RawRequest, is_lost: bool) -> Answer:
        if not isinstance(body, Refusal):
            return Answer(body)
        if is_lost and body.code == 500:
            body = Refusal(503, "the worker lost its GPU and is being started anew; send the request again", body.cause)
        return self.refused(body, row)

    def finish(self, output: Any, sample: Any, request: Request) -> bytes:
        """One row's output -> the body of its answer."""
        return self.encode((self.explain if request.explain else self.postprocess)(output, sample, request))

    def refused(self, refusal: Refusal, row: RawRequest) -> Answer:
        """The answer to a refused row. A server error's details go to the log only, under the request's id."""
        message = refusal.message[:MESSAGE_CHARS].encode(errors="backslashreplace").decode()  # it may quote half a surrogate pair
        if refusal.code == 500:
            message += f"; the server's log says why under request {row.id}"
        if refusal.cause or refusal.code == 500:
            log.error("request %s: %s", row.id, refusal.message, exc_info=refusal.cause)
        kind = HTTPStatus(refusal.code).phrase.replace(" ", "").replace("-", "")
        answer = Answer(self.encode({"code": refusal.code, "type": kind, "message": message}), refusal.code)
        return protocols.refusal(answer, row)

    def warm_up(self, batch_size: int) -> None:
        """Answer all of the artifact's samples at every batch size up to `batch_size`, and check the answers.

        So nothing runs for the first time when the first caller comes.

        Raises:
            WrongAnswer: an answer differs from the one recorded in training, or there is none to compare with.
        """
        try:
            samples = self.artifact.samples()
        except msgspec.ValidationError as error:
            raise WrongAnswer(f"{self.artifact.folder} has samples that an older bundle wrote ({error}); train anew") from None
        if not samples:
            raise WrongAnswer(f"{self.artifact.folder} has no samples to check the answers against; train the model anew")
        self.largest_batch = batch_size
        for size in range(1, batch_size + 1):
            repeated = list(islice(cycle(samples), max(size, len(samples))))
            for start in range(0, len(repeated), size):
                self.check_answers(repeated[start : start + size])

    def check_answers(self, samples: list[tuple[Sample, bytes]]) -> None:
        """Answer one batch of samples. For the error see `warm_up`."""
        rows = [RawRequest({"body": payload}, id=f"sample {sample.file}") for sample, payload in samples]
        for (sample, _), answer in zip(samples, self.answer(rows).answers, strict=True):
            wrong = difference(msgspec.json.decode(answer.body), sample.answer, self.tolerance)
            if answer.code != 200 or wrong:
                body, within = answer.body[:200].decode(errors="replace"), f"within {self.tolerance:.4g}"
                raise WrongAnswer(f"sample {sample.file} in a batch of {len(rows)} got {answer.code} {body}; {wrong}, {within}")


def load(folder: Path | str, section: dict, device: str = "cpu", workers: int = 1, seconds: float | None = None) -> Handler:
    """The handler that a recipe's `handler:` section names, with the model of an artifact or of an unpacked archive.

    Args:
        device, workers, seconds: see `Handler`.

    Raises:
        msgspec.ValidationError: an unknown setting, or one of the wrong type.
        SpecError: no such class, a class that is not a Handler, or `init_args` that it does not take.
        RuntimeUnavailable: the runtime cannot do here what the settings ask.
    """
    settings = msgspec.convert(section, Settings)
    if not issubclass(find_class(settings.class_path, PACKAGE), Handler):
        raise SpecError(f"{settings.class_path} is not a Handler; name one such as handlers.vision.ImageClassifier")
    given = {"artifact": Artifact.read(folder), "settings": settings, "device": device, "workers": workers, "seconds": seconds}
    return build({"class_path": settings.class_path, "init_args": settings.init_args}, given, PACKAGE)
