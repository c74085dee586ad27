"""How most people write the work: each body decoded by the usual library, and the network in eager fp32.

`load(folder, threads)` gives the kind of work that the archive's network does. Runs in the peers' environments.
"""

import io
import json
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from bench.steps import Steps

TOP_K = 5
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and deviation, as torchvision's weights expect them


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
        """The network's own, of those in the archive."""
        return stored

    def collate(self, samples: list) -> tuple[Tensor, ...]:
        return (torch.stack(samples),)

    def infer(self, samples: list) -> list[Tensor]:
        with torch.inference_mode():
            return list(self.network(*self.collate(samples)).softmax(-1))

    def answer(self, output: Tensor) -> list[dict]:
        scores, places = output.topk(min(TOP_K, len(self.labels)))
        found = zip(places.tolist(), scores.tolist(), strict=True)
        return [{"label": self.labels[place], "score": score} for place, score in found]


class Pictures(Eager):
    """Pillow, torchvision's transforms and network."""

    def __init__(self, model: dict, folder: Path):
        from torchvision import transforms

        super().__init__(model, folder)
        framed = model["transform"].get("init_args") or {}
        size = framed.get("size", 224)
        self.transform = transforms.Compose(
            [
                transforms.Resize(round(size / framed.get("crop_pct", 1.0))),
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
    """torchaudio, and the archive's network, whose spectrogram is torchaudio's. Every sound is of one length in the benchmark."""

    def __init__(self, model: dict, folder: Path):
        super().__init__(model, folder)
        self.rate = model["transform"]["init_args"]["sample_rate"]

    def build(self, settings: dict) -> nn.Module:
        from model_defs.audio import MelCNN

        return MelCNN(**settings)

    def decode(self, payload: bytes) -> Tensor:
        import torchaudio

        waveform, rate = torchaudio.load(io.BytesIO(payload))
        return torchaudio.functional.resample(waveform, rate, self.rate).mean(0)


class Texts(Eager):
    """torchtext's tokenizer, n-grams and vocabulary, and an EmbeddingBag: torchtext's own tutorial of text classification."""

    def __init__(self, model: dict, folder: Path):
        from torchtext.data.utils import get_tokenizer
        from torchtext.vocab import vocab

        super().__init__(model, folder)
        self.ngrams = model["transform"]["init_args"]["ngrams"]
        self.tokenize = get_tokenizer("basic_english")
        tokens = (folder / "vocabulary.txt").read_text(encoding="utf-8").split("\n")
        self.numbers = vocab(dict.fromkeys(tokens, 1), min_freq=0)
        self.numbers.set_default_index(0)

    def build(self, settings: dict) -> nn.Module:
        from model_defs.text import BagOfWords

        return BagOfWords(**settings)

    def decode(self, payload: bytes) -> Tensor:
        from torchtext.data.utils import ngrams_iterator

        return torch.tensor(self.numbers(list(ngrams_iterator(self.tokenize(payload.decode()), self.ngrams))))

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
        ValueError: the archive's network is not one that is written down here.
    """
    torch.set_num_threads(threads)
    model = json.loads((folder / "model.json").read_bytes())
    name = model["network"]["class_path"]
    if name not in KINDS:
        raise ValueError(f"the peers' eager form is of {', '.join(KINDS)}; this is {name}")
    return KINDS[name](model, folder)
