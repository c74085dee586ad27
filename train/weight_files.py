"""Read weights: from a file in any form, from an artifact, or from torchvision.

A file that a user gives is read as data and never run: see `model_defs/weights_file.py`.
"""

from pathlib import Path
from typing import NamedTuple

import torchvision
from torch import Tensor

from model_defs import weights_file
from model_defs.artifact import MODEL, WEIGHTS, Artifact
from model_defs.build import SpecError
from model_defs.weights_file import WeightsError

DEFAULT = "DEFAULT"  # torchvision's name for its best weights


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
        source: "DEFAULT" for torchvision's weights, or a file of weights, or an artifact's folder.
        name: of the network in torchvision.models, for "DEFAULT".

    Raises:
        SpecError: no such weights, or a file of another form.
    """
    if source == DEFAULT:
        return Weights(torchvision_weights(name), f"torchvision's {name}")
    folder = Path(source)
    file = folder / WEIGHTS if folder.is_dir() else folder
    labels = Artifact.read(folder).labels if (folder / MODEL).is_file() else None
    return Weights(read_file(file), source, labels)


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


def read_file(file: Path) -> dict[str, Tensor]:
    """
    Raises:
        SpecError: no such file, or none of the forms that `weights_file.read` knows.
    """
    try:
        return weights_file.read(file).tensors
    except FileNotFoundError:
        raise SpecError(f"{file}: no such file of weights") from None
    except (OSError, WeightsError) as error:
        raise SpecError(f"{error}; or give an artifact's folder") from None
