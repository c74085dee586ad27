"""What an old handler asks of TorchServe: its context, and the functions that read its weights."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from model_defs.errors import InputError
from model_defs.legacy_files import LegacyError

log = logging.getLogger(__name__)


class Refused(InputError):
    """The old handler itself refused an input.

    Args:
        status: that it chose.
    """

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


class LegacyMetrics:
    """Takes every metric that an old handler reports, and writes it to the log; TorchServe does not get it."""

    def __getattr__(self, name: str) -> Callable[..., "LegacyMetrics"]:
        if name.startswith("__"):
            raise AttributeError(name)

        def reported(*values: Any, **named: Any) -> "LegacyMetrics":
            log.debug("metric of the old handler: %s %s %s", name, values, named)
            return self

        return reported


class LegacyContext:
    """TorchServe's context, for one request at a time: an index of a row is always 0.

    Args:
        name: of the model.
        folder: with the files of the old archive.
        model: the manifest's section of that name.
        device: "cpu", "cuda:0" ...
    """

    def __init__(self, name: str, folder: Path, model: dict[str, Any], device: str):
        kind, _, number = device.partition(":")
        self.model_name, self.manifest, self.metrics = name, {"model": model}, LegacyMetrics()
        self.system_properties = {
            "model_dir": str(folder), "gpu_id": int(number or 0) if kind == "cuda" else None, "batch_size": 1,
            "server_name": "MMS", "server_version": "0.12.0", "limit_max_image_pixels": True,
        }  # fmt: skip
        self.model_yaml_config: dict[str, Any] = {}
        self.asked({})

    def asked(self, headers: dict[str, str]) -> None:
        """Begin with a request that has these headers."""
        self.headers, self.code, self.phrase = headers, 200, ""
        self.request_ids, self.response_headers = {0: headers.get("x-request-id", "")}, dict[str, str]()

    def check(self) -> None:
        """
        Raises:
            Refused: the handler has set a status of a client's fault.
            LegacyError: it has set one of a server's.
        """
        if 400 <= self.code < 500:
            raise Refused(self.code, self.phrase or "the model's handler refused this input")
        if self.code >= 500:
            raise LegacyError(f"the old handler answered {self.code} {self.phrase}")

    def get_request_id(self, idx: int = 0) -> str | None:
        return self.request_ids.get(idx)

    def get_request_header(self, idx: int, key: str) -> str | None:
        return self.headers.get(key.lower())

    def get_all_request_header(self, idx: int) -> dict[str, str]:
        return self.headers

    def set_response_content_type(self, idx: int, value: str) -> None:
        self.response_headers["content-type"] = value

    def get_response_content_type(self, idx: int) -> str | None:
        return self.response_headers.get("content-type")

    def set_response_header(self, idx: int, key: str, value: str) -> None:
        self.response_headers[key] = value

    def get_response_headers(self, idx: int) -> dict[str, str]:
        return self.response_headers

    def set_response_status(self, code: int = 200, phrase: str = "", idx: int = 0) -> None:
        self.code, self.phrase = code, phrase

    def set_all_response_status(self, code: int = 200, phrase: str = "") -> None:
        self.code, self.phrase = code, phrase

    def get_response_status(self, idx: int) -> tuple[int, str]:
        return self.code, self.phrase


def answer_loads(folder: Path, weights: dict[str, Any]) -> None:
    """Let torch's functions that unpickle give the tensors of the archive, which were read as data, and refuse all other files.

    This holds for the whole process, which serves this one model.

    Args:
        folder: where the handler looks for its files.
        weights: what each file holds, by its path in the folder.
    """

    def load(file: Any, *_: Any, **__: Any) -> Any:
        path = Path(str(getattr(file, "name", file))).resolve()
        known = weights.get(path.relative_to(folder).as_posix()) if path.is_relative_to(folder) else None
        if known is None:
            raise LegacyError(f"torch.load({path.name}): no file of weights of the archive; nothing else is unpickled")
        return copied(known)

    def refuse(file: Any, *_: Any, **__: Any) -> Any:
        raise LegacyError(f"torch.jit.load({Path(str(file)).name}): TorchScript holds pickles, and none is loaded")

    setattr(torch, "load", load)  # noqa: B010 - it replaces the function that would unpickle
    setattr(torch.jit, "load", refuse)  # noqa: B010


def copied(value: Any) -> Any:
    """A copy whose containers the handler may change."""
    if isinstance(value, dict):
        return {key: copied(inner) for key, inner in value.items()}
    return [copied(inner) for inner in value] if isinstance(value, list) else value
