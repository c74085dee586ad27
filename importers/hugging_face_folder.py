"""The files of a Hugging Face folder: config.json, and the weights in any of their forms. They are read, never run."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from importers.found import ImportRefused
from model_defs import weights_file
from model_defs.errors import BundleError
from model_defs.postprocess import top
from model_defs.transformer import extra, network_of, settings_of

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
MAX_BYTES = 16 << 20  # of a JSON file
MAX_PARTS = 1000  # files of weights
DEPTHS = re.compile(r"layers?$|depths?$|blocks?$|stages?$|repeats?$")  # settings that say how often a part is there
SPARE = 50_000_000  # numbers that a network may have beyond those in the file: positions and masks that it computes itself
CODE = ("auto_map", "custom_pipelines", "quantization_config")


@dataclass
class Folder:
    """
    Args:
        path: of the folder.
        config: the contents of its config.json.
        kind: the form of the weights, in words.
        tensors: by their names in the files.
    """

    path: Path
    config: dict[str, Any]
    kind: str
    tensors: dict[str, Tensor]


def read_config(folder: Path) -> dict[str, Any] | None:
    """The folder's config.json; None if it has none.

    Raises:
        ImportRefused: it is damaged, or asks for code of its own.
    """
    file = folder / CONFIG
    if not file.is_file():
        return None
    config = read_json(file)
    for key in CODE:
        if config.get(key):
            why = "is quantized" if key.startswith("quant") else "needs Python code of its own, which is not run"
            raise ImportRefused(
                f"{file} has {key!r}: the model {why}; save it with a class of transformers itself in float32, "
                "or give your own file of the network: ARGS='--network my_net.py:MyNet()'"
            )
    return config


def read_json(file: Path) -> dict[str, Any]:
    return read_json_of(file, dict, "object")


def read_json_list(file: Path) -> list:
    return read_json_of(file, list, "list")


def read_json_of(file: Path, kind: type, what: str) -> Any:
    """
    Raises:
        ImportRefused: it cannot be read, or is of another type.
    """
    try:
        if file.stat().st_size > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES >> 20} MiB")
        given = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ImportRefused(f"{file} cannot be read ({str(error)[:100]}); copy it again") from None
    if not isinstance(given, kind):
        raise ImportRefused(f"{file} is no JSON {what}; copy it again")
    return given


def read_weights(folder: Path) -> tuple[str, dict[str, Tensor]]:
    """The form of the weights in words, and the tensors by name; safetensors before pickles.

    Raises:
        ImportRefused: no weights there, or an index that leads elsewhere.
        WeightsError: a file that cannot be read.
    """
    for name in WEIGHTS:
        index, file = folder / f"{name}.index.json", folder / name
        if file.is_file():
            found = weights_file.read(file)
            return f"{name}, {found.kind}", found.tensors
        if index.is_file():
            parts = read_json(index).get("weight_map")
            names = sorted(set(parts.values())) if isinstance(parts, dict) and all(map(is_name, parts.values())) else []
            if not 1 <= len(names) <= MAX_PARTS:
                raise ImportRefused(f"{index}: its 'weight_map' does not name files of this folder; copy the folder again")
            tensors: dict[str, Tensor] = {}
            for part in names:
                if not (folder / part).is_file():
                    raise ImportRefused(f"{index} names {part}, which is not there; copy the whole folder")
                tensors |= weights_file.read(folder / part).tensors
            return f"{name} in {len(names)} parts", tensors
    there = ", ".join(sorted(file.name for file in folder.iterdir())[:8])
    raise ImportRefused(f"{folder} has neither {' nor '.join(WEIGHTS)}; it has {there}: save it with save_pretrained")


def is_name(given: Any) -> bool:
    return isinstance(given, str) and Path(given).name == given and not given.startswith(".")


def check_size(folder: Folder, count: int, auto_class: str) -> None:
    """Refuse a config.json whose network would be far larger than the weights, before memory is allocated for it.

    Raises:
        ImportRefused: it is.
    """
    for key, value in settings(folder.config):
        if DEPTHS.search(key) and value > max(64, len(folder.tensors)):
            raise ImportRefused(f"{folder.path / CONFIG}: {key} is {value:,}, and the weights are {len(folder.tensors)} tensors")
    with quiet(folder.path), torch.device("meta"):
        network = network_of(folder.config, count, auto_class)
    needed = sum(tensor.numel() for tensor in (*network.parameters(), *network.buffers()))
    if needed > 2 * sum(tensor.numel() for tensor in folder.tensors.values()) + SPARE:
        raise ImportRefused(f"{folder.path / CONFIG} describes a network of {needed:,} numbers; the weights have far fewer")


def settings(config: Any, key: str = "", depth: int = 0) -> Iterator[tuple[str, int]]:
    """The whole numbers of a config, nested ones too, with their keys."""
    if isinstance(config, bool) or depth > 8:
        return
    if isinstance(config, int):
        yield key, config
    elif isinstance(config, dict):
        for name, value in config.items():
            yield from settings(value, str(name), depth + 1)
    elif isinstance(config, list):
        for value in config[:1000]:
            yield from settings(value, key, depth + 1)


def load(folder: Folder, count: int) -> nn.Module:
    """The network with exactly the folder's weights, by transformers itself, which knows the names of its older versions.

    Raises:
        ImportRefused: a tensor is missing, left over or of another shape.
        SpecError: no such network.
    """
    with quiet(folder.path) as transformers:
        config = settings_of(folder.config, count)
        state = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in folder.tensors.items()}
        network, report = getattr(transformers, folder.config["architectures"][0]).from_pretrained(
            None, config=config, state_dict=state, output_loading_info=True, trust_remote_code=False, local_files_only=True,
            ignore_mismatched_sizes=True, dtype=torch.float32,
        )  # fmt: skip
    wrong = [f"{name} is missing" for name in sorted(report["missing_keys"])]
    wrong += [f"{name} is left over" for name in sorted(report["unexpected_keys"])]
    wrong += [f"{name} is {list(given)}, not {list(wanted)}" for name, given, wanted in sorted(report["mismatched_keys"])]
    if wrong:
        more = f", and {len(wrong) - 1} more" if wrong[1:] else ""
        raise ImportRefused(
            f"{folder.path} does not fit the {type(network).__name__} of its config.json: {wrong[0]}{more}; "
            "a base model without its head is to be trained first: docs/texts_and_sounds.md"
        )
    return network.eval()


@contextmanager
def quiet(path: Path) -> Iterator[Any]:
    """The transformers package, without its reports and progress bars; its errors become one line.

    Raises:
        ImportRefused: any of them.
    """
    transformers = extra("transformers")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield transformers
    except BundleError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or repr(error)
        raise ImportRefused(f"{path} cannot be read by transformers {transformers.__version__}: {reason}") from error


def with_labels(names: list[str]) -> Callable[[Tensor, Any], list[dict]]:
    """A classifier's output and the sample -> the answer."""
    return lambda output, sample: top(output, names)
