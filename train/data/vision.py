"""Pictures: scikit-learn's digits, torchvision's sets by name, and any folder of class folders.

Knows nothing of sizes or colours: `model_defs/vision.py` decodes.
"""

import io
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torchvision
from PIL import Image
from sklearn.datasets import load_digits

from model_defs.image_file import FORMATS
from train.data.examples import DOWNLOADS, Example, Examples, open_set, split
from train.data.folders import class_folders, has_class_folders

SUFFIXES = {suffix for suffix, format in Image.registered_extensions().items() if format in FORMATS}


def png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


class ImageFolder(Examples):
    """`root/train/<class>/*.jpg` and `root/test/<class>/*.jpg`, or `root/<class>/*.jpg`, in any format that Pillow reads."""

    def read(self) -> dict[str, list[Example]]:
        return class_folders(self.root, SUFFIXES, self.seed)


class Digits(ImageFolder):
    """Handwritten digits of 8x8 pixels in 17 shades, which scikit-learn brings along; a fifth is for testing. Or a folder of
    class folders."""

    def read(self) -> dict[str, list[Example]]:
        if self.root != Path(DOWNLOADS):
            return super().read()
        digits = load_digits()
        pictures = (digits.images * (255 / 16)).round().astype(np.uint8)  # (1797, 8, 8)
        examples = [
            Example(png(Image.fromarray(picture)), str(label), f"scikit-learn's digits: {place}", ".png")
            for place, (picture, label) in enumerate(zip(pictures, digits.target, strict=True))
        ]
        train, test = split(examples, 0.2, self.seed)
        return {"train": train, "test": test}


class Torchvision(ImageFolder):
    """A set of `torchvision.datasets` by its name, downloaded if it is not in `root`; or a folder of class folders there."""

    source: Callable  # of (root, train, download) -> pairs of a picture and the label's number, with `classes`

    def read(self) -> dict[str, list[Example]]:
        if has_class_folders(self.root, SUFFIXES):
            return super().read()
        return {"train": list(self.load(train=True)), "test": list(self.load(train=False))}

    def load(self, train: bool) -> Iterable[Example]:
        pairs = open_set(self.source, self.root, train=train)
        where = f"{self.source.__name__}: {'train' if train else 'test'}"
        for place, (picture, number) in enumerate(pairs):
            yield Example(png(picture), pairs.classes[number], f"{where} {place}", ".png")


class CIFAR10(Torchvision):
    """60,000 colour pictures of 32x32 pixels, 10 classes."""

    source = torchvision.datasets.CIFAR10


class FashionMNIST(Torchvision):
    """70,000 grey pictures of clothes, 28x28 pixels, 10 classes."""

    source = torchvision.datasets.FashionMNIST


class MNIST(Torchvision):
    """70,000 handwritten digits, 28x28 pixels."""

    source = torchvision.datasets.MNIST
