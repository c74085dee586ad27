"""Pictures and what can be seen where in them: boxes and masks. Drawn shapes, COCO's format, and folders of masks.

A truth is as the wire says it: `[{"label", "box", "mask"}, ...]` with boxes in pixels of the upright picture and masks as PNG in
base64, white where the thing is. Knows nothing of frames or tensors.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageDraw

from model_defs.image_file import TURNED
from model_defs.metrics import as_label_masks
from model_defs.postprocess import CORNERS, png_base64
from train.data.examples import DOWNLOADS, DataError, Example, Examples, split
from train.data.synthetic.shapes import scene
from train.data.vision import SUFFIXES
from train.data.vision import png as as_file
from train.targets import VOID

SPLITS = {  # how the folders are called
    "train": ("train", "train2017"),
    "validation": ("validation", "val", "valid"),
    "test": ("test", "test2017", "val2017"),
}
COCO = "_annotations.coco.json"


class SceneExamples(Examples):
    """The base: what may be true of a picture is a list of things with their labels."""

    FEWEST_LABELS = 1

    def labels_of(self, truth: list[dict]) -> set[str]:
        return {thing["label"] for thing in truth if thing["label"] is not None}


class CocoFolder(SceneExamples):
    """Pictures with their annotations in COCO's format: `root/train/` and `root/test/` (and `root/validation/`, if there), each
    with `_annotations.coco.json` in it, or with `root/annotations/instances_<name>.json`; or one such folder, of which a fifth
    becomes the test split. COCO's own names, `train2017` and `val2017`, are known too; the latter is for testing.

    Crowds are left out.

    Args:
        masks: take the polygons along, for learning masks.
    """

    def __init__(self, root: str = DOWNLOADS, masks: bool = False, **options: Any):
        super().__init__(root, **options)
        self.masks = masks

    def read(self) -> dict[str, list[Example]]:
        if (self.root / COCO).exists():
            train, test = split(self.annotated(self.root, self.root / COCO), 0.2, self.seed)
            return {"train": train, "test": test}
        found = {}
        for name, spellings in SPLITS.items():
            for folder in (self.root / spelling for spelling in spellings if (self.root / spelling).is_dir()):
                places = (folder / COCO, self.root / "annotations" / f"instances_{folder.name}.json")
                file = next((place for place in places if place.exists()), None)
                if file is None:
                    raise DataError(f"{folder}: no {COCO} in it, and no {places[1]}")
                found.setdefault(name, self.annotated(folder, file))
        if not {"train", "test"} <= found.keys():
            raise DataError(f"{self.root}: no train/ and test/ with {COCO} in them; say where the data lies with DATA=<folder>")
        return found

    def annotated(self, folder: Path, file: Path) -> list[Example]:
        """
        Raises:
            DataError: the file is not COCO's JSON, or names a picture that is not there.
        """
        try:
            content = json.loads(file.read_bytes())
            labels = {category["id"]: category["name"] for category in content["categories"]}
            pictures = {picture["id"]: picture for picture in content["images"]}
            truths: dict[Any, list[dict]] = {number: [] for number in pictures}
            for annotation in content["annotations"]:
                if not annotation.get("iscrowd"):
                    number = annotation["image_id"]
                    truths[number].append(self.thing(annotation, labels[annotation["category_id"]], pictures[number]))
        except (ValueError, LookupError, TypeError) as error:
            raise DataError(f"{file}: not annotations in COCO's format ({error!r})") from error
        examples = []
        for number, picture in pictures.items():
            place = folder / picture["file_name"]
            if not place.is_file():
                raise DataError(f"{file}: {place} is not there")
            examples.append(Example(place, truths[number], str(place), place.suffix.lower()))
        return examples

    def thing(self, annotation: dict, label: str, picture: dict) -> dict:
        x, y, width, height = annotation["bbox"]
        found = {"label": label, "box": dict(zip(CORNERS, (x, y, x + width, y + height), strict=True))}
        if self.masks:
            mask = Image.new("1", (picture["width"], picture["height"]))
            for polygon in annotation["segmentation"]:
                ImageDraw.Draw(mask).polygon(polygon, 1)
            found["mask"] = png_base64(np.array(mask))
        return found


class Shapes(CocoFolder):
    """Drawn circles, crosses, squares, stars and triangles, several in a picture, with boxes around what is seen of them; or
    a folder in COCO's format.

    Args:
        pictures: for training; a fifth as many are for testing.
    """

    def __init__(self, root: str = DOWNLOADS, pictures: int = 1_500, **options: Any):
        super().__init__(root, **options)
        self.pictures = pictures

    def read(self) -> dict[str, list[Example]]:
        if self.root != Path(DOWNLOADS):
            return super().read()
        tested = max(1, self.pictures // 5)
        first = 1_000_000 * self.seed
        return {
            "train": [self.drawn(first + place) for place in range(self.pictures)],
            "test": [self.drawn(first + self.pictures + place) for place in range(tested)],
        }

    def drawn(self, seed: int) -> Example:
        picture, shapes = scene(seed)
        truth = []
        for label, mask in shapes:
            ys, xs = mask.nonzero()
            corners = (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)
            thing = {"label": label, "box": dict(zip(CORNERS, corners, strict=True))}
            truth.append(thing | {"mask": png_base64(mask)} if self.masks else thing)
        return Example(as_file(picture), truth, f"drawn shapes: {seed}", ".png")


class MaskFolder(SceneExamples):
    """`root/train/images/*.jpg` and `root/train/masks/*.png` of the same names, likewise `root/test/` (and `root/validation/`, if
    there); or `root/images/` and `root/masks/`, of which a fifth becomes the test split.

    A mask is a grey or palette picture of numbers: 0 is the background, 255 unknown, n the n-th line of `root/labels.txt`.
    """

    def read(self) -> dict[str, list[Example]]:
        try:
            labels = (self.root / "labels.txt").read_text(encoding="utf-8").split("\n")
        except FileNotFoundError:
            raise DataError(f"{self.root}: no labels.txt in it; the masks' numbers need names, one a line, from 1 on") from None
        names = {0: None, VOID: None} | {number: name.strip() for number, name in enumerate(labels, start=1) if name.strip()}
        if (self.root / "images").is_dir():
            train, test = split(self.pairs(self.root, names), 0.2, self.seed)
            return {"train": train, "test": test}
        found = {
            name: self.pairs(self.root / spelling, names)
            for name, spellings in SPLITS.items()
            for spelling in spellings
            if (self.root / spelling).is_dir()
        }
        if not {"train", "test"} <= found.keys():
            raise DataError(f"{self.root}: no train/ and test/ with images/ and masks/ in them, and no images/ and masks/")
        return found

    def pairs(self, folder: Path, names: dict[int, str | None]) -> list[Example]:
        """
        Raises:
            DataError: a picture without a mask, a mask that is none, or one with a number that has no name.
        """
        examples = []
        for file in sorted((folder / "images").glob("*")):
            if file.suffix.lower() in SUFFIXES and not file.name.startswith("."):
                mask = folder / "masks" / f"{file.stem}.png"
                try:
                    numbers = np.asarray(Image.open(mask))
                except OSError as error:
                    raise DataError(f"{mask}: no mask of {file} ({error})") from None
                if numbers.shape != upright_shape(file):
                    shape = " x ".join(map(str, upright_shape(file)))
                    raise DataError(f"{mask}: not one number for each of the {shape} pixels of {file}, held upright")
                if not {*np.unique(numbers).tolist()} <= names.keys():
                    raise DataError(f"{mask}: has a number without a line in labels.txt; known are {sorted(names)}")
                found = [number for number in np.unique(numbers).tolist() if number]
                truth = [{"label": names[number], "mask": png_base64(numbers == number)} for number in found]
                examples.append(Example(file, truth, str(file), file.suffix.lower()))
        return examples


def upright_shape(file: Path) -> tuple[int, int]:
    """(height, width) of a picture as its EXIF says that it be held.

    Raises:
        DataError: not a picture.
    """
    try:
        with Image.open(file) as picture:
            is_turned = picture.getexif().get(ExifTags.Base.Orientation) in TURNED
            return picture.size if is_turned else picture.size[::-1]
    except OSError as error:
        raise DataError(f"{file}: not a picture ({error}); mend or remove it") from None


class ShapesMasks(MaskFolder):
    """The drawn shapes with a mask of each label; or a folder of pictures and masks.

    Args:
        pictures: for training; a fifth as many are for testing.
    """

    def __init__(self, root: str = DOWNLOADS, pictures: int = 800, **options: Any):
        super().__init__(root, **options)
        self.pictures = pictures

    def read(self) -> dict[str, list[Example]]:
        if self.root != Path(DOWNLOADS):
            return super().read()
        splits = Shapes(pictures=self.pictures, masks=True, seed=self.seed).read()
        return {name: [one._replace(truth=by_label(one.truth)) for one in examples] for name, examples in splits.items()}


def by_label(things: list[dict]) -> list[dict]:
    """One mask for each label, of all its things."""
    masks = as_label_masks(things)
    return [{"label": label, "mask": png_base64(masks[label])} for label in sorted(masks)]
