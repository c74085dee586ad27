"""The work as most people write it: the usual library decodes a request, and the network runs in eager fp32.

`load(folder, threads)` picks the class that fits the archive's network. This code runs in the peers' environments.
"""

import io
import json
import re
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from bench.steps import Steps

TOP_K = 5
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and standard deviation that torchvision's weights expect
# A punctuation mark, or a run of characters without marks, spaces, semicolons and colons.
TOKEN = re.compile(r"['.,()!?]|[^\s'.,()!?;:]+")


class Eager(Steps):
    """
    Args:
        model: the archive's `model.json`.
        folder: the unpacked archive.
    """

    def __init__(self, model: dict, folder: Path):
        self.labels = model["labels"]
        self.network = self.build(model["network"]["init_args"])
        self.network.load_state_dict(self.weights(safetensors.torch.load_file(folder / "weights.safetensors")))
        self.network.eval()

    def build(self, settings: dict) -> nn.Module:
        raise NotImplementedError

    def weights(self, stored: dict[str, Tensor]) -> dict[str, Tensor]:
        """The archive's weights -> those of the network that `build` makes."""
        return stored

    def collate(self, samples: list) -> tuple[Tensor, ...]:
        return (torch.stack(samples),)

    def infer(self, samples: list) -> list[Tensor]:
        with torch.inference_mode():
            return list(self.network(*self.collate(samples)).softmax(-1))

    def answer(self, output: Tensor) -> list[dict]:
        scores, class_ids = output.topk(min(TOP_K, len(self.labels)))
        pairs = zip(class_ids.tolist(), scores.tolist(), strict=True)
        return [{"label": self.labels[class_id], "score": score} for class_id, score in pairs]


class Pictures(Eager):
    """Pillow, and torchvision's transforms and network."""

    def __init__(self, model: dict, folder: Path):
        from torchvision import transforms

        super().__init__(model, folder)
        settings = model["transform"].get("init_args") or {}
        size = settings.get("size", 224)
        self.transform = transforms.Compose(
            [
                transforms.Resize(round(size / settings.get("crop_pct", 1.0))),
                transforms.CenterCrop(size),
                transforms.ToTensor(),
                transforms.Normalize(*IMAGENET),
            ]
        )

    def build(self, settings: dict) -> nn.Module:
        import torchvision

        return torchvision.models.get_model(settings.get("name", "resnet18"), num_classes=len(self.labels))

    def weights(self, stored: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name.removeprefix("network."): tensor for name, tensor in stored.items() if name.startswith("network.")}

    def decode(self, payload: bytes) -> Tensor:
        from PIL import Image

        return self.transform(Image.open(io.BytesIO(payload)).convert("RGB"))


class Sounds(Eager):
    """soundfile, torchaudio's resampling, and the archive's network. All sounds of the benchmark have the same length."""

    def __init__(self, model: dict, folder: Path):
        super().__init__(model, folder)
        self.rate = model["transform"]["init_args"]["sample_rate"]

    def build(self, settings: dict) -> nn.Module:
        from model_defs.audio import MelCNN

        return MelCNN(**settings)

    def decode(self, payload: bytes) -> Tensor:
        import soundfile
        import torchaudio

        samples, rate = soundfile.read(io.BytesIO(payload), dtype="float32", always_2d=True)  # (samples, channels)
        return torchaudio.functional.resample(torch.from_numpy(samples.mean(1)), rate, self.rate)


class Texts(Eager):
    """A regular expression as the tokenizer, a dict as the vocabulary, and an EmbeddingBag."""

    def __init__(self, model: dict, folder: Path):
        super().__init__(model, folder)
        self.ngrams = model["transform"]["init_args"]["ngrams"]
        tokens = (folder / "vocabulary.txt").read_bytes().decode().split("\n")
        self.index = {token: index for index, token in enumerate(tokens)}

    def build(self, settings: dict) -> nn.Module:
        from model_defs.text import BagOfWords

        return BagOfWords(**settings)

    def decode(self, payload: bytes) -> Tensor:
        words = TOKEN.findall(payload.decode().lower().replace('"', "").replace("<br />", " "))
        ngrams = words + [
            " ".join(words[start : start + size]) for size in range(2, self.ngrams + 1) for start in range(len(words) - size + 1)
        ]
        return torch.tensor([self.index[ngram] for ngram in ngrams if ngram in self.index] or [0])

    def collate(self, samples: list[Tensor]) -> tuple[Tensor, Tensor]:
        lengths = torch.tensor([0] + [len(sample) for sample in samples[:-1]])
        return torch.cat(samples), lengths.cumsum(0)


KINDS = {
    "model_defs.vision.TorchvisionClassifier": Pictures,
    "model_defs.audio.MelCNN": Sounds,
    "model_defs.text.BagOfWords": Texts,
}


def load(folder: Path, threads: int) -> Steps:
    """
    Raises:
        ValueError: this module has no class for the archive's network.
    """
    torch.set_num_threads(threads)
    model = json.loads((folder / "model.json").read_bytes())
    name = model["network"]["class_path"]
    if name not in KINDS:
        raise ValueError(f"the peers' eager form is of {', '.join(KINDS)}; this is {name}")
    return KINDS[name](model, folder)
