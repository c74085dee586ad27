"""Fine-tuning a transformer of Hugging Face's: its tokenizer, its config and its weights, from a folder or from the Hub.

Weights are taken from safetensors alone; a folder that has only pickles is refused. Knows nothing of losses: they are
`train/task.py`'s.
"""

import json
from pathlib import Path
from typing import Any

from model_defs.build import SpecError
from model_defs.transformer import extra
from train.task import Classification

WANTED = ("*.json", "*.txt", "*.model", "*.safetensors")  # of a repository on the Hub: no pickles, no code
FROM_SAFETENSORS = {"use_safetensors": True, "local_files_only": True, "trust_remote_code": False}


class Pretrained(Classification):
    """One label out of many, by a network of `model_defs.transformer`.

    Args:
        pretrained: a folder with config.json, tokenizer.json and model.safetensors, or a name on the Hub; the network's own
            `config` is left out then. From scratch if None.
    """

    def __init__(self, *args: Any, pretrained: str | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.source = fetched(pretrained) if pretrained else None

    def setup(self, stage: str) -> None:
        if not self.source:
            return super().setup(stage)
        if self.hparams.network["init_args"].get("config"):
            raise SpecError(f"pretrained: {self.source} says what its network is; leave the network's config out")
        transformers = extra("transformers")
        try:
            self.transform.written = transformers.AutoTokenizer.from_pretrained(
                self.source, use_fast=True, local_files_only=True, trust_remote_code=False
            ).backend_tokenizer.to_str()
            super().setup(stage)
            given = transformers.AutoModelForSequenceClassification.from_pretrained(
                self.source, num_labels=len(self.labels), ignore_mismatched_sizes=True, **FROM_SAFETENSORS
            )
            self.network.network.load_state_dict(given.state_dict())
        except (OSError, ValueError, RuntimeError, AttributeError) as error:
            raise SpecError(f"{self.source} cannot be fine-tuned: {str(error).strip().splitlines()[0]}") from error

    def facts(self) -> dict[str, Any]:
        if not self.source:
            return super().facts()
        return super().facts() | {"config": json.loads((self.source / "config.json").read_bytes())}


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
