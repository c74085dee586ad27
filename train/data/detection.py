"""Pictures whose truth is boxes and masks: drawn shapes, folders in COCO's format, and folders of mask files.

A truth has the format of an answer: `[{"label", "box", "mask"}, ...]`. Boxes are in pixels of the upright picture. Masks are PNG
files in base64, white where the object is.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageDraw

from model_defs.image_file import TURNED
from model_defs.metrics import as_label_masks
from model_defs.postprocess import CORNERS, png_base64
from train.data.example import DataError, Example
from train.data.examples import Examples
from train.data.splits import SPELLINGS, Splits, split_folders
from train.data.synthetic.shapes import scene
from train.data.vision import SUFFIXES, png_bytes

COCO = "_annotations.coco.json"
COCO_SPELLINGS = {  # COCO's own folders too: its test split has no annotations, so val2017 is for testing
    "train": (*SPELLINGS["train"], "train2017"),
    "validation": SPELLINGS["validation"],
    "test": (*SPELLINGS["test"], "test2017", "val2017"),
}
UNKNOWN = 255  # in a mask file: a pixel whose label is not known, as in Pascal VOC


class AnnotatedImages(Examples):
    """The base of these data sets: a truth is a list of objects."""

    fewest_labels = 1

    def labels_of(self, truth: list[dict]) -> set[str]:
        return {found["label"] for found in truth if found["label"] is not None}


class CocoFolder(AnnotatedImages):
    """Pictures with annotations in COCO's format: `root/train/`, `root/test/` and perhaps `root/validation/`, each with its
    `_annotations.coco.json`, or with `root/annotations/instances_<name>.json`; or one such folder.

    COCO's own folder names are known too: `train2017`, and `val2017` for testing. Crowds (`iscrowd`) are left out.

    Args:
        masks: read the polygons too, to learn masks.
    """

    def __init__(self, *args: Any, masks: bool = False, **options: Any):
        super().__init__(*args, **options)
        self.masks = masks

    def read_root(self) -> Splits:
        if (self.root / COCO).exists():
            return {"train": self.annotated(self.root, self.root / COCO)}
        found = split_folders(self.root, COCO_SPELLINGS)
        files = {name: self.annotations(folder) for name, folder in found.items()}
        if not {"train", "test"} <= found.keys():
            raise DataError(f"{self.root}: no train/ and test/ with {COCO} in them; say where the data lies with DATA=<folder>")
        return {name: self.annotated(folder, files[name]) for name, folder in found.items()}

    def annotations(self, folder: Path) -> Path:
        """
        Raises:
            DataError: the folder's annotations are in neither place.
        """
        files = (folder / COCO, self.root / "annotations" / f"instances_{folder.name}.json")
        file = next((file for file in files if file.exists()), None)
        if file is None:
            raise DataError(f"{folder}: no {COCO} in it, and no {files[1]}")
        return file

    def annotated(self, folder: Path, file: Path) -> list[Example]:
        """The pictures in `folder` with their objects from `file`.

        Raises:
            DataError: the file is not COCO's JSON, or names a picture that does not exist.
        """
        try:
            content = json.loads(file.read_bytes())
            labels = {category["id"]: category["name"] for category in content["categories"]}
            pictures = {picture["id"]: picture for picture in content["images"]}
            truths: dict[Any, list[dict]] = {image_id: [] for image_id in pictures}
            for annotation in content["annotations"]:
                if not annotation.get("iscrowd"):
                    image_id = annotation["image_id"]
                    truths[image_id].append(self.object_of(annotation, labels[annotation["category_id"]], pictures[image_id]))
        except (ValueError, LookupError, TypeError) as error:
            raise DataError(f"{file}: not annotations in COCO's format ({error!r})") from error
        examples = []
        for image_id, picture in pictures.items():
            path = folder / picture["file_name"]
            if not path.is_file():
                raise DataError(f"{file}: {path} is not there")
            examples.append(Example(path, truths[image_id], str(path), path.suffix.lower()))
        return examples

    def object_of(self, annotation: dict, label: str, picture: dict) -> dict:
        x, y, width, height = annotation["bbox"]
        found = {"label": label, "box": dict(zip(CORNERS, (x, y, x + width, y + height), strict=True))}
        if self.masks:
            mask = Image.new("1", (picture["width"], picture["height"]))
            for polygon in annotation["segmentation"]:
                ImageDraw.Draw(mask).polygon(polygon, 1)
            found["mask"] = png_base64(np.array(mask))
        return found


class Shapes(CocoFolder):
    """Drawn circles, crosses, squares, stars and triangles, several per picture, with boxes around their visible parts. Or a
    folder in COCO's format.

    Args:
        pictures: for training; a fifth as many are for testing.
    """

    def __init__(self, *args: Any, pictures: int = 1_500, **options: Any):
        super().__init__(*args, **options)
        self.pictures = pictures

    def built_in(self) -> Splits:
        first, tested = 1_000_000 * self.seed, max(1, self.pictures // 5)
        return {
            "train": [self.drawn(first + index) for index in range(self.pictures)],
            "test": [self.drawn(first + self.pictures + index) for index in range(tested)],
        }

    def drawn(self, seed: int) -> Example:
        picture, shapes = scene(seed)
        truth = []
        for label, mask in shapes:
            ys, xs = mask.nonzero()
            corners = (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)
            found = {"label": label, "box": dict(zip(CORNERS, corners, strict=True))}
            truth.append(found | {"mask": png_base64(mask)} if self.masks else found)
        return Example(png_bytes(picture), truth, f"drawn shapes: {seed}", ".png")


class MaskFolder(AnnotatedImages):
    """`root/train/images/*.jpg` and `root/train/masks/*.png` with the same names, `root/test/` and perhaps `root/validation/` in
    the same way; or `root/images/` and `root/masks/` alone.

    A mask is a grey or palette picture. A pixel's value is 0 for the background, 255 for unknown, or n for the label on line n of
    `root/labels.txt`.
    """

    def read_root(self) -> Splits:
        try:
            labels = (self.root / "labels.txt").read_text(encoding="utf-8-sig").split("\n")
        except FileNotFoundError:
            raise DataError(f"{self.root}: no labels.txt in it; the masks' numbers need names, one a line, from 1 on") from None
        names = {0: None, UNKNOWN: None} | {value: name.strip() for value, name in enumerate(labels, start=1) if name.strip()}
        if (self.root / "images").is_dir():
            return {"train": self.masked(self.root, names)}
        found = split_folders(self.root, COCO_SPELLINGS)
        if not {"train", "test"} <= found.keys():
            raise DataError(f"{self.root}: no train/ and test/ with images/ and masks/ in them, and no images/ and masks/")
        return {name: self.masked(folder, names) for name, folder in found.items()}

    def masked(self, folder: Path, names: dict[int, str | None]) -> list[Example]:
        """The pictures in `folder` with their masks.

        Args:
            names: pixel value -> label, or None for background and unknown.

        Raises:
            DataError: a picture has no mask, a mask has another size, or a pixel value has no name.
        """
        examples = []
        for file in sorted((folder / "images").glob("*")):
            if file.suffix.lower() in SUFFIXES and not file.name.startswith("."):
                mask = folder / "masks" / f"{file.stem}.png"
                try:
                    values = np.asarray(Image.open(mask))
                except OSError as error:
                    raise DataError(f"{mask}: no mask of {file} ({error})") from None
                if values.shape != upright_shape(file):
                    shape = " x ".join(map(str, upright_shape(file)))
                    raise DataError(f"{mask}: not one number for each of the {shape} pixels of {file}, held upright")
                found = np.unique(values).tolist()
                if not {*found} <= names.keys():
                    raise DataError(f"{mask}: has a number without a line in labels.txt; known are {sorted(names)}")
                truth = [{"label": names[value], "mask": png_base64(values == value)} for value in found if value]
                examples.append(Example(file, truth, str(file), file.suffix.lower()))
        return examples


def upright_shape(file: Path) -> tuple[int, int]:
    """(height, width) of a picture after its EXIF rotation.

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
    """The drawn shapes with one mask per label. Or a folder of pictures and masks.

    Args:
        pictures: for training; a fifth as many are for testing.
    """

    def __init__(self, *args: Any, pictures: int = 800, **options: Any):
        super().__init__(*args, **options)
        self.pictures = pictures

    def built_in(self) -> Splits:
        splits = Shapes(pictures=self.pictures, masks=True, seed=self.seed).built_in()
        return {name: [one._replace(truth=by_label(one.truth)) for one in examples] for name, examples in splits.items()}


def by_label(objects: list[dict]) -> list[dict]:
    """One mask per label: the union of its objects' masks."""
    masks = as_label_masks(objects)
    return [{"label": label, "mask": png_base64(masks[label])} for label in sorted(masks)]
