"""train/data/detection.py and synthetic/shapes.py: the truth of a picture is what is in it."""

import json

import numpy as np
import pytest
from PIL import Image

from model_defs.answer_diff import pixels
from model_defs.vision import LetterboxTransform
from train.data.detection import COCO, CocoFolder, MaskFolder, Shapes, ShapesMasks
from train.data.example import DataError
from train.data.synthetic.shapes import SHAPES, scene


def ready(data):
    data.setup()
    data.decode(LetterboxTransform(size=32))
    return data


def test_the_same_seed_makes_the_same_scene():
    picture, shapes = scene(3)
    again, others = scene(3)
    assert picture.tobytes() == again.tobytes() and [name for name, _ in shapes] == [name for name, _ in others]
    assert scene(4)[0].tobytes() != picture.tobytes()


def test_shapes_do_not_share_pixels_and_enough_of_each_is_visible():
    for seed in range(30):
        picture, shapes = scene(seed)
        assert shapes and all(mask.shape == (picture.height, picture.width) for _, mask in shapes)
        assert sum(mask.astype(int) for _, mask in shapes).max() == 1 and all(mask.sum() > 40 for _, mask in shapes)


def test_boxes_are_tight_around_the_visible_part_of_a_shape():
    data = ready(Shapes(pictures=10, masks=True))
    assert data.counts() == {"train": 9, "validation": 1, "test": 2} and set(data.labels) <= set(SHAPES)
    for example in data.splits["train"]:
        for found in example.truth:
            ys, xs = (pixels(found["mask"]) > 0).nonzero()
            box = found["box"]
            assert (box["xmin"], box["ymin"], box["xmax"], box["ymax"]) == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)


def test_the_mask_of_a_label_is_the_union_of_its_shapes():
    objects, masks = Shapes(pictures=10, masks=True).read_splits()["train"], ShapesMasks(pictures=10).read_splits()["train"]
    for one, other in zip(objects, masks, strict=True):
        assert one.payload == other.payload and len({mask["label"] for mask in other.truth}) == len(other.truth)
        whole = sum(pixels(found["mask"]).astype(int) for found in one.truth)
        assert (whole == sum(pixels(mask["mask"]).astype(int) for mask in other.truth)).all()


def coco(folder, file, count=4, **changes):
    """`count` pictures of 40 x 30 with one box each, in COCO's format."""
    folder.mkdir(parents=True, exist_ok=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        Image.new("RGB", (40, 30)).save(folder / f"{index}.jpg")
    annotation = {"category_id": 7, "bbox": [5, 6, 10, 20], "segmentation": [[5, 6, 14, 6, 14, 25, 5, 25]], "iscrowd": 0}
    content = {
        "images": [{"id": 100 + index, "file_name": f"{index}.jpg", "width": 40, "height": 30} for index in range(count)],
        "categories": [{"id": 7, "name": "cat"}],
        "annotations": [annotation | {"image_id": 100 + index} for index in range(count - 1)]
        + [annotation | {"image_id": 100, "iscrowd": 1, "segmentation": {"counts": [1]}}],
    } | changes
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("folders", "path"),
    [
        (("train", "test"), "{root}/{name}/" + COCO),
        (("train", "valid", "test"), "{root}/{name}/" + COCO),
        (("train2017", "val2017"), "{root}/annotations/instances_{name}.json"),
    ],
)
def test_coco_s_format_is_read_where_it_usually_lies(tmp_path, folders, path):
    for name in folders:
        coco(tmp_path / name, tmp_path / path.format(root=tmp_path, name=name))
    data = ready(CocoFolder(root=str(tmp_path), masks=True))
    assert data.labels == ["cat"] and data.counts()["test"] == 4
    truths = {example.source.rpartition("/")[2]: example.truth for example in data.splits["test"]}
    (found,) = truths["0.jpg"]  # the crowd is left out
    assert found["box"] == {"xmin": 5, "ymin": 6, "xmax": 15, "ymax": 26} and truths["3.jpg"] == []
    ys, xs = (pixels(found["mask"]) > 0).nonzero()
    assert (xs.min(), ys.min(), xs.max(), ys.max()) == (5, 6, 14, 25)


def test_one_annotated_folder_is_split_in_five(tmp_path):
    coco(tmp_path, tmp_path / COCO, count=20)
    assert ready(CocoFolder(root=str(tmp_path))).counts() == {"train": 14, "validation": 2, "test": 4}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"images": [{"id": 1, "file_name": "gone.jpg"}], "annotations": []}, "gone.jpg is not there"),
        ({"categories": []}, "annotation number 1: category_id 7 is of no category in the file"),
        ({"annotations": 3}, "not annotations in COCO's format"),
        ({"images": [{"id": 1, "file_name": "0.jpg"}] * 2}, "two pictures have the same id"),
    ],
)
def test_annotations_that_do_not_fit_are_named(tmp_path, changes, said):
    coco(tmp_path, tmp_path / COCO, **changes)
    with pytest.raises(DataError, match=said):
        ready(CocoFolder(root=str(tmp_path)))


def test_a_folder_without_annotations_says_what_is_expected(tmp_path):
    with pytest.raises(DataError, match=r"no train/ and test/ with _annotations\.coco\.json"):
        ready(CocoFolder(root=str(tmp_path)))
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match=r"no _annotations\.coco\.json in it, and no .*instances_train\.json"):
        ready(CocoFolder(root=str(tmp_path)))


def masked(root, value=2, names="road\nsky\n", count=5):
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    (root / "labels.txt").write_text(names)
    for index in range(count):
        Image.new("RGB", (40, 30)).save(root / "images" / f"{index}.jpg")
        values = np.zeros((30, 40), np.uint8)
        values[:10], values[10:20] = value, 255
        picture = Image.fromarray(values)
        if index == 0:  # a palette picture, as many annotation tools write
            picture = picture.convert("P")
            picture.putdata(values.flatten().tolist())
        picture.save(root / "masks" / f"{index}.png")


def test_a_folder_of_pictures_and_masks_is_read_by_its_pixel_values(tmp_path):
    masked(tmp_path)
    data = ready(MaskFolder(root=str(tmp_path)))
    assert data.labels == ["sky"] and data.counts() == {"train": 3, "validation": 1, "test": 1}
    for examples in data.splits.values():
        for example in examples:
            sky, unknown = example.truth
            assert sky["label"] == "sky" and (pixels(sky["mask"])[:10] == 255).all() and (pixels(sky["mask"])[10:] == 0).all()
            assert unknown["label"] is None and (pixels(unknown["mask"])[10:20] == 255).all()


def test_a_byte_order_mark_is_not_part_of_the_first_label(tmp_path):
    masked(tmp_path, value=1, names="\ufeffroad\nsky\n")
    assert ready(MaskFolder(root=str(tmp_path))).labels == ["road"]


@pytest.mark.parametrize("name", ["__ignore__", "_background_", "background", "Background"])
def test_a_background_is_no_label(tmp_path, name):
    masked(tmp_path, value=1, names=f"{name}\nroad\n")
    with pytest.raises(DataError, match=rf"labels\.txt:1: '{name}' would be the label of the pixels of value 1"):
        ready(MaskFolder(root=str(tmp_path)))


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252"])
def test_labels_in_another_encoding_are_refused_by_the_file_s_name(tmp_path, encoding):
    masked(tmp_path)
    (tmp_path / "labels.txt").write_text("Straße\nsky\n", encoding=encoding)
    with pytest.raises(DataError, match=r"labels\.txt: not UTF-8: byte 0x\w\w; save the file as UTF-8"):
        ready(MaskFolder(root=str(tmp_path)))


def test_masks_of_0_and_255_are_told_what_255_means(tmp_path):
    masked(tmp_path, value=255)
    with pytest.raises(DataError, match=r"masks: every value is 0 or 255, and 255 means unknown; write 1"):
        ready(MaskFolder(root=str(tmp_path)))


def test_what_masks_leave_out_is_said(tmp_path, capsys):
    masked(tmp_path)
    (tmp_path / "masks" / "9.png").touch()
    (tmp_path / "images" / "9.xcf").touch()
    ready(MaskFolder(root=str(tmp_path)))
    said = capsys.readouterr().out
    assert f"left out: 1 .xcf in {tmp_path.name}/images, 1 masks without a picture in {tmp_path.name}\n" in said
    assert "no mask of the training split has road of labels.txt: not learned\n" in said


def test_masks_that_do_not_fit_are_named(tmp_path):
    masked(tmp_path / "one", value=9)
    with pytest.raises(DataError, match=r"0\.png: has a number without a line in labels\.txt; known are \[0, 1, 2, 255\]"):
        ready(MaskFolder(root=str(tmp_path / "one")))
    masked(tmp_path / "other")
    Image.new("RGB", (30, 40)).save(tmp_path / "other" / "images" / "2.jpg")
    with pytest.raises(DataError, match=r"2\.png: not one number for each of the 40 x 30 pixels of .*2\.jpg, held upright"):
        ready(MaskFolder(root=str(tmp_path / "other")))
    masked(tmp_path / "two")
    (tmp_path / "two" / "masks" / "3.png").unlink()
    with pytest.raises(DataError, match=r"3\.png: no mask of .*3\.jpg"):
        ready(MaskFolder(root=str(tmp_path / "two")))
    with pytest.raises(DataError, match=r"no labels\.txt"):
        ready(MaskFolder(root=str(tmp_path)))
