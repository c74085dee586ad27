"""Sounds for networks from Hugging Face: the extractor's own features of the whole sound."""

import numpy as np
import pytest
import torch

from model_defs.build import SpecError
from model_defs.transformers_audio import ProcessedAudioTransform, TransformersAudioClassifier
from tests.sounds import sound_file

transformers = pytest.importorskip("transformers", reason="make setup EXTRAS=transformers")
EXTRACTORS = {
    "waveform": lambda: transformers.Wav2Vec2FeatureExtractor(),
    "spectrogram": lambda: transformers.ASTFeatureExtractor(max_length=64, num_mel_bins=32),
}


@pytest.mark.parametrize("kind", EXTRACTORS)
def test_features_are_the_extractors_own(tmp_path, kind):
    extractor = EXTRACTORS[kind]()
    extractor.save_pretrained(tmp_path)
    reads = ProcessedAudioTransform(16_000)
    reads.load(tmp_path)
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 8_000).astype(np.float32)
    sample = reads(sound_file(samples, 16_000, subtype="FLOAT"))
    (features,) = reads.collate([sample, sample])
    theirs = extractor(samples, sampling_rate=16_000, return_tensors="pt")[extractor.model_input_names[0]]
    assert len(features) == 2 and torch.allclose(features[1], theirs[0], atol=1e-5)


def test_what_it_learned_is_read_again(tmp_path):
    reads, again = ProcessedAudioTransform(), ProcessedAudioTransform()
    reads.extractor = EXTRACTORS["spectrogram"]()
    reads.save(tmp_path)
    again.load(tmp_path)
    samples = [torch.rand(8_000)]
    assert torch.equal(reads.collate(samples)[0], again.collate(samples)[0])
    (tmp_path / "preprocessor_config.json").write_text('{"feature_extractor_type": "NoSuch"}')
    with pytest.raises(SpecError, match="no feature extractor of transformers"):
        again.load(tmp_path)


def test_the_classifier_is_transformers_own():
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = {"model_type": "audio-spectrogram-transformer", "max_length": 64, "num_mel_bins": 32, **small}
    network = TransformersAudioClassifier(3, config).eval()
    features = torch.rand(2, 64, 32)
    with torch.inference_mode():
        assert torch.equal(network(features), network.network(features).logits) and network(features).shape == (2, 3)
