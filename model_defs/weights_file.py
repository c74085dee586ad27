"""Read the tensors of a file of weights by their names, whatever form it has, without running a line of it.

The forms: safetensors; what `torch.save` writes of a state_dict, of a checkpoint with one in it, of a Lightning checkpoint, of a
whole module; TorchScript. `torch.load` is not asked: `weights_only=True` of torch 2.3 runs a TorchScript file
(CVE-2025-32434). The sizes in the file are checked against what the file holds before anything is allocated.
"""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from model_defs.errors import BundleError
from model_defs.inert_pickle import BROKEN, MAX_BYTES, Inert, Named, PickleError, loads

ZIP = b"PK\x03\x04"
PICKLES = "data.pkl"
MAX_TENSORS, MAX_DEPTH = 50_000, 64
MAX_DIMENSIONS, MAX_NUMBER = 16, 1 << 48
SAVE_AGAIN = 'save it once more with a current torch: torch.save(model.state_dict(), "model.pth")'
DTYPES = {
    f"torch.{name}Storage": dtype
    for name, dtype in {
        "Float": torch.float32,
        "Double": torch.float64,
        "Half": torch.float16,
        "BFloat16": torch.bfloat16,
        "Long": torch.int64,
        "Int": torch.int32,
        "Short": torch.int16,
        "Char": torch.int8,
        "Byte": torch.uint8,
        "Bool": torch.bool,
    }.items()
}
# Parts of a checkpoint that are not the network.
NOT_WEIGHTS = ("optim", "sched", "lr_", "loops", "callbacks", "rng", "scaler", "amp", "hyper", "hparams", "args", "config")


class WeightsError(BundleError, ValueError):
    """The file's tensors cannot be read; the message says why and what to do."""


@dataclass
class WeightsFile:
    """What a file of weights holds.

    Args:
        kind: in words: "a state_dict", "a whole pickled torchvision.models.resnet.ResNet" ...
        tensors: by their names in the file.
        extras: what else a checkpoint holds, by key: class names, for example. Inert values.
        named: classes and functions that the file names; none of them was loaded.
    """

    kind: str
    tensors: dict[str, Tensor]
    extras: dict[str, Any] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)


def read(file: Path, key: str | None = None) -> WeightsFile:
    """The file's tensors.

    Args:
        key: of the checkpoint's part that is the network, where several can be.

    Raises:
        FileNotFoundError: no such file.
        WeightsError: another form, a damaged file, or one whose parts claim more than the file holds.
    """
    with file.open("rb") as opened:
        head = opened.read(16)
    with readable(file):
        if head.startswith(ZIP):
            return read_zip(file, key)
        if head[8:9] == b"{":
            check_whole(file, "safetensors", key)
            return WeightsFile("safetensors", safetensors.torch.load_file(file))
    if head.startswith(b"\x80"):
        raise WeightsError(f"{file} is a pickle, or what torch.save wrote before torch 1.6; {SAVE_AGAIN}")
    raise WeightsError(f"{file} is not a file of weights: neither safetensors nor what torch.save writes; {SAVE_AGAIN}")


@contextmanager
def readable(file: Path) -> Iterator[None]:
    """Make every failure to read the file a WeightsError."""
    try:
        yield
    except WeightsError:
        raise
    except (PickleError, RecursionError) as error:
        raise WeightsError(f"{file}: {error}; {SAVE_AGAIN}") from error
    except safetensors.SafetensorError as error:
        raise WeightsError(f"{file}: damaged safetensors ({str(error)[:100]}); copy it again") from error
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, OSError, *BROKEN) as error:
        raise WeightsError(f"{file}: a damaged zip ({str(error)[:100]}); copy it again") from error


def contents(file: Path) -> Any:
    """All that a file of weights holds: containers, numbers, texts and tensors, and an `Inert` for each object of a class.

    For the errors see `read`. TorchScript, which is code, is a WeightsError, too.
    """
    if not zipfile.is_zipfile(file):
        return read(file).tensors
    with readable(file):
        root, _, is_script = unpacked(file)
    if is_script:
        raise WeightsError(f"{file} is TorchScript, which is code; {SAVE_AGAIN}")
    return root


def unpacked(file: Path) -> tuple[Any, set[str], bool]:
    """The pickle of a zip, the classes and functions that it names, and whether it is TorchScript."""
    with zipfile.ZipFile(file) as archive:
        entries = [entry for entry in archive.namelist() if entry == PICKLES or entry.endswith(f"/{PICKLES}")]
        if len(entries) != 1:
            raise WeightsError(f"{file} is a zip with {len(entries)} {PICKLES}, not what torch.save writes; {SAVE_AGAIN}")
        storages = Storages(archive, entries[0].removesuffix(PICKLES), file.stat().st_size)
        root, named = loads(storages.read(PICKLES), REBUILD, storages.storage)
        return root, named, f"{storages.root}constants.pkl" in archive.namelist()


def read_zip(file: Path, key: str | None) -> WeightsFile:
    """What `torch.save` or `torch.jit.save` wrote; for the errors see `read`."""
    root, named, is_script = unpacked(file)
    if is_script:
        if not (tensors := dict(tensors_of(root))):
            raise WeightsError(f"{file} is TorchScript without tensors by name; {SAVE_AGAIN}")
        check_whole(file, "TorchScript", key)
        return WeightsFile("TorchScript", tensors)
    if isinstance(root, Inert) and (found := dict(tensors_of(root))):
        check_whole(file, "a whole pickled module", key)
        return WeightsFile(f"a whole pickled {root.path}", found, {}, named)
    if not isinstance(root, dict):
        raise WeightsError(
            f"{file} holds no tensors by name; it names {', '.join(sorted(named)[:5]) or 'no class'}; {SAVE_AGAIN}"
        )
    if key is None and any(isinstance(value, Tensor) for value in root.values()):
        return WeightsFile("a state_dict", dict(tensors_of(root)), {}, named)
    key = chosen(file, root, key)
    return WeightsFile(
        f"a checkpoint, of which {key!r}",
        dict(tensors_of(root[key])),
        {str(name): value for name, value in root.items() if name != key},
        named,
    )


def check_whole(file: Path, kind: str, key: str | None) -> None:
    """
    Raises:
        WeightsError: a part is asked for, and a file of this kind has none.
    """
    if key is not None:
        raise WeightsError(f"{file} is {kind}, which has no parts such as {key!r}; leave --key out")


def chosen(file: Path, root: dict, key: str | None) -> str:
    """The key of the checkpoint's part that is the network.

    Raises:
        WeightsError: none, several, or not the one that was asked for.
    """
    parts = [
        name
        for name, value in root.items()
        if isinstance(name, str) and not name.lower().startswith(NOT_WEIGHTS) and next(tensors_of(value), None)
    ]
    if key is not None:
        if key not in parts:
            raise WeightsError(f"{file} has no tensors under {key!r}; it has {', '.join(parts) or 'none at all'}")
        return key
    if len(parts) == 1:
        return parts[0]
    if not parts:
        raise WeightsError(f"{file} is a checkpoint without tensors by name; {SAVE_AGAIN}")
    raise WeightsError(
        f"{file} holds several networks: {', '.join(parts)}; say which: ARGS='--key {parts[0]}' for make import; "
        f"or save one alone: torch.save(checkpoint[{parts[0]!r}], 'model.pth')"
    )


def tensors_of(found: Any, prefix: str = "", depth: int = 0, count: list[int] | None = None) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a state_dict or of a pickled module, by the names that the module's state_dict gives them."""
    count = count if count is not None else [0]
    state = (found.state or found.items) if isinstance(found, Inert) else found
    if not isinstance(state, dict):
        return
    if depth > MAX_DEPTH or count[0] > MAX_TENSORS:
        raise WeightsError(f"more than {MAX_DEPTH} levels or {MAX_TENSORS:,} parts; {SAVE_AGAIN}")
    if isinstance(state.get("_modules"), dict):  # a pickled nn.Module
        groups = [state.get(name) for name in ("_parameters", "_buffers", "_modules")]
        hidden = state.get("_non_persistent_buffers_set") or []
        hidden = {name for name in hidden if isinstance(name, str)} if isinstance(hidden, list) else set()
        state = {
            name: value for group in groups if isinstance(group, dict) for name, value in group.items() if name not in hidden
        }
    for name, value in state.items():
        count[0] += 1
        if isinstance(value, Tensor):
            yield f"{prefix}{name}", value
        elif isinstance(value, Inert):
            yield from tensors_of(value, f"{prefix}{name}.", depth + 1, count)


class Storages:
    """The raw data of the tensors in a zip.

    Args:
        root: the folder in the zip.
        size: of the zip in bytes. No more than this is read.
    """

    def __init__(self, archive: zipfile.ZipFile, root: str, size: int):
        self.archive, self.root = archive, root
        self.known: dict[str, Tensor] = {}
        infos = [info for info in archive.infolist() if info.filename.startswith(f"{root}data/")]
        if any(info.compress_type != zipfile.ZIP_STORED for info in infos) or sum(info.file_size for info in infos) > size:
            raise WeightsError(f"{archive.filename} is compressed, or its parts overlap; {SAVE_AGAIN}")
        if f"{root}byteorder" in archive.namelist() and self.read("byteorder") != b"little":
            raise WeightsError(f"{archive.filename} has its numbers in the byte order of another machine; {SAVE_AGAIN}")

    def read(self, name: str) -> bytes:
        """One part; a pickle may be compressed, as TorchScript's is, up to `MAX_BYTES`."""
        info = self.archive.getinfo(f"{self.root}{name}")
        if info.compress_type != zipfile.ZIP_STORED and info.file_size > MAX_BYTES:
            raise WeightsError(f"{self.archive.filename}: {info.filename} would take {info.file_size:,} bytes; {SAVE_AGAIN}")
        return self.archive.read(info)  # which reads no more than file_size

    def storage(self, saved: Any) -> Tensor:
        """A persistent id, ("storage", class, key, device, count) -> (count,) of the class's dtype."""
        kind, storage, key, _, count = saved
        dtype = DTYPES.get(storage.path) if isinstance(storage, Named) else None
        if kind != "storage" or dtype is None or not isinstance(key, str) or not isinstance(count, int):
            raise PickleError("a storage of an unknown type")
        if key not in self.known:
            data = bytearray(self.read(f"data/{key}"))
            self.known[key] = torch.frombuffer(data, dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)
        if not 0 <= count * dtype.itemsize <= len(self.known[key]):
            raise PickleError(f"a storage that claims {count:,} numbers, and has {len(self.known[key]):,} bytes")
        return self.known[key][: count * dtype.itemsize].view(dtype)


def tensor(storage: Any, offset: int, size: tuple, stride: tuple, *_: Any) -> Tensor:
    """A tensor over a storage.

    Raises:
        PickleError: it reaches beyond its storage, or has more numbers than that.
    """
    numbers = (offset, *size, *stride)
    if not isinstance(storage, Tensor) or not all(isinstance(number, int) and 0 <= number < MAX_NUMBER for number in numbers):
        raise PickleError("a tensor without a storage, or with a shape that no tensor has")
    if len(size) > MAX_DIMENSIONS:
        raise PickleError(f"a tensor of {len(size):,} dimensions")
    reach, count = offset + 1 + sum((length - 1) * step for length, step in zip(size, stride, strict=True)), 1
    for length in size:
        count *= length
    if count and (reach > len(storage) or count > len(storage)):
        raise PickleError(f"a tensor of shape {list(size)} that reaches beyond its storage of {len(storage):,} numbers")
    return storage.as_strided(size, stride, offset) if count else torch.empty(size, dtype=storage.dtype)


def typed(function: Any, _: Any, args: tuple, *__: Any) -> Any:
    """A tensor of a subclass, which is given as the plain tensor."""
    return REBUILD[function.path](*args)


REBUILD = {
    "collections.OrderedDict": lambda pairs=(): {key: value for key, value in pairs if isinstance(key, str)},
    "builtins.set": lambda values=(): list(values),
    "__builtin__.set": lambda values=(): list(values),
    "torch._utils._rebuild_tensor": tensor,
    "torch._utils._rebuild_tensor_v2": tensor,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
    "torch._utils._rebuild_parameter_with_state": lambda data, *_: data,
    "torch._tensor._rebuild_from_type_v2": typed,
}
