"""Read weights: from safetensors, from an artifact, or from torchvision.

Nothing that a user gives is unpickled. A file is recognised by its first bytes, whatever its name is.
"""

import zipfile
from pathlib import Path
from typing import NamedTuple

import torchvision
from torch import Tensor

from model_defs import weights_file
from model_defs.artifact import MODEL, WEIGHTS, Artifact
from model_defs.build import SpecError
from model_defs.weights_file import WeightsError

DEFAULT = "DEFAULT"  # torchvision's name for its best weights
MOST_HEADER = 100_000_000  # bytes; the limit of the safetensors package
RESAVE = (
    "{file} is {kind}. Such a file can run code when it is loaded, so it was not; weights are taken from .safetensors. Save it "
    "again, only if you trust it, since this loads it, and with torch 2.10 or later: "
    "python -c \"import torch, safetensors.torch as s; s.save_file({load}, '{stem}.safetensors')\""
)


class Weights(NamedTuple):
    """
    Args:
        tensors: by their names in a state_dict.
        source: where they come from, for messages.
        labels: of the head's rows, in their order; None if the source does not say.
        lacking: names of tensors that the source rightly lacks, such as the head of a network that was trained without labels.
    """

    tensors: dict[str, Tensor]
    source: str
    labels: list[str] | None = None
    lacking: tuple[str, ...] = ()


def read_weights(source: str, name: str | None = None) -> Weights:
    """
    Args:
        source: "DEFAULT" for torchvision's weights, or a .safetensors file, or an artifact's folder.
        name: of the network in torchvision.models, for "DEFAULT".

    Raises:
        SpecError: no such weights, or a file of another format.
    """
    if source == DEFAULT:
        return Weights(torchvision_weights(name), f"torchvision's {name}")
    folder = Path(source)
    file = folder / WEIGHTS if folder.is_dir() else folder
    labels = Artifact.read(folder).labels if (folder / MODEL).is_file() else None
    return Weights(read_safetensors(file), source, labels)


def torchvision_weights(name: str | None) -> dict[str, Tensor]:
    if name not in torchvision.models.list_models():
        raise SpecError("weights: DEFAULT is for networks that torchvision knows by name; give a file")
    try:
        return torchvision.models.get_model_weights(name).DEFAULT.get_state_dict(
            progress=False, check_hash=True, weights_only=True
        )
    except OSError as error:
        raise SpecError(
            f"torchvision's weights of {name} cannot be downloaded ({error}); give a file of weights, or leave them out"
        ) from error


def read_safetensors(file: Path) -> dict[str, Tensor]:
    """
    Raises:
        SpecError: no such file, or another format. A pickle or a TorchScript file is not opened.
    """
    try:
        with file.open("rb") as opened:
            head = opened.read(9)
        reason = "another format"
        if is_safetensors(head, file.stat().st_size):
            return weights_file.read(file).tensors
    except FileNotFoundError:
        raise SpecError(f"{file}: no such file of weights") from None
    except OSError as error:
        raise SpecError(f"{file} cannot be read ({error})") from None
    except WeightsError as error:
        reason = str(error)
    raise SpecError(
        how_to_resave(file, head) or f"{file} is no file of weights ({reason}); give .safetensors, or an artifact's folder"
    )


def is_safetensors(head: bytes, file_bytes: int) -> bool:
    """Whether a file begins as safetensors does: the length of its JSON header in 8 bytes, little endian, then the header."""
    length = int.from_bytes(head[:8], "little")
    return head[8:] == b"{" and length <= min(file_bytes - 8, MOST_HEADER)


def how_to_resave(file: Path, head: bytes) -> str | None:
    """What to do with a file that torch or pickle wrote; None for any other file. Only a zip's list of names is read."""
    kind, load = None, f"(lambda d: d.get('state_dict', d.get('model', d)))(torch.load('{file}', weights_only=True))"
    if head.startswith(b"PK\x03\x04"):
        kind = "a file of torch.save"
        try:
            with zipfile.ZipFile(file) as archive:
                if any("/code/" in f"/{name}" or name.endswith("constants.pkl") for name in archive.namelist()):
                    kind, load = "a TorchScript file", f"torch.jit.load('{file}').state_dict()"
        except zipfile.BadZipFile:
            kind = "a broken zip file"
    elif head[:1] == b"\x80" and head[1:2] <= b"\x05":
        kind = "a pickle"
    return kind and RESAVE.format(file=file, kind=kind, load=load, stem=file.with_suffix(""))
