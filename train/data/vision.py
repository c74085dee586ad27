"""Pictures for classification: scikit-learn's digits, torchvision's sets by name, and any folder of class folders."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torchvision
from PIL import ExifTags, Image
from sklearn.datasets import load_digits

from model_defs.image_file import FORMATS, TURNED
from train.data.downloads import DOWNLOADS, open_set
from train.data.example import DataError, Example
from train.data.examples import Examples
from train.data.folders import class_folders, has_class_folders
from train.data.splits import Splits

SUFFIXES = {suffix for suffix, format in Image.registered_extensions().items() if format in FORMATS}


def png_bytes(picture: Image.Image) -> bytes:
    """The picture as a PNG file."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def shapes_of(file: Path) -> tuple[tuple[int, int], tuple[int, int]]:
    """(height, width) of a picture held upright as its EXIF says, and as it is stored.

    Raises:
        DataError: not a picture.
    """
    try:
        with Image.open(file) as picture:
            is_turned = picture.getexif().get(ExifTags.Base.Orientation) in TURNED
            width, height = picture.size
    except OSError as error:
        raise DataError(f"{file}: not a picture ({error}); mend or remove it") from None
    return ((width, height) if is_turned else (height, width)), (height, width)


class ImageFolder(Examples):
    """`root/train/<class>/*.jpg` and `root/test/<class>/*.jpg`, or `root/<class>/*.jpg`, in any format that Pillow reads."""

    def read_root(self) -> Splits:
        return class_folders(self.root, SUFFIXES)


class Digits(ImageFolder):
    """Handwritten digits of 8x8 pixels in 17 shades of grey, from scikit-learn. Or a folder of class folders."""

    def built_in(self) -> Splits:
        digits = load_digits()
        pictures = (digits.images * (255 / 16)).round().astype(np.uint8)  # (1797, 8, 8)
        examples = [
            Example(png_bytes(Image.fromarray(picture)), str(label), f"scikit-learn's digits: {index}", ".png")
            for index, (picture, label) in enumerate(zip(pictures, digits.target, strict=True))
        ]
        return {"train": examples}


class Torchvision(ImageFolder):
    """A set of `torchvision.datasets` by its name, downloaded if it is not in `root`. Or a folder of class folders."""

    default_root = DOWNLOADS
    source: Callable  # (root, train, download) -> (picture, class index) pairs, with an attribute `classes`

    def read_root(self) -> Splits:
        if has_class_folders(self.root, SUFFIXES):
            return super().read_root()
        return {name: list(self.downloaded(name)) for name in ("train", "test")}

    def downloaded(self, split: str) -> Iterator[Example]:
        pairs = open_set(self.source, self.root, train=split == "train")
        for index, (picture, class_id) in enumerate(pairs):
            yield Example(png_bytes(picture), pairs.classes[class_id], f"{self.source.__name__}: {split} {index}", ".png")


class CIFAR10(Torchvision):
    """60,000 colour pictures of 32x32 pixels in 10 classes."""

    source = torchvision.datasets.CIFAR10


class FashionMNIST(Torchvision):
    """70,000 grey pictures of clothes, 28x28 pixels, in 10 classes."""

    source = torchvision.datasets.FashionMNIST


class MNIST(Torchvision):
    """70,000 handwritten digits, 28x28 pixels."""

    source = torchvision.datasets.MNIST
