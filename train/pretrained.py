"""Fine-tuning a transformer of Hugging Face's: its tokenizer, its config and its weights, from a folder or from the Hub.

Weights are taken from safetensors alone; a folder that has only pickles is refused. Knows nothing of losses: they are
`train/task.py`'s.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from model_defs.build import SpecError
from model_defs.transformer import extra
from train.task import Classification

WANTED = ("*.json", "*.txt", "*.model", "*.safetensors")  # of a repository on the Hub: no pickles, no code


class Pretrained(Classification):
    """One label out of many, by a network of `model_defs.transformer`.

    Args:
        pretrained: a folder with config.json, tokenizer.json and model.safetensors, or a name on the Hub; the network's own
            `config` is left out then. From scratch if None.
    """

    def __init__(self, *args: Any, pretrained: str | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.pretrained = pretrained

    def setup(self, stage: str) -> None:
        """
        Raises:
            SpecError: no such folder or repository, pickles in place of safetensors, or too few positions for the texts.
        """
        if not self.pretrained:
            super().setup(stage)
        else:
            self.begin(stage)
        longest = torch.ones(1, self.transform.max_tokens, dtype=torch.int64)
        try:
            with torch.inference_mode():
                self.network(longest, longest)
        except (IndexError, RuntimeError) as error:
            raise SpecError(
                f"the network has not as many positions as max_tokens, {self.transform.max_tokens}: give fewer"
            ) from error

    def begin(self, stage: str) -> None:
        """`setup` with the folder's tokenizer, config and weights."""
        if self.hparams.network["init_args"].get("config"):
            raise SpecError(f"pretrained: {self.pretrained} says what its network is; leave the network's config out")
        self.folder = fetched(self.pretrained)
        transformers, alone = extra("transformers"), {"local_files_only": True, "trust_remote_code": False}
        with refused(self.folder):
            tokenizer = transformers.AutoTokenizer.from_pretrained(self.folder, use_fast=True, **alone)
            self.transform.written = tokenizer.backend_tokenizer.to_str()
        super().setup(stage)
        with refused(self.folder):
            given = transformers.AutoModelForSequenceClassification.from_pretrained(
                self.folder, num_labels=len(self.labels), ignore_mismatched_sizes=True, use_safetensors=True, **alone
            )
        self.network.network.load_state_dict(given.state_dict())

    def facts(self) -> dict[str, Any]:
        if not self.pretrained:
            return super().facts()
        return super().facts() | {"config": json.loads((self.folder / "config.json").read_bytes())}


@contextmanager
def refused(folder: Path) -> Iterator[None]:
    """What the package says of a folder that it cannot load, for whoever trains."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, AttributeError) as error:
        raise SpecError(f"{folder} cannot be fine-tuned: {str(error).strip().splitlines()[0]}") from error


def fetched(source: str) -> Path:
    """The folder, or the one into which the Hub's repository of that name is downloaded.

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
