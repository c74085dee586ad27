"""Pictures whose truth is boxes and masks: drawn shapes, folders in COCO's format, and folders of mask files.

A truth has the format of an answer: `[{"label", "box", "mask"}, ...]`. Boxes are in pixels of the upright picture. Masks are PNG
files in base64, white where the object is.
"""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from model_defs.metrics import as_label_masks
from model_defs.postprocess import CORNERS, png_base64
from train.data.coco import read_coco
from train.data.example import DataError, Example
from train.data.examples import Examples
from train.data.folders import counted, folders, is_hidden
from train.data.notes import first_few, tell, tell_left_out
from train.data.splits import SPELLINGS, Splits, split_folders
from train.data.synthetic.shapes import scene
from train.data.vision import SUFFIXES, png_bytes, shapes_of

COCO = "_annotations.coco.json"  # Roboflow's name for it
COCO_SPELLINGS = {  # COCO's own folders too: its test split has no annotations, so val2017 is for testing
    "train": (*SPELLINGS["train"], "train2017"),
    "validation": SPELLINGS["validation"],
    "test": (*SPELLINGS["test"], "val2017", "test2017"),
}
BACKGROUNDS = {"background", "ignore", "void", "unlabeled", "unlabelled"}  # as tools begin labels.txt, for the values 0 or 255
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
            return {"train": read_coco(self.root / COCO, self.root, self.masks)}
        found = split_folders(self.root, COCO_SPELLINGS)
        files = {name: self.annotations(folder) for name, folder in found.items()}
        if not {"train", "test"} <= found.keys():
            raise DataError(f"{self.root}: no train/ and test/ with {COCO} in them; say where the data lies with DATA=<folder>")
        others = (folder for folder in folders(self.root) if folder not in found.values() and folder.name != "annotations")
        tell_left_out(f"{folder.name}/" for folder in others)
        return {name: read_coco(files[name], folder, self.masks) for name, folder in found.items()}

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


class Shapes(CocoFolder):
    """Drawn circles, crosses, squares, stars and triangles, several per picture, with boxes around their visible parts. Or a
    folder in COCO's format.

    Args:
        pictures: for training; a fifth as many are for testing.
    """

    built_in_options = ("pictures",)

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
        names = self.names()
        if (self.root / "images").is_dir():
            splits = {"train": self.masked(self.root, names)}
        else:
            found = split_folders(self.root, COCO_SPELLINGS)
            if not {"train", "test"} <= found.keys():
                raise DataError(f"{self.root}: no train/ and test/ with images/ and masks/ in them, and no images/ and masks/")
            tell_left_out(f"{folder.name}/" for folder in folders(self.root) if folder not in found.values())
            splits = {name: self.masked(folder, names) for name, folder in found.items()}
        learned = {entry["label"] for example in splits["train"] for entry in example.truth}
        if unused := [name for name in names.values() if name and name not in learned]:
            tell(f"no mask of the training split has {first_few(unused)} of labels.txt: not learned")
        return splits

    def names(self) -> dict[int, str | None]:
        """Pixel value -> label, from labels.txt; None for background and unknown.

        Raises:
            DataError: no such file, not UTF-8, or its first line is the background.
        """
        file = self.root / "labels.txt"
        try:
            lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").split("\n")]
        except FileNotFoundError:
            raise DataError(f"{self.root}: no labels.txt in it; the masks' numbers need names, one a line, from 1 on") from None
        except UnicodeDecodeError as error:
            raise DataError(f"{file}: not UTF-8: byte 0x{error.object[error.start]:02x}; save the file as UTF-8") from None
        if lines[0].strip("_").lower() in BACKGROUNDS:
            raise DataError(
                f"{file}:1: {lines[0]!r} would be the label of the pixels of value 1; the background is 0 and unknown is 255, "
                "without lines: remove this one"
            )
        return {0: None, UNKNOWN: None} | {value: name for value, name in enumerate(lines, start=1) if name}

    def masked(self, folder: Path, names: dict[int, str | None]) -> list[Example]:
        """The pictures in `folder` with their masks. It says what it leaves out.

        Args:
            names: see `names`.

        Raises:
            DataError: a picture has no mask, a mask has another size, or a pixel value has no name; the message lists all.
        """
        files = [file for file in sorted((folder / "images").glob("*")) if not is_hidden(file, folder) and not file.is_dir()]
        pictures = [file for file in files if file.suffix.lower() in SUFFIXES]
        examples, wrong, values = [], [], set()
        for file in pictures:
            mask = folder / "masks" / f"{file.stem}.png"
            try:
                found = read_mask(mask, file, names)
            except DataError as error:
                wrong.append(str(error))
                continue
            values.update(found)
            truth = [{"label": names[value], "mask": png_base64(pixels)} for value, pixels in found.items()]
            examples.append(Example(file, truth, str(file), file.suffix.lower()))
        if wrong:
            raise DataError("\n  ".join([f"{folder}: {len(wrong):,} masks do not fit; mend or remove them:", *wrong]))
        if values == {UNKNOWN}:
            raise DataError(f"{folder}/masks: every value is 0 or 255, and 255 means unknown; write 1, the label's line")
        stems = {file.stem for file in pictures}
        masks = [mask for mask in (folder / "masks").glob("*.png") if mask.stem not in stems and not is_hidden(mask, folder)]
        others = [f"{kind} in {folder.name}/images" for kind in counted(file for file in files if file not in {*pictures})]
        tell_left_out([*others, *([f"{len(masks):,} masks without a picture in {folder.name}"] if masks else [])])
        return examples


def read_mask(mask: Path, picture: Path, names: dict[int, str | None]) -> dict[int, np.ndarray]:
    """Pixel value -> (height, width) bool, for each value except 0.

    Raises:
        DataError: no such mask, another size than the picture's, or a value without a name.
    """
    try:
        values = np.asarray(Image.open(mask))
    except OSError as error:
        raise DataError(f"{mask}: no mask of {picture} ({error})") from None
    upright, _ = shapes_of(picture)
    if values.shape != upright:
        shape = " x ".join(map(str, upright))
        raise DataError(f"{mask}: not one number for each of the {shape} pixels of {picture}, held upright")
    found = np.unique(values).tolist()
    if not {*found} <= names.keys():
        raise DataError(f"{mask}: has a number without a line in labels.txt; known are {sorted(names)}")
    return {value: values == value for value in found if value}


class ShapesMasks(MaskFolder):
    """The drawn shapes with one mask per label. Or a folder of pictures and masks.

    Args:
        pictures: for training; a fifth as many are for testing.
    """

    built_in_options = ("pictures",)

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
