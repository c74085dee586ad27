"""The work that every peer does: a picture file -> its five likeliest labels, from one archive and in two forms.

`eager` is how most people write it: Pillow, torchvision's transforms and network, fp32. `fast` is the archive's own handler,
with its own code, transform and runtime, without TorchServe. Runs in the peers' environments; knows nothing of any server.
"""

import io
import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from typing import Any

import msgspec
import torch

from bench.peers.options import Options

TOP_K = 5
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and deviation, as torchvision's weights expect them
NETWORK = "model_defs.vision.TorchvisionClassifier"  # what people have without us is torchvision's network within it


class Work:
    """The three steps, so that each server does each of them where its documentation does."""

    def decode(self, payload: bytes) -> Any:
        """A picture file -> one sample."""
        raise NotImplementedError

    def infer(self, samples: list) -> list:
        """A batch's samples -> one output each."""
        raise NotImplementedError

    def answer(self, output: Any) -> list[dict]:
        """One output -> `[{"label", "score"}, ...]`, best first."""
        raise NotImplementedError

    def decode_all(self, payloads: Sequence[bytes]) -> list:
        return [self.decode(payload) for payload in payloads]

    def predict(self, payloads: Sequence[bytes]) -> list[list[dict]]:
        """All of it, for servers that batch the bodies."""
        return [self.answer(output) for output in self.infer(self.decode_all(payloads))]


class Eager(Work):
    """
    Raises:
        ValueError: the archive's network is not one of torchvision's.
    """

    def __init__(self, archive: zipfile.ZipFile, threads: int):
        import safetensors.torch
        import torchvision
        from torchvision import transforms

        torch.set_num_threads(threads)
        model = json.loads(archive.read("model.json"))
        if model["network"]["class_path"] != NETWORK:
            raise ValueError(f"the peers' eager form is of a torchvision classifier; this is {model['network']['class_path']}")
        network, transform = model["network"]["init_args"], model["transform"].get("init_args") or {}
        self.labels = model["labels"]
        self.network = torchvision.models.get_model(network.get("name", "resnet18"), num_classes=len(self.labels))
        weights = safetensors.torch.load(archive.read("weights.safetensors"))
        inner = {name.removeprefix("network."): weight for name, weight in weights.items() if name.startswith("network.")}
        self.network.load_state_dict(inner)
        self.network.eval()
        size = transform.get("size", 224)
        self.transform = transforms.Compose(
            [
                transforms.Resize(round(size / transform.get("crop_pct", 1.0))),
                transforms.CenterCrop(size),
                transforms.ToTensor(),
                transforms.Normalize(*IMAGENET),
            ]
        )

    def decode(self, payload: bytes) -> torch.Tensor:
        from PIL import Image

        return self.transform(Image.open(io.BytesIO(payload)).convert("RGB"))

    def infer(self, samples: list[torch.Tensor]) -> list[torch.Tensor]:
        with torch.inference_mode():
            return list(self.network(torch.stack(samples)).softmax(-1))

    def answer(self, output: torch.Tensor) -> list[dict]:
        scores, places = output.topk(min(TOP_K, len(self.labels)))
        found = zip(places.tolist(), scores.tolist(), strict=True)
        return [{"label": self.labels[place], "score": score} for place, score in found]


class Fast(Work):
    """The archive's handler; `import handlers` finds the archive's own code, which must not have been imported from elsewhere."""

    def __init__(self, archive: zipfile.ZipFile, threads: int):
        import yaml

        manifest = json.loads(archive.read("MAR-INF/MANIFEST.json"))
        section = yaml.safe_load(archive.read(manifest["model"]["configFile"]))["handler"]
        with tempfile.TemporaryDirectory() as folder:
            archive.extractall(folder)
            sys.path.insert(0, folder)
            from handlers import base, request

            self.handler = base.load(folder, section | {"threads": threads})
        self.request = request.Request(b"", self.handler.Parameters())

    def decode(self, payload: bytes) -> Any:
        return self.handler.preprocess(msgspec.structs.replace(self.request, payload=payload))

    def decode_all(self, payloads: Sequence[bytes]) -> list:
        return list(self.handler.decoders(self.decode, payloads))  # as many at once as the recipe says

    def infer(self, samples: list) -> list:
        return self.handler.inference(samples)

    def answer(self, output: Any) -> list[dict]:
        return self.handler.postprocess(output, None, self.request)


def load(chosen: Options) -> Work:
    """The work as the options say, ready to be done in this process."""
    threads = chosen.threads or max(1, (os.cpu_count() or 1) // chosen.workers)
    with zipfile.ZipFile(chosen.archive) as archive:
        return {"eager": Eager, "fast": Fast}[chosen.runtime](archive, threads)
