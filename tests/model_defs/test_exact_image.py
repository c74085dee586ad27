"""Pictures as torchvision's own pipelines read them, to the last pixel."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from model_defs.errors import InputError, TooLarge, Unreadable
from model_defs.exact_image import ExactImageTransform, WholeImageTransform
from model_defs.vision import ImageSample

ODD = Path("../shared/data/odd_images")
NETWORKS = ["resnet50", "efficientnet_b0", "inception_v3", "vit_b_16", "swin_t", "mobilenet_v3_small"]


def encoded(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def drawn(width: int, height: int, mode: str = "RGB") -> Image.Image:
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(pixels.squeeze(), mode) if channels == 1 else Image.fromarray(pixels)


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # the orientation: held on its side
    return encoded(drawn(70, 50), "JPEG", exif=exif)


PICTURES = {
    "wide": encoded(drawn(301, 97)),
    "tall": encoded(drawn(61, 333), "JPEG"),
    "small": encoded(drawn(7, 5)),
    "grey": encoded(drawn(90, 120, "L")),
    "transparent": encoded(drawn(120, 90, "RGBA")),
    "palette": encoded(drawn(100, 80).quantize(16)),
    "turned": turned(),
}


def torchvisions(weights) -> tuple[ExactImageTransform, torchvision.transforms.Compose]:
    """Ours and torchvision's own, the latter without the normalisation, which is the network's here."""
    given = weights.transforms()
    resize = given.resize_size[0]
    ours = ExactImageTransform(resize=resize, crop=given.crop_size[0], interpolation=given.interpolation.value)
    given.mean, given.std = [0.0] * 3, [1.0] * 3
    return ours, given


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("picture", PICTURES)
def test_pixels_are_those_of_torchvisions_own_transforms(name, picture):
    ours, theirs = torchvisions(torchvision.models.get_model_weights(name)["IMAGENET1K_V1"])
    expected = theirs(Image.open(io.BytesIO(PICTURES[picture])).convert("RGB"))
    assert torch.equal(ours(PICTURES[picture]) / 255, expected)


@pytest.mark.skipif(not ODD.is_dir(), reason=f"{ODD} is not here")
@pytest.mark.filterwarnings("ignore")
def test_odd_pictures_have_torchvisions_pixels_or_are_refused():
    ours, theirs = torchvisions(torchvision.models.MobileNet_V3_Small_Weights.DEFAULT)
    compared = 0
    for file in sorted(ODD.iterdir())[::3]:
        try:
            given = ours(file.read_bytes())
        except InputError:
            continue
        assert torch.equal(given / 255, theirs(Image.open(file).convert("RGB"))), file
        compared += 1
    assert compared > 50


def test_a_squashed_picture_is_resized_to_both_sides():
    ours = ExactImageTransform(resize=[20, 30], crop=0, interpolation="bicubic")
    expected = Image.open(io.BytesIO(PICTURES["wide"])).resize((30, 20), Image.Resampling.BICUBIC)
    assert np.array_equal(ours(PICTURES["wide"]).permute(1, 2, 0).numpy(), np.array(expected))


def test_a_turned_picture_is_held_upright_only_if_asked():
    whole, upright = WholeImageTransform()(turned()), WholeImageTransform(upright=True)(turned())
    assert (whole.width, whole.height) == (70, 50) and (upright.width, upright.height) == (50, 70)


def test_whole_pictures_of_any_size_go_through_the_network_one_by_one():
    transform = WholeImageTransform()
    samples = [transform(PICTURES["wide"]), transform(PICTURES["small"])]
    assert isinstance(samples[0], ImageSample) and samples[0].pixels.shape == (3, 97, 301)
    assert transform.outputs(lambda inputs: inputs[0].float().mean((1, 2, 3)), samples)[1] == samples[1].pixels.float().mean()


def test_bad_pictures_and_arguments_are_refused():
    transform = ExactImageTransform(max_pixels=1000)
    with pytest.raises(TooLarge, match="at most"):
        transform(PICTURES["wide"])
    with pytest.raises(Unreadable, match="not a picture"):
        transform(PICTURES["small"][:40])
    with pytest.raises(ValueError, match="interpolation 'cubic' is not one of"):
        ExactImageTransform(interpolation="cubic")
    with pytest.raises(ValueError, match="without a crop"):
        ExactImageTransform(crop=0)
