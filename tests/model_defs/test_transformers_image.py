"""Pictures for networks from Hugging Face: the processor's own pixels, normalised once."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from model_defs.build import SpecError
from model_defs.errors import Unreadable
from model_defs.transformers_image import ProcessedImageTransform, TransformersImageClassifier, as_channels

transformers = pytest.importorskip("transformers", reason="make setup EXTRAS=transformers")


def photo(mode: str = "RGB") -> tuple[bytes, Image.Image]:
    shape = (20, 30, len(Image.new(mode, (1, 1)).getbands()))
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8).squeeze(), mode)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue(), picture.convert("RGB")


def written(folder, **settings):
    transformers.ViTImageProcessor(size={"height": 16, "width": 16}, **settings).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
@pytest.mark.parametrize("settings", [{}, {"do_normalize": False}, {"do_rescale": False}, {"rescale_factor": 1 / 127.5}])
def test_normalised_pixels_are_the_processors_own(tmp_path, mode, settings):
    reads = ProcessedImageTransform()
    reads.load(written(tmp_path, **settings))
    payload, picture = photo(mode)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in reads.normalization())
    ours = (reads(payload).float() / 255 - mean) / std
    theirs = reads.processor(picture, return_tensors="pt")["pixel_values"][0]
    assert torch.allclose(ours, theirs, atol=1e-4)


def test_what_it_learned_is_read_again(tmp_path):
    reads, again = ProcessedImageTransform(), ProcessedImageTransform()
    (tmp_path / "a").mkdir()
    reads.load(written(tmp_path / "a"))
    (tmp_path / "b").mkdir()
    reads.save(tmp_path / "b")
    again.load(tmp_path / "b")
    payload, _ = photo()
    assert torch.equal(reads(payload), again(payload))


def test_a_damaged_picture_and_a_damaged_processor_are_refused(tmp_path):
    reads = ProcessedImageTransform()
    reads.load(written(tmp_path))
    with pytest.raises(Unreadable):
        reads(photo()[0][:60])
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": "NoSuchProcessor"}))
    with pytest.raises(SpecError, match="no image processor of transformers can be made"):
        ProcessedImageTransform().load(tmp_path)


def test_one_number_stands_for_all_channels():
    assert as_channels(0.5, 0.0) == [0.5] * 3 and as_channels([0.1, None, 0.3], 9.0) == [0.1, 9.0, 0.3]


def test_the_classifier_normalises_by_itself():
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = {"model_type": "vit", "image_size": 16, "patch_size": 8, **small}
    network = TransformersImageClassifier(4, config, [0.5] * 3, [0.5] * 3).eval()
    pixels = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    with torch.inference_mode():
        own = network.network(pixel_values=(pixels / 255 - 0.5) / 0.5).logits
        assert network(pixels).shape == (2, 4) and torch.allclose(network(pixels), own, atol=1e-5)
