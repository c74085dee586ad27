"""Pictures: the transform from a picture file's bytes to pixels, and the networks that look at them.

Pixels stay 8-bit until they are inside the network: a quarter of the bytes to copy, and an exported network carries its
own normalisation. Knows nothing of labels, augmentation or HTTP.
"""

import io
import logging
import math

import numpy as np
import torch
import torchvision
from PIL import Image, ImageOps
from torch import Tensor, nn

from model_defs.errors import TooLarge, Unreadable, WrongKind
from model_defs.transform import Transform

log = logging.getLogger(__name__)
Image.init()
# EPS starts Ghostscript on the caller's file: a program of its own, that no limit here reaches. IPTC may hold an EPS.
FORMATS = sorted(set(Image.OPEN) - {"EPS", "IPTC"})
EPS = (b"%!PS", b"\xc5\xd0\xd3\xc6")  # the first four bytes: plain, and with a preview for DOS
CHANNELS = {"L": 1, "RGB": 3}


class Picture(Transform):
    """Picture file -> (channels, size, size) uint8.

    Args:
        size: height and width in pixels.
        mode: "RGB", or "L" for grey.
        crop_pct: the share of the shorter side that the centred square covers, as timm has it.
        max_pixels: more than this in the file's header is refused before a pixel is decoded; see docs/decisions.md for why
            the default is less than the count at which Pillow itself warns of a decompression bomb.
    """

    def __init__(self, size: int = 224, mode: str = "RGB", crop_pct: float = 1.0, max_pixels: int = 50_000_000):
        if mode not in CHANNELS:
            raise ValueError(f"mode {mode!r} is not one of {', '.join(CHANNELS)}")
        if not 0 < crop_pct <= 1:
            raise ValueError(f"crop_pct {crop_pct} is not a share of the shorter side: more than 0, at most 1")
        self.size, self.mode, self.crop_pct, self.max_pixels = size, mode, crop_pct, max_pixels

    def __call__(self, payload: bytes) -> Tensor:
        """
        Raises:
            Unreadable: not a picture, or one that ends early or is corrupt.
            TooLarge: more than `max_pixels`.
            WrongKind: EPS, which is a program rather than a picture.
        """
        picture = self.open(payload)
        try:
            # A JPEG can be decoded at 1/2, 1/4 or 1/8; twice the final size keeps the box filter's quality (Pillow's own gap).
            wanted = math.ceil(2 * self.size / self.crop_pct)
            picture.draft(None, (wanted, wanted))
            picture.load()
            turn_upright(picture)
            upright = flatten(picture, self.mode)
        except MemoryError:
            raise
        except Image.DecompressionBombError:  # an icon whose picture is larger than its own header says
            raise self.too_large() from None
        except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error, ValueError, IndexError ...
            raise Unreadable(reason(error, picture.format, len(payload))) from error
        return resize(upright, self.size, self.crop_pct)

    def open(self, payload: bytes) -> Image.Image:
        """The picture with its header read and its pixels not yet decoded."""
        if not payload:
            raise Unreadable("the body is empty; send the bytes of a picture file")
        if payload[:4] in EPS:
            raise WrongKind("an EPS file is a program, not a picture; send a JPEG, PNG or WebP file")
        try:
            picture = Image.open(io.BytesIO(payload), formats=FORMATS)
        except Image.DecompressionBombError:
            raise self.too_large() from None
        except MemoryError:
            raise
        except Image.UnidentifiedImageError:
            raise Unreadable(
                f"not a picture: {len(payload):,} bytes in no format that Pillow reads; send a JPEG, PNG or WebP file"
            ) from None
        except Exception as error:
            raise Unreadable(reason(error, None, len(payload))) from error
        if picture.width * picture.height > self.max_pixels:
            raise self.too_large(f"{picture.width:,} x {picture.height:,} pixels")
        return picture

    def too_large(self, given: str = "too many pixels") -> TooLarge:
        return TooLarge(f"{given}; this model takes {self.max_pixels:,} at most: send a smaller picture")

    def facts(self) -> dict:
        return {"channels": CHANNELS[self.mode]}

    def draw(self, sample: Tensor) -> np.ndarray:
        return sample.permute(1, 2, 0).squeeze(2).numpy()


def resize(picture: Image.Image, size: int, crop_pct: float) -> Tensor:
    """The centred square of a picture, "RGB" or "L" -> (channels, size, size) uint8, by an antialiased bilinear filter.

    By torch rather than Pillow: it has the same filter for 8-bit pixels in a third of the time (docs/decisions.md).
    """
    side = max(1, round(min(picture.size) * crop_pct))
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    box = (left, top, left + side, top + side)
    factor = side // (2 * size)
    # Of what a scaled JPEG left, and of other formats, boxes of pixels are averaged first, to twice the size at least.
    square = picture.reduce(factor, box) if factor > 1 else picture.crop(box)
    pixels = (
        torch.from_numpy(np.array(square)).view(*square.size, -1).permute(2, 0, 1)
    )  # (height, width, channels) -> channels first
    return nn.functional.interpolate(pixels[None], (size, size), mode="bilinear", antialias=True)[0]


def reason(error: Exception, format: str | None, length: int) -> str:
    """Pillow's complaint in words for the sender."""
    kind = f"the {format}" if format else "the file"
    if "truncated" in str(error).lower():
        return f"not a picture: {kind} ends after {length:,} bytes; send the whole file"
    return f"not a picture: {kind} cannot be decoded ({error}); send the file as it was saved"


def turn_upright(picture: Image.Image) -> None:
    """As its EXIF says; where that is broken, as it lies."""
    try:
        ImageOps.exif_transpose(picture, in_place=True)
    except MemoryError:
        raise
    except Exception as error:  # of Pillow's reader of TIFF tags; the pixels are there already
        log.debug("EXIF that cannot be read: %s", error)


def flatten(picture: Image.Image, mode: str) -> Image.Image:
    """Any Pillow mode -> `mode`: transparency over white, more than 8 bits scaled to 8 (Pillow would clip them)."""
    if picture.mode.startswith("I") or picture.mode == "F":
        values = np.array(picture, dtype=np.float32)
        values[~((values > 0) & (values < np.inf))] = 0
        values *= 255 / max(values.max(), 1 if picture.mode == "F" else 65_535)
        picture = Image.fromarray(values.astype(np.uint8))
    elif picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new(mode, picture.size, "white")
        white.paste(picture.convert(mode), mask=picture.getchannel("A"))
        picture = white
    elif picture.mode == "LAB":
        picture = picture.convert("RGB")  # the only way out of it that Pillow knows
    return picture if picture.mode == mode else picture.convert(mode)


class Standardise(nn.Module):
    """(B, C, H, W) in 0..255, uint8 or float -> (x / 255 - mean) / std, float; one mean and std a channel, or one for all."""

    def __init__(self, mean: list[float], std: list[float]):
        super().__init__()
        self.register_buffer("mean", 255 * torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        return (pixels - self.mean) / self.std


class SmallCNN(nn.Module):
    """Three blocks of convolution and pooling: enough for small pictures of simple things.

    (B, channels, H, W) uint8 -> (B, num_classes) logits; H and W at least 8.
    """

    def __init__(self, num_classes: int, channels: int | None = None, width: int = 32, dropout: float = 0.2):
        super().__init__()

        def block(inputs: int, outputs: int) -> list[nn.Module]:
            return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]

        self.standardise = Standardise([0.5], [0.5])
        self.features = nn.Sequential(
            *block(channels or 3, width),  # (B, width, H, W)
            *block(width, width),
            nn.MaxPool2d(2),  # (B, width, H / 2, W / 2)
            *block(width, 2 * width),
            nn.MaxPool2d(2),  # (B, 2 width, H / 4, W / 4)
            *block(2 * width, 4 * width),
            nn.AdaptiveAvgPool2d(1),  # (B, 4 width, 1, 1)
            nn.Flatten(),
        )
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(4 * width, num_classes))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head(self.features(self.standardise(pixels)))


class TorchvisionClassifier(nn.Module):
    """Any classifier of `torchvision.models` by its name, untrained.

    (B, 3, H, W) uint8 -> (B, num_classes) logits.

    Args:
        num_classes: outputs of the head.
        name: as `torchvision.models.get_model` takes it: "resnet18", "mobilenet_v3_small", "vit_b_16" ...
        small_pictures: a ResNet's first layer becomes a 3x3 convolution of stride 1 without pooling, as in section 4.2 of
            "Deep Residual Learning for Image Recognition" (arXiv 1512.03385), so that 32x32 pictures are not shrunk to nothing.

    Raises:
        ValueError: no such model, or `small_pictures` asked of one that is not a ResNet.
    """

    def __init__(self, num_classes: int, name: str = "resnet18", small_pictures: bool = False):
        super().__init__()
        self.standardise = Standardise([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])  # torchvision's own, of ImageNet
        self.network = torchvision.models.get_model(name, weights=None, num_classes=num_classes)
        if small_pictures:
            if not isinstance(self.network, torchvision.models.ResNet):
                raise ValueError(f"small_pictures is for ResNets; {name!r} is not one: leave it out")
            self.network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
            self.network.maxpool = nn.Identity()

    def forward(self, pixels: Tensor) -> Tensor:
        return self.network(self.standardise(pixels))
