"""Sounds for networks from Hugging Face: the folder's own feature extractor, and its classifiers. They need the extra
`transformers`.
"""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from model_defs.exact_audio import LONGEST, WaveformTransform
from model_defs.transformer import network_of, processor_of


class ProcessedAudioTransform(WaveformTransform):
    """`WaveformTransform`, whose batches are what a feature extractor of `transformers` makes of the waveforms."""

    FILE = "preprocessor_config.json"  # in Hugging Face's format

    def __init__(self, sample_rate: int = 16_000, seconds: float | None = None, max_seconds: float = LONGEST):
        super().__init__(sample_rate, seconds, max_seconds)
        self.extractor: Any = None

    def collate(self, samples: list[Tensor]) -> tuple[Tensor]:
        """Waveforms of one length -> (B, samples), or (B, ...) of a spectrogram."""
        features = self.extractor([sample.numpy() for sample in samples], sampling_rate=self.sample_rate, return_tensors="pt")
        return (features[self.extractor.model_input_names[0]],)

    def save(self, folder: Path) -> None:
        (folder / self.FILE).write_text(self.extractor.to_json_string(), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """
        Raises:
            SpecError: the package is not installed, or has no such feature extractor.
        """
        self.extractor = processor_of(folder, "AutoFeatureExtractor", "feature extractor")


class TransformersAudioClassifier(nn.Module):
    """Any network of `transformers` for audio classification, with random weights.

    (B, samples), or (B, ...) of a spectrogram -> (B, num_classes) logits.

    Args:
        config: the contents of a Hugging Face `config.json`; it needs `model_type`.

    Raises:
        SpecError: the package is not installed, or has no such network.
    """

    def __init__(self, num_classes: int, config: dict[str, Any]):
        super().__init__()
        self.network = network_of(config, num_classes, "AutoModelForAudioClassification")

    def forward(self, features: Tensor) -> Tensor:
        return self.network(features, return_dict=False)[0]
