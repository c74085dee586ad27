"""Annotations in COCO's format: objects with boxes, and masks as polygons or run lengths, held against the pictures.

https://cocodataset.org/#format-data
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from model_defs.postprocess import CORNERS, png_base64
from train.data.example import DataError, Example
from train.data.folders import is_hidden
from train.data.notes import tell_left_out
from train.data.vision import SUFFIXES, shapes_of

BEYOND = 2  # pixels that a box may reach beyond its picture, by rounding
FEWEST_NUMBERS = 6  # of a polygon: three corners
MALFORMED = (ValueError, LookupError, TypeError, AttributeError, OverflowError)  # what JSON of another form leads to
Shape = tuple[int, int]  # height and width in pixels, held upright


class AnnotationError(ValueError):
    """One annotation, or one picture of the file, cannot be used; the message says why."""


def read_coco(file: Path, folder: Path, has_masks: bool) -> list[Example]:
    """The pictures in `folder` with their objects from `file`. It says what it leaves out: crowds (`iscrowd`), boxes under a
    pixel, pictures that the file does not list.

    Args:
        has_masks: read the masks too.

    Raises:
        DataError: the file is not COCO's JSON, or does not fit the pictures. The message lists every annotation that does not.
    """
    try:
        content = json.loads(file.read_bytes())
        labels = {category["id"]: str(category["name"]) for category in content["categories"]}
        pictures = {picture["id"]: (folder / picture["file_name"], picture) for picture in content["images"]}
        annotations = [dict(annotation) for annotation in content["annotations"]]
    except MALFORMED as error:
        raise DataError(f"{file}: not annotations in COCO's format ({error!r})") from error
    if len(pictures) < len(content["images"]):
        raise DataError(f"{file}: two pictures have the same id; give each its own")

    if len(labels) < len(content["categories"]):
        raise DataError(f"{file}: two categories have the same id; give each its own")

    shapes, wrong = {}, []
    for image_id, (path, picture) in pictures.items():
        try:
            shapes[image_id] = shape_of(path, picture)
        except AnnotationError as error:
            wrong.append(str(error))
    refuse(file, "pictures do", wrong)

    truths: dict[Any, list[dict]] = {image_id: [] for image_id in pictures}
    crowds, small = 0, []
    for index, annotation in enumerate(annotations, start=1):
        try:
            if annotation.get("iscrowd"):
                crowds += 1
                continue
            image_id, found = object_of(annotation, labels, shapes, has_masks)
        except AnnotationError as error:
            wrong.append(f"{named(annotation, index)}: {error}")
        except MALFORMED as error:
            wrong.append(f"{named(annotation, index)}: not in COCO's format ({error!r})")
        else:
            small.append(is_small(found["box"]))
            if not small[-1]:
                truths[image_id].append(found)
    refuse(file, "annotations do", wrong)
    if small and all(small):
        raise DataError(f"{file}: every box is under a pixel wide or high; boxes are in pixels, not in shares of the picture")

    listed = {path.resolve() for path, _ in pictures.values()}
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and not is_hidden(path, folder))
    others = sum(path.resolve() not in listed for path in found)
    counts = {"crowds": crowds, "boxes under a pixel": sum(small), f"pictures in {folder.name}/ that are not listed": others}
    tell_left_out([f"{count:,} {what}" for what, count in counts.items() if count])
    return [Example(path, truths[image_id], str(path), path.suffix.lower()) for image_id, (path, _) in pictures.items()]


def named(annotation: dict, index: int) -> str:
    return f"annotation {annotation['id']}" if "id" in annotation else f"annotation number {index:,}"


def refuse(file: Path, what: str, wrong: list[str]) -> None:
    """
    Raises:
        DataError: something is wrong.
    """
    if wrong:
        raise DataError("\n  ".join([f"{file}: {len(wrong):,} {what} not fit; mend or remove them:", *wrong]))


def shape_of(path: Path, picture: dict) -> Shape:
    """The picture's shape, held upright as its EXIF says.

    Raises:
        AnnotationError: there is no such picture, or the file says that its shape is another.
    """
    if not path.is_file():
        raise AnnotationError(f"{path} is not there")
    try:
        upright, stored = shapes_of(path)
    except DataError as error:
        raise AnnotationError(str(error)) from None
    said = (picture.get("height"), picture.get("width"))
    if None in said or said == upright:
        return upright
    sizes = f"{path} is {upright[1]} x {upright[0]} pixels, and the file says {said[1]} x {said[0]}"
    if said == stored:
        raise AnnotationError(
            f"{sizes}, as it is stored; its EXIF turns it, and boxes are taken in the upright picture: turn its pixels, or them"
        )
    raise AnnotationError(f"{sizes}: its boxes are of a picture of another size")


def object_of(annotation: dict, labels: dict, shapes: dict[Any, Shape], has_masks: bool) -> tuple[Any, dict]:
    """(id of the picture, the object as a truth has it).

    Raises:
        AnnotationError: an unknown picture or category, or a box or mask that does not fit the picture.
    """
    for key, known in (("image_id", shapes), ("category_id", labels)):
        if annotation[key] not in known:
            raise AnnotationError(
                f"{key} {annotation[key]!r} is of no {'picture' if known is shapes else 'category'} in the file"
            )
    height, width = shape = shapes[annotation["image_id"]]
    box = annotation["bbox"]
    if len(box) != len(CORNERS) or not all(isinstance(one, int | float) and math.isfinite(one) for one in box):
        raise AnnotationError(f"bbox {box!r} is not four numbers: x, y, width, height in pixels")
    x, y, box_width, box_height = box
    corners = (x, y, x + box_width, y + box_height)
    if min(x, y) < -BEYOND or corners[2] > width + BEYOND or corners[3] > height + BEYOND or min(box_width, box_height) < 0:
        raise AnnotationError(
            f"bbox {box!r} reaches beyond its picture of {width} x {height} pixels; a bbox is x, y, width, height in pixels"
        )
    found = {"label": labels[annotation["category_id"]], "box": dict(zip(CORNERS, corners, strict=True))}
    if has_masks:
        found["mask"] = png_base64(mask_of(annotation.get("segmentation"), shape, corners))
    return annotation["image_id"], found


def is_small(box: dict) -> bool:
    """Whether a box is under a pixel wide or high."""
    return box["xmax"] - box["xmin"] < 1 or box["ymax"] - box["ymin"] < 1


def mask_of(segmentation: Any, shape: Shape, corners: tuple) -> np.ndarray:
    """(height, width) bool: polygons, or run lengths, compressed or not.

    Raises:
        AnnotationError: there is none, it is malformed, or it lies outside the box.
    """
    if not segmentation:
        raise AnnotationError("it has no segmentation, and this model learns masks; give polygons, or train a model of boxes")
    mask = run_lengths(segmentation, shape) if isinstance(segmentation, dict) else polygons(segmentation, shape)
    left, top, right, bottom = (round(corner) for corner in corners)
    if not mask[max(0, top - BEYOND) : bottom + 1 + BEYOND, max(0, left - BEYOND) : right + 1 + BEYOND].any():
        raise AnnotationError("its segmentation lies outside its bbox; both are in pixels of the upright picture")
    return mask


def polygons(given: list, shape: Shape) -> np.ndarray:
    mask = Image.new("1", shape[::-1])
    for polygon in given:
        if len(polygon) < FEWEST_NUMBERS or len(polygon) % 2 or not all(math.isfinite(number) for number in polygon):
            raise AnnotationError(f"a polygon of {len(polygon)} numbers; x and y of three corners or more are expected")
        ImageDraw.Draw(mask).polygon(polygon, 1)
    return np.array(mask)


def run_lengths(given: dict, shape: Shape) -> np.ndarray:
    """COCO's RLE: lengths of runs of 0 and 1 in turns, down the columns; 0 first.

    Raises:
        AnnotationError: the runs are of a picture of another size.
    """
    counts = given["counts"]
    runs = decompressed(counts) if isinstance(counts, str) else counts
    if tuple(given["size"]) != shape or any(run < 0 for run in runs) or sum(runs) != math.prod(shape):
        raise AnnotationError(f"run lengths of {given['size']}; the picture is {list(shape)}, height and width")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(shape[::-1]).T


def decompressed(counts: str) -> list[int]:
    """The runs of a compressed RLE: five bits per character, the low ones first. From the fourth run on, a value is the
    difference to the run before the last (`rleFrString` in COCO's maskApi.c)."""
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        bits = ord(character) - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:  # another character follows
            continue
        if bits & 0x10:
            value -= 1 << shift  # negative
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs
