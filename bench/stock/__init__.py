"""Archives for a TorchServe as it comes: its stock handlers, the same weights and labels as ours.

`image_classifier` and `text_classifier` are TorchServe's own; for sounds it has none, so `sound.py` is what its documentation
would have people write. Knows nothing of servers.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import safetensors.torch
import torch

import model_defs
from model_defs.artifact import Artifact
from model_defs.build import find_class

HERE = Path(__file__).parent
CONFIG = "minWorkers: 1\nmaxWorkers: 1\nbatchSize: {batch}\nmaxBatchDelay: {delay}\nresponseTimeout: 120\n"
DELAY = 20  # ms, for those that batch: its default of 100 would only make it look worse


def picture(artifact: Artifact, store: Path) -> Path:
    """torchvision's network and TorchServe's `image_classifier`."""
    weights = within(artifact, "network.")
    model = f"""
        from torchvision.models.resnet import BasicBlock, ResNet

        class Network(ResNet):
            def __init__(self):
                super().__init__(BasicBlock, [2, 2, 2, 2], num_classes={len(artifact.labels)})
    """
    return packed(artifact, store, "image_classifier", model, weights, batch=8)


def text(artifact: Artifact, store: Path) -> Path:
    """The same bag of words and TorchServe's `text_classifier`, which takes one text at a time."""
    from torchtext.vocab import vocab

    weights = {name.replace("head.1.", "head."): tensor for name, tensor in within(artifact, "").items()}
    count, dim = weights["embedding.weight"].shape
    model = f"""
        from torch import nn

        class Network(nn.Module):
            def __init__(self):
                super().__init__()
                self.embedding = nn.EmbeddingBag({count}, {dim}, mode="mean")
                self.head = nn.Linear({dim}, {len(artifact.labels)})

            def forward(self, numbers, offsets):
                return self.head(self.embedding(numbers, offsets))
    """
    words = vocab(dict.fromkeys(artifact.build_transform().tokens, 1), min_freq=0)
    words.set_default_index(0)
    store.mkdir(parents=True, exist_ok=True)
    numbers = store / "source_vocab.pt"
    torch.save(words, numbers)
    return packed(artifact, store, "text_classifier", model, weights, batch=1, extra=[numbers])


def sound(artifact: Artifact, store: Path) -> Path:
    """The same network in a handler on TorchServe's `BaseHandler`."""
    network = find_class(artifact.network["class_path"])
    model = f"""
        from {network.__module__} import {network.__name__}

        class Network({network.__name__}):
            def __init__(self):
                super().__init__(**{artifact.network["init_args"]!r})
    """
    code = store / "code"
    shutil.copytree(model_defs.__path__[0], code / "model_defs", dirs_exist_ok=True)
    return packed(artifact, store, str(HERE / "sound.py"), model, within(artifact, ""), batch=8, extra=[code])


def within(artifact: Artifact, prefix: str) -> dict[str, torch.Tensor]:
    """The weights below `prefix`, without it."""
    weights = safetensors.torch.load_file(artifact.folder / "weights.safetensors")
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}


def packed(artifact: Artifact, store: Path, handler: str, model: str, weights: dict, batch: int, extra: list[Path] = ()) -> Path:
    """torch-model-archiver's archive, in `store`."""
    store.mkdir(parents=True, exist_ok=True)
    files = {name: store / name for name in ("model.py", "weights.pt", "index_to_name.json", "model-config.yaml")}
    lines = [line[8:] for line in model.strip("\n").splitlines()]
    files["model.py"].write_text("\n".join(lines) + "\n")
    torch.save(weights, files["weights.pt"])
    files["index_to_name.json"].write_text(json.dumps(dict(enumerate(artifact.labels))))
    files["model-config.yaml"].write_text(CONFIG.format(batch=batch, delay=DELAY if batch > 1 else 1))
    beside = [files["index_to_name.json"], *extra]
    command = [
        sys.executable, "-m", "model_archiver.model_packaging", "--model-name", artifact.name, "--version", "1.0",
        "--model-file", files["model.py"], "--serialized-file", files["weights.pt"], "--handler", handler,
        "--extra-files", ",".join(map(str, beside)), "--config-file", files["model-config.yaml"],
        "--export-path", store, "--force",
    ]  # fmt: skip
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"torch-model-archiver failed: {(done.stderr or done.stdout)[-500:]}")
    return store / f"{artifact.name}.mar"
