"""Archives for TorchServe's stock handlers, with the bundle's weights and labels.

`image_classifier` and `text_classifier` are TorchServe's own. It has none for sounds: `sound_classifier.py` is written as its
documentation shows.
"""

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import safetensors.torch
import torch

import model_defs
from model_defs.artifact import Artifact
from model_defs.build import find_class
from model_defs.errors import BundleError

HERE = Path(__file__).parent
CONFIG = "minWorkers: 1\nmaxWorkers: 1\nbatchSize: {batch}\nmaxBatchDelay: {delay}\nresponseTimeout: 120\n"
DELAY = 20  # ms, for handlers that batch; TorchServe's default of 100 ms would make them look slower than they are


class StockError(BundleError):
    """The stock archive or server could not be made; the message has the end of its log."""


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
    weights = {name.replace("head.1.", "head."): tensor for name, tensor in within(artifact, "").items()}
    count, dim = weights["embedding.weight"].shape
    model = f"""
        from torch import nn

        class Network(nn.Module):
            def __init__(self):
                super().__init__()
                self.embedding = nn.EmbeddingBag({count}, {dim}, mode="mean")
                self.head = nn.Linear({dim}, {len(artifact.labels)})

            def forward(self, indices, offsets):
                return self.head(self.embedding(indices, offsets))
    """
    # The handler asks it for each token's index. A Counter gives 0 (`<unk>`) for others, and today's torch.load reads it.
    vocabulary = Counter({token: index for index, token in enumerate(artifact.build_transform().tokens)})
    store.mkdir(parents=True, exist_ok=True)
    file = store / "source_vocab.pt"
    torch.save(vocabulary, file)
    return packed(artifact, store, "text_classifier", model, weights, batch=1, extra=[file])


def sound(artifact: Artifact, store: Path) -> Path:
    """The same network and `sound_classifier.py`."""
    network = find_class(artifact.network["class_path"])
    model = f"""
        from {network.__module__} import {network.__name__}

        class Network({network.__name__}):
            def __init__(self):
                super().__init__(**{artifact.network["init_args"]!r})
    """
    code = store / "code"
    shutil.copytree(model_defs.__path__[0], code / "model_defs", dirs_exist_ok=True)
    return packed(artifact, store, str(HERE / "sound_classifier.py"), model, within(artifact, ""), batch=8, extra=[code])


def within(artifact: Artifact, prefix: str) -> dict[str, torch.Tensor]:
    """The weights whose names begin with `prefix`, which is removed."""
    weights = safetensors.torch.load_file(artifact.folder / "weights.safetensors")
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}


def packed(
    artifact: Artifact, store: Path, handler: str, model: str, weights: dict, batch: int, extra: Sequence[Path] = ()
) -> Path:
    """The archive that torch-model-archiver makes of all this, in `store`.

    Raises:
        StockError: it failed.
    """
    store.mkdir(parents=True, exist_ok=True)
    files = {name: store / name for name in ("model.py", "weights.pt", "index_to_name.json", "model-config.yaml")}
    lines = [line[8:] for line in model.strip("\n").splitlines()]
    files["model.py"].write_text("\n".join(lines) + "\n")
    torch.save(weights, files["weights.pt"])
    files["index_to_name.json"].write_text(json.dumps(dict(enumerate(artifact.labels))))
    files["model-config.yaml"].write_text(CONFIG.format(batch=batch, delay=DELAY if batch > 1 else 1))
    extra_files = [files["index_to_name.json"], *extra]
    command = [
        sys.executable, "-m", "model_archiver.model_packaging", "--model-name", artifact.name, "--version", "1.0",
        "--model-file", files["model.py"], "--serialized-file", files["weights.pt"], "--handler", handler,
        "--extra-files", ",".join(map(str, extra_files)), "--config-file", files["model-config.yaml"],
        "--export-path", store, "--force",
    ]  # fmt: skip
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise StockError(f"torch-model-archiver failed: {(done.stderr or done.stdout)[-500:]}")
    return store / f"{artifact.name}.mar"
