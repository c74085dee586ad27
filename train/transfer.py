"""Transfer learning: where a network's first weights come from, which of its layers learn, and how fast each.

Layers are named as in the network itself, "layer4" or "features.6.0", and stand in the order in which it defines them. Knows
nothing of losses or of data.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import safetensors.torch
import torch
import torchvision
from torch import Tensor, nn

from model_defs.artifact import MODEL, WEIGHTS, Artifact
from model_defs.build import SpecError, build, did_you_mean

WRAPPED = "network."  # our networks keep torchvision's under this name
HEAD = "head"


@dataclass
class Transfer:
    """
    Args:
        weights: "DEFAULT", torchvision's best for the network's `name`, downloaded; or a file of them, or an artifact's folder.
        train_from: the first layer that learns, or "head" for the last one alone; those before it keep their weights and their
            batch-norm statistics. All learn if left out.
        rates: the share of the learning rate that a layer, and all within it, learns at; 1 for those that are not named.
    """

    weights: str | None = None
    train_from: str | None = None
    rates: dict[str, float] = field(default_factory=dict)


def load_weights(network: nn.Module, source: str, name: str | None, new: Collection[str] = ()) -> list[str]:
    """Give the network the weights of the source, but for those of another shape: the head's, of other classes.

    Args:
        name: of the network in torchvision.models, for "DEFAULT".
        new: tensors that stay as they are, whatever their shape.

    Returns:
        The names of the network's tensors that stay as they were.

    Raises:
        SpecError: no such weights, or hardly one of them fits.
    """
    given, wanted = read_weights(source, name), network.state_dict()
    if not given.keys() & wanted.keys():
        given = {f"{WRAPPED}{key}": tensor for key, tensor in given.items()}
    fitting = {key: tensor for key, tensor in given.items() if key in wanted and tensor.shape == wanted[key].shape}
    fitting = {key: tensor for key, tensor in fitting.items() if key not in new}
    if len(fitting) < len(wanted) / 2:
        raise SpecError(
            f"{source} has {len(fitting)} of the network's {len(wanted)} tensors; these are another network's weights"
        )
    network.load_state_dict(fitting, strict=False)
    return [key for key in wanted if key not in fitting]


def head_of_others(source: str, labels: list[str], spec: dict) -> set[str]:
    """The tensors that say what each class is, if the source is an artifact of other labels: as many may be meant otherwise.

    Args:
        spec: of the network, with `num_classes`.
    """
    if "num_classes" not in spec["init_args"] or not (Path(source) / MODEL).exists() or Artifact.read(source).labels == labels:
        return set()
    one, other = (
        build({**spec, "init_args": {**spec["init_args"], "num_classes": len(labels) + more}}).state_dict() for more in (0, 1)
    )
    return {key for key, tensor in one.items() if tensor.shape != other[key].shape}  # what changes with the number of classes


def read_weights(source: str, name: str | None) -> dict[str, Tensor]:
    """The tensors by their names; for the errors see `load_weights`."""
    if source == "DEFAULT":
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
    file = Path(source) / WEIGHTS if Path(source).is_dir() else Path(source)
    try:
        if file.suffix == ".safetensors":
            return safetensors.torch.load_file(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise SpecError(f"{file}: no such file of weights") from None
    except Exception as error:  # safetensors and pickle each have errors of their own
        raise SpecError(f"{file} is no file of weights ({error}); give .safetensors, or a saved state_dict") from error


def freeze(network: nn.Module, train_from: str) -> list[nn.Module]:
    """Let only the layer `train_from` and those after it learn.

    Returns:
        The modules before it, which must stay in evaluation mode: their batch norms then keep their statistics.

    Raises:
        SpecError: no such layer.
    """
    leaves = {name: module for name, module in network.named_modules() if not next(module.children(), None)}
    if train_from == HEAD:
        first = [name for name, module in leaves.items() if next(module.parameters(), None) is not None][-1]
    else:
        first = layer(network, train_from)
    frozen: list[nn.Module] = []
    for name, module in leaves.items():
        if is_within(name, first):
            break
        frozen.append(module.eval())
    for name, parameter in network.named_parameters():
        if is_within(name, first):
            break
        parameter.requires_grad = False
    return frozen


def parameter_groups(network: nn.Module, learning_rate: float, weight_decay: float, rates: dict[str, float]) -> list[dict]:
    """What learns, as an optimiser's groups: one for each learning rate, with and without weight decay.

    Biases and norms are not decayed.

    Raises:
        SpecError: a rate for no layer of the network.
    """
    shares = {layer(network, name): share for name, share in rates.items()}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            nearest = max((prefix for prefix in shares if is_within(name, prefix)), key=len, default=None)
            decay = weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((learning_rate * shares.get(nearest, 1.0), decay), []).append(parameter)
    return [{"params": found, "lr": rate, "weight_decay": decay} for (rate, decay), found in groups.items()]


def layer(network: nn.Module, name: str) -> str:
    """The layer's whole name, for one given as torchvision names it.

    Raises:
        SpecError: there is none.
    """
    names = [known for known, _ in network.named_modules() if known]
    for spelling in (name, f"{WRAPPED}{name}"):
        if spelling in names:
            return spelling
    short = {known.removeprefix(WRAPPED) for known in names}
    raise SpecError(f"the network has no layer {name!r}{did_you_mean(name, {known for known in short if known.count('.') < 2})}")


def is_within(name: str, layer: str) -> bool:
    return f"{name}.".startswith(f"{layer}.")
