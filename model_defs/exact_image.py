"""Pictures as other people's code reads them: what Pillow and torchvision do, to the last pixel.

`model_defs/vision.py` has the transforms for new models: they hold a picture upright and put transparency over white. A network
that was trained elsewhere has learned from other pixels, and gets those.
"""

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from model_defs.errors import Unreadable
from model_defs.image_file import ImageFileTransform, reason, turn_upright
from model_defs.vision import ImageSample

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")


class ConvertedImageTransform(ImageFileTransform):
    """What the transforms here share: `Image.open(file).convert(mode)`.

    Args:
        size: of what the network sees, in pixels.
        mode: "RGB", or "L" for grey.
        upright: whether a picture is turned as its EXIF says. Most scripts do not.
        max_pixels: more than this in the file's header is refused before a pixel is decoded.
    """

    def __init__(self, size: int, mode: str, upright: bool, max_pixels: int):
        super().__init__(size, mode, max_pixels)
        self.is_upright = upright

    def converted(self, payload: bytes) -> Image.Image:
        """The decoded picture in `mode`. A transparent pixel keeps the colour that it has in the file.

        Raises:
            Unreadable: not a picture, or one that ends early or is corrupt.
            TooLarge: more than `max_pixels`.
            WrongKind: EPS, which is a program rather than a picture.
        """
        picture = self.open(payload)
        try:
            picture.load()
            if self.is_upright:
                turn_upright(picture)
            return picture.convert(self.mode)
        except MemoryError:
            raise
        except Image.DecompressionBombError:
            raise self.too_large() from None
        except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error, ValueError, IndexError ...
            raise Unreadable(reason(error, picture.format, len(payload))) from error


class ExactImageTransform(ConvertedImageTransform):
    """Picture file -> (channels, height, width) uint8: torchvision's `Resize` and `CenterCrop` of a Pillow picture.

    Args:
        resize: one number is the shorter side; two are the height and width that any picture is squashed to. None leaves it.
        crop: the side of the square in the middle; what lies outside the picture is black. 0 takes all, and needs two numbers
            in `resize`.
        interpolation: of `resize`, with Pillow's filters: "bilinear", "bicubic" ...
        mode: "RGB", or "L" for grey.
        upright: whether a picture is turned as its EXIF says.
        max_pixels: more than this in the file's header is refused before a pixel is decoded.

    Raises:
        ValueError: an unknown interpolation, or pictures that would differ in size.
    """

    def __init__(
        self,
        resize: int | list[int] | None = 256,
        crop: int = 224,
        interpolation: str = "bilinear",
        mode: str = "RGB",
        upright: bool = False,
        max_pixels: int = 50_000_000,
    ):
        if interpolation not in INTERPOLATIONS:
            raise ValueError(f"interpolation {interpolation!r} is not one of {', '.join(INTERPOLATIONS)}")
        if not crop and not isinstance(resize, list):
            raise ValueError("without a crop, resize needs height and width: pictures of one size make a batch")
        super().__init__(crop or max(resize), mode, upright, max_pixels)
        self.resize, self.crop, self.interpolation = resize, crop, InterpolationMode(interpolation)

    def __call__(self, payload: bytes) -> Tensor:
        """For the errors see `ConvertedImageTransform.converted`."""
        picture = self.converted(payload)
        if self.resize:
            picture = F.resize(picture, self.resize, self.interpolation)
        if self.crop:
            picture = F.center_crop(picture, [self.crop])
        return F.pil_to_tensor(picture)

    def region(self, width: int, height: int) -> tuple[float, float, float, float]:
        across, down = 1.0, 1.0  # pixels of the picture per pixel that the network sees
        if isinstance(self.resize, list):
            down, across = height / self.resize[0], width / self.resize[-1]
        elif self.resize:
            across = down = min(width, height) / self.resize
        half_width, half_height = (across * self.crop / 2, down * self.crop / 2) if self.crop else (width / 2, height / 2)
        return width / 2 - half_width, height / 2 - half_height, width / 2 + half_width, height / 2 + half_height

    def draw(self, sample: Tensor) -> np.ndarray:
        return sample.permute(1, 2, 0).squeeze(2).numpy()


class WholeImageTransform(ConvertedImageTransform):
    """Picture file -> ImageSample of the whole picture at its own size, for a detector that resizes by itself.

    Args:
        mode: "RGB", or "L" for grey.
        upright: whether a picture is turned as its EXIF says.
        max_pixels: more than this in the file's header is refused before a pixel is decoded.
    """

    def __init__(self, mode: str = "RGB", upright: bool = False, max_pixels: int = 25_000_000):
        super().__init__(0, mode, upright, max_pixels)

    def __call__(self, payload: bytes) -> ImageSample:
        """For the errors see `ConvertedImageTransform.converted`."""
        picture = self.converted(payload)
        return ImageSample(F.pil_to_tensor(picture), picture.width, picture.height)

    def collate(self, samples: list[ImageSample]) -> tuple[Tensor]:
        """-> (B, channels, height, width); the samples have one size."""
        return (torch.stack([sample.pixels for sample in samples]),)

    def outputs(self, network: Callable[[tuple[Tensor, ...]], Tensor], samples: list[ImageSample]) -> list[Tensor]:
        """One output per sample. The network runs once per picture, since each has its own size."""
        return [network(self.collate([sample]))[0] for sample in samples]

    def draw(self, sample: ImageSample) -> np.ndarray:
        return sample.pixels.permute(1, 2, 0).squeeze(2).numpy()
