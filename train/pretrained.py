"""Fine-tune a transformer from Hugging Face: its tokenizer, config and weights come from a folder or from the Hub.

Weights are read from safetensors only. No code of the folder runs.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from model_defs.build import SpecError
from model_defs.transformer import extra
from train.layers import WRAPPED
from train.task import Classification
from train.weight_files import Weights

WANTED = ("*.json", "*.txt", "*.model", "*.safetensors")  # files of a repository on the Hub: no pickles, no code
OPTIONAL = ("pooler", "position_ids")  # parts of a base network that not every checkpoint has


class TransformersClassification(Classification):
    """One label per text, by a network of `model_defs.transformer`.

    Args:
        pretrained: a folder with config.json, tokenizer.json and model.safetensors, or a name on the Hub. The network's own
            `config` must be left out then. By default the network is trained from scratch.
    """

    def __init__(self, *args: Any, pretrained: str | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.pretrained = pretrained

    def setup(self, stage: str) -> None:
        """
        Raises:
            SpecError: no such folder or repository, pickles instead of safetensors, or too few positions for the texts.
        """
        if self.pretrained:
            self.take_tokenizer()
        super().setup(stage)

    def take_tokenizer(self) -> None:
        if self.hparams.network["init_args"].get("config"):
            raise SpecError(f"pretrained: {self.pretrained} says what its network is; leave the network's config out")
        if self.transfer.weights:
            raise SpecError(f"pretrained: {self.pretrained} has the initial weights; leave transfer.weights out")
        self.folder = fetched(self.pretrained)
        with one_line_errors(self.folder) as transformers:
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                self.folder, use_fast=True, local_files_only=True, trust_remote_code=False
            )
            self.transform.written = tokenizer.backend_tokenizer.to_str()

    def facts(self) -> dict[str, Any]:
        if not self.pretrained:
            return super().facts()
        return super().facts() | {"config": json.loads((self.folder / "config.json").read_bytes())}

    def check_network(self) -> None:
        """
        Raises:
            SpecError: as the base's; or the network has fewer positions than `max_tokens`.
        """
        longest = torch.ones(1, self.transform.max_tokens, dtype=torch.int64)
        try:
            with torch.no_grad():
                self.network(longest, longest)
        except (IndexError, RuntimeError) as error:
            raise SpecError(
                f"the network has not as many positions as max_tokens, {self.transform.max_tokens}: give fewer"
            ) from error
        super().check_network()

    def initial_weights(self) -> Weights | None:
        """The folder's weights; what they lack of the head is new."""
        if not self.pretrained:
            return super().initial_weights()
        with one_line_errors(self.folder) as transformers:
            given, found = transformers.AutoModelForSequenceClassification.from_pretrained(
                self.folder, use_safetensors=True, output_loading_info=True, local_files_only=True, trust_remote_code=False
            )
        refuse_another_base(given, found["missing_keys"], found["unexpected_keys"], self.folder)
        tensors = {f"{WRAPPED}{name}": tensor for name, tensor in given.state_dict().items() if name not in found["missing_keys"]}
        labels = [given.config.id2label[class_id] for class_id in range(given.config.num_labels)]
        return Weights(tensors, str(self.pretrained), labels, tuple(f"{WRAPPED}{name}" for name in found["missing_keys"]))


def refuse_another_base(network: torch.nn.Module, missing: set[str], left_over: set[str], folder: Path) -> None:
    """The head may be missing, or be of another task. The base network below it must be complete, without a tensor too many.

    Args:
        network: as transformers has loaded it.
        missing: tensors that the file lacks.
        left_over: tensors in the file that the network does not have. A file of the base alone names them without its prefix.

    Raises:
        SpecError: the file is of another base, one with more layers for example.
    """
    base = network.base_model_prefix
    parts = {base, *(name for name, _ in getattr(network, base).named_children())}
    lacking = sorted(name for name in missing if name.startswith(f"{base}.") and not is_optional(name))
    extra_ones = sorted(name for name in left_over if name.partition(".")[0] in parts and not is_optional(name))
    faults = {"are missing": lacking, "are left over": extra_ones}
    if any(faults.values()):
        counted = "; ".join(f"{len(found)} tensors {kind}, the first is {found[0]}" for kind, found in faults.items() if found)
        raise SpecError(f"{folder} cannot be fine-tuned: model.safetensors is not of the network in config.json: {counted}")


def is_optional(name: str) -> bool:
    return any(part in name for part in OPTIONAL)


@contextmanager
def one_line_errors(folder: Path) -> Iterator[Any]:
    """The transformers package, without its reports and progress bars; its errors become a SpecError of one line."""
    transformers = extra("transformers")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield transformers
    except (OSError, ValueError, RuntimeError, AttributeError) as error:
        raise SpecError(f"{folder} cannot be fine-tuned: {str(error).strip().splitlines()[0]}") from error


def fetched(source: str) -> Path:
    """The folder of that name, or else the Hub's repository of that name, downloaded.

    Raises:
        SpecError: there is neither.
    """
    if Path(source).is_dir():
        return Path(source)
    hub = extra("huggingface_hub")
    try:
        return Path(hub.snapshot_download(source, allow_patterns=list(WANTED)))
    except (OSError, ValueError) as error:  # no connection, no such repository, no such name
        raise SpecError(f"no folder {source}, and not to be had from the Hub: {str(error).strip().splitlines()[0]}") from error
