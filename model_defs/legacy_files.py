"""The files of an old archive of TorchServe, as an artifact keeps them: code as code, weights as safetensors, the rest as data.

model_defs/own/<model>/*.py     its code
weights.safetensors             the tensors of its files of weights
legacy.json                     its manifest, what else those files hold, and all other files in base64
"""

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from model_defs.bundle_format import WEIGHTS
from model_defs.errors import BundleError, OwnCodeError

FILE, CODE = "legacy.json", "model_defs/own"
SCALARS = (str, int, float, bool, type(None))


class LegacyError(BundleError):
    """The old handler, or a file of its archive, cannot be used; the message says why and what to do."""


class LegacyCodeError(LegacyError, OwnCodeError):
    """The old handler's own code fails."""


@dataclass
class LegacyFiles:
    """
    Args:
        model: the manifest's section of that name.
        code: the Python files by their paths in the old archive.
        weights: by path: what `torch.load` would give, or for safetensors the tensors by name.
        others: by path.
    """

    model: dict[str, Any]
    code: dict[str, bytes] = field(default_factory=dict)
    weights: dict[str, Any] = field(default_factory=dict)
    others: dict[str, bytes] = field(default_factory=dict)

    def write(self, folder: Path, name: str) -> None:
        """Write them into an artifact.

        Args:
            name: of the model.
        """
        tensors: dict[str, Tensor] = {}
        kept = {
            "model": self.model,
            "weights": {path: taken_out(value, tensors) for path, value in self.weights.items()},
            "others": {path: base64.b64encode(content).decode() for path, content in self.others.items()},
        }
        for path, content in self.code.items():
            target = folder / CODE / name / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        safetensors.torch.save_file(tensors, folder / WEIGHTS)
        (folder / FILE).write_text(json.dumps(kept, indent=1), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path, name: str) -> "LegacyFiles":
        """
        Raises:
            LegacyError: a file is missing or malformed.
        """
        try:
            kept = json.loads((folder / FILE).read_text(encoding="utf-8"))
            tensors = safetensors.torch.load_file(folder / WEIGHTS)
            root = folder / CODE / name
            return cls(
                kept["model"],
                {file.relative_to(root).as_posix(): file.read_bytes() for file in sorted(root.rglob("*.py"))},
                {path: put_back(value, tensors) for path, value in kept["weights"].items()},
                {path: base64.b64decode(content) for path, content in kept["others"].items()},
            )
        except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
            raise LegacyError(f"{folder}: an old archive's files are damaged ({error}); import it again") from None


def taken_out(value: Any, tensors: dict[str, Tensor]) -> Any:
    """A value of `torch.load` as JSON can express it; its tensors go into `tensors`.

    Raises:
        LegacyError: an object of a class.
    """
    if isinstance(value, Tensor):
        key = str(len(tensors))
        tensors[key] = value.detach().clone().contiguous()
        return {"tensor": key}
    if isinstance(value, dict):
        return {"dict": [[taken_out(key, tensors), taken_out(inner, tensors)] for key, inner in value.items()]}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [taken_out(inner, tensors) for inner in value]}
    if isinstance(value, SCALARS):
        return value
    kind = getattr(value, "path", type(value).__name__)
    raise LegacyError(
        f"it holds an object of {kind}, which would have to be unpickled; save the state: torch.save(model.state_dict(), ...)"
    )


def put_back(given: Any, tensors: dict[str, Tensor]) -> Any:
    """The inverse of `taken_out`."""
    if not isinstance(given, dict):
        return given
    ((kind, inner),) = given.items()
    if kind == "tensor":
        return tensors[inner]
    if kind == "dict":
        return {put_back(key, tensors): put_back(value, tensors) for key, value in inner}
    return {"list": list, "tuple": tuple}[kind](put_back(value, tensors) for value in inner)
