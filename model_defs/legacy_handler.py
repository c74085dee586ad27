"""An old handler of TorchServe with its own code. Its `preprocess` and `postprocess` see one row, and its `inference` the batch.

A handler whose class writes its own `handle`, or that is a plain function, is called once per row.
"""

import importlib
import inspect
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import safetensors.torch

from model_defs.errors import BundleError, OutputError, first_line, where
from model_defs.file_network import FileNetwork
from model_defs.legacy_context import LegacyContext, Refused, answer_loads
from model_defs.legacy_files import LegacyCodeError, LegacyError, LegacyFiles
from model_defs.legacy_rows import joined, length, split
from model_defs.transform import Transform

STOCK = "ts.torch_handler"  # the package of TorchServe's own handlers
METHODS = ("preprocess", "inference", "postprocess")
INPUT_NAMES = ("data", "body")  # as TorchServe calls the input of a row: in a form, and else
OPENED: dict[Path, "LegacyHandler"] = {}  # by the artifact's folder
PLACES: list[Path] = []  # where the old archives' files lie in this process


class Row(NamedTuple):
    """One request as TorchServe hands it over."""

    fields: Mapping[str, Any]
    headers: dict[str, str]


class LegacyHandler:
    """A handler after its `initialize`.

    Args:
        name: of the model.
        device: "cpu", "cuda:0" ...

    Raises:
        LegacyError: its code fails, or it asks for something that would have to be unpickled.
    """

    def __init__(self, files: LegacyFiles, name: str, device: str = "cpu"):
        self.files = files
        self.place = tempfile.TemporaryDirectory(prefix=f"{name}-")  # removed when this process ends
        folder = Path(self.place.name).resolve()
        lay_out(files, folder)
        answer_loads(folder, files.weights)
        self.context = LegacyContext(name, folder, files.model, device)
        try:
            module, function = imported(files.model["handler"], folder)
            self.service, self.handle, initialize = entry(module, function)
            if initialize:
                initialize(self.context)
        except BundleError:
            raise
        except Exception as error:  # the owner's own code
            raise LegacyCodeError(f"the old handler fails to start: {where(error)}") from error
        if self.service is not None:
            self.service.context = self.context  # as BaseHandler.handle does

    @property
    def has_methods(self) -> bool:
        """Whether it has TorchServe's three methods."""
        return self.service is not None and all(callable(getattr(self.service, name, None)) for name in METHODS)

    def preprocess(self, row: Row) -> Any:
        """
        Raises:
            Refused: the handler does not take this input.
        """
        self.context.asked(row.headers)
        try:
            given = self.service.preprocess([dict(row.fields)])
        except MemoryError:
            raise
        except Exception as error:
            raise refused(error) from error
        self.context.check()
        return given

    def inference(self, given: Any) -> Any:
        return self.service.inference(given)

    def postprocess(self, output: Any) -> Any:
        """The output of one row -> its answer, as JSON can express it."""
        self.context.asked({})
        answer = as_json(only(self.service.postprocess(output)))
        self.context.check()
        return answer

    def whole(self, row: Row) -> Any:
        """One row -> its answer, by the handler's own `handle`. For the error see `preprocess`."""
        self.context.asked(row.headers)
        try:
            answers = self.handle([dict(row.fields)], self.context)
        except MemoryError:
            raise
        except Exception as error:
            raise refused(error) from error
        self.context.check()
        return as_json(only(answers))


def lay_out(files: LegacyFiles, folder: Path) -> None:
    """Put the files where the handler looks for them. One of weights is empty, unless it is safetensors: see `answer_loads`."""
    for path, content in (files.code | files.others | dict.fromkeys(files.weights, b"")).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    for path, tensors in files.weights.items():
        if path.endswith(".safetensors"):
            safetensors.torch.save_file(tensors, folder / path)


def imported(handler: str, folder: Path) -> tuple[ModuleType, str]:
    """The module of the manifest's `handler`, and the name of its function: "handler.py:answer", or a stock handler's name."""
    name, _, function = handler.partition(":")
    for old in [key for key, value in sys.modules.items() if is_old(value)]:
        del sys.modules[old]  # the files of another old archive may have the same names
    PLACES.append(folder)
    sys.path.insert(0, str(folder))  # for good: a handler may import when it answers
    stem = Path(name).stem
    module = importlib.import_module(stem if (folder / f"{stem}.py").is_file() else f"{STOCK}.{stem}")
    return module, function or "handle"


def is_old(module: ModuleType) -> bool:
    """Whether it is a file of an old archive."""
    file = getattr(module, "__file__", None)
    return bool(file) and any(Path(file).is_relative_to(place) for place in PLACES)


def entry(module: ModuleType, function: str) -> tuple[Any, Callable, Callable | None]:
    """(the handler's object, if it is a class; what answers (rows, context); what initializes), as TorchServe's loader does it.

    Raises:
        LegacyError: neither that function nor exactly one class.
    """
    if callable(found := getattr(module, function, None)):
        return None, found, getattr(module, "initialize", None)
    classes = [value for value in vars(module).values() if inspect.isclass(value) and value.__module__ == module.__name__]
    if len(classes) != 1:
        raise LegacyError(
            f"{module.__name__} has no function {function!r}, and {len(classes)} classes, where TorchServe wants one"
        )
    service = classes[0]()
    return service, getattr(service, function), getattr(service, "initialize", None)


def refused(error: Exception) -> Exception:
    """What an exception of `preprocess` is for the caller: a fault of the input, with the handler's own status if it has one."""
    if isinstance(error, BundleError):
        return error
    status = getattr(error, "error_code", None)  # of ts.utils.util.PredictionException
    message = str(getattr(error, "message", "")) or f"{type(error).__name__}: {first_line(error, 200)}"
    is_fault = isinstance(status, int) and 400 <= status < 500
    return Refused(status if is_fault else 400, f"the model's handler cannot read this input ({message})")


def only(answers: Any) -> Any:
    """
    Raises:
        LegacyError: not one answer for one row.
    """
    if not isinstance(answers, list | tuple) or len(answers) != 1:
        given = f"{len(answers)} answers" if isinstance(answers, list | tuple) else f"a {type(answers).__name__}"
        raise LegacyError(f"the old handler gives {given} for a list with one input; TorchServe wants a list with one answer")
    return answers[0]


def as_json(answer: Any) -> Any:
    """An answer as TorchServe would send it -> the JSON value that it is. A text that is no JSON stays a text.

    Raises:
        OutputError: bytes that are no text, or a value that JSON cannot express.
    """
    try:
        if isinstance(answer, bytes | bytearray):
            answer = bytes(answer).decode()
        if not isinstance(answer, str):
            return json.loads(json.dumps(answer))
    except (UnicodeDecodeError, TypeError, ValueError) as error:
        raise OutputError(f"the old handler's answer is no JSON ({first_line(error, 100)})") from error
    try:
        return json.loads(answer)
    except ValueError:
        return answer


def opened(folder: Path, name: str, device: str = "cpu") -> LegacyHandler:
    """The handler of an artifact. A process has one, which the transform and the network share."""
    folder = Path(folder).resolve()
    if folder not in OPENED:
        OPENED[folder] = LegacyHandler(LegacyFiles.read(folder, name), name, device)
    return OPENED[folder]


class LegacyTransform(Transform):
    """One row -> what the old handler's `preprocess` makes of it.

    Args:
        name: of the model.
        is_batched: whether rows go through `inference` together; else `handle` answers each row.
        is_json: whether the bytes of an input are JSON, which TorchServe parses by their content type.
    """

    def __init__(self, name: str, is_batched: bool, is_json: bool = False):
        self.name, self.is_batched, self.is_json = name, is_batched, is_json
        self.handler: Any = None

    def __call__(self, payload: bytes | Row) -> Any:
        """
        Raises:
            Refused: the old handler does not take it.
        """
        row = self.row(payload)
        return self.handler.preprocess(row) if self.is_batched else row

    def row(self, payload: bytes | Row) -> Row:
        """The input under both names that TorchServe gives it."""
        given = payload if isinstance(payload, Row) else Row({"body": bytearray(payload)}, {})
        known = next((given.fields[name] for name in INPUT_NAMES if name in given.fields), None)
        if self.is_json and isinstance(known, bytes | bytearray):
            try:
                known = json.loads(known)
            except (ValueError, RecursionError) as error:
                raise Refused(400, f"the body is no JSON ({first_line(error, 100)})") from None
        both = {} if known is None else dict.fromkeys(INPUT_NAMES, known)
        return Row(both | {name: value for name, value in given.fields.items() if name not in both}, given.headers)

    def outputs(self, network: Callable, samples: list) -> list:
        """One output per row. Raises ValueError if rows cannot be put together; then each is answered alone."""
        if not self.is_batched or len(samples) == 1:
            return [network((sample,)) for sample in samples]
        return split(network((joined(samples),)), [length(sample) for sample in samples])

    def answer(self, output: Any) -> Any:
        return self.handler.postprocess(output) if self.is_batched else output

    def save(self, folder: Path) -> None:
        self.handler.files.write(folder, self.name)

    def load(self, folder: Path) -> None:
        self.handler = opened(folder, self.name)


class LegacyNetwork(FileNetwork):
    """What the old handler's `inference` computes; for the arguments see `LegacyTransform`, which also keeps its files."""

    def __init__(self, name: str, is_batched: bool):
        super().__init__()
        self.name, self.is_batched = name, is_batched
        self.handler: Any = None

    def forward(self, given: Any) -> Any:
        return self.handler.inference(given) if self.is_batched else self.handler.whole(given)

    def save(self, folder: Path) -> None:
        """The transform writes all files of the old archive."""

    def load(self, folder: Path) -> None:
        self.handler = opened(folder, self.name)
