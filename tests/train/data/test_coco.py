"""train/data/coco.py: annotations are held against their pictures, and what does not fit is named."""

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_masks

from model_defs.answer_diff import pixels
from train.data.coco import read_coco
from train.data.example import DataError

SIZE = {"width": 40, "height": 30}
GOOD = {"id": 5, "image_id": 1, "category_id": 7, "bbox": [5, 6, 10, 20], "segmentation": [[5, 6, 14, 6, 14, 25, 5, 25]]}
TURNED = 6  # an EXIF orientation: a quarter turn


def written(folder, *annotations, picture=SIZE, orientation=1):
    """A picture of 40 x 30 pixels as it is stored, and the annotations."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (40, 30)).save(folder / "1.jpg", exif=exif)
    content = {
        "images": [{"id": 1, "file_name": "1.jpg", **picture}],
        "categories": [{"id": 7, "name": "cat"}],
        "annotations": [GOOD | annotation for annotation in annotations],
    }
    (folder / "a.json").write_text(json.dumps(content))
    return folder / "a.json", folder


def objects(*given, masks=False):
    (example,) = read_coco(*given, masks)
    return example.truth


def refusal(*given, masks=False) -> str:
    with pytest.raises(DataError) as error:
        read_coco(*given, masks)
    return str(error.value)


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        ({"image_id": 999}, "image_id 999 is of no picture in the file"),
        ({"category_id": 9}, "category_id 9 is of no category in the file"),
        ({"bbox": []}, "bbox [] is not four numbers: x, y, width, height in pixels"),
        ({"bbox": [5, 6, "a", 20]}, "bbox [5, 6, 'a', 20] is not four numbers"),
        ({"bbox": [5, 6, float("nan"), 20]}, "is not four numbers"),
        ({"bbox": [15, 6, 30, 26]}, "bbox [15, 6, 30, 26] reaches beyond its picture of 40 x 30 pixels"),  # corners
        ({"bbox": [20, 20, -5, 5]}, "bbox [20, 20, -5, 5] reaches beyond"),
        ({"bbox": None}, "not in COCO's format"),
    ],
)
def test_an_annotation_that_does_not_fit_is_named(tmp_path, annotation, said):
    message = refusal(*written(tmp_path, {}, annotation))
    assert message.startswith(f"{tmp_path}/a.json: 1 annotations do not fit; mend or remove them:\n  annotation 5: ")
    assert said in message


def test_every_annotation_that_does_not_fit_is_listed(tmp_path):
    message = refusal(*written(tmp_path, *({"id": index, "bbox": []} for index in range(30))))
    assert all(f"annotation {index}: " in message for index in range(30))


def test_boxes_as_shares_of_the_picture_are_refused(tmp_path):
    shares = {"bbox": [0.1, 0.2, 0.3, 0.4]}
    assert "every box is under a pixel wide or high; boxes are in pixels" in refusal(*written(tmp_path, shares, shares))


def test_small_boxes_crowds_and_unlisted_pictures_are_left_out_in_one_line(tmp_path, capsys):
    given = written(tmp_path, {}, {"bbox": [5, 5, 0, 9]}, {"iscrowd": 1})
    Image.new("RGB", (4, 4)).save(tmp_path / "2.png")
    assert len(objects(*given)) == 1
    left_out = f"left out: 1 crowds, 1 boxes under a pixel, 1 pictures in {tmp_path.name}/ that are not listed\n"
    assert capsys.readouterr().out == left_out


def test_a_box_may_reach_a_little_beyond_its_picture(tmp_path):
    (found,) = objects(*written(tmp_path, {"bbox": [-1, 6, 42, 20]}))
    assert found["box"] == {"xmin": -1, "ymin": 6, "xmax": 41, "ymax": 26}


def test_a_picture_of_another_size_is_refused(tmp_path):
    message = refusal(*written(tmp_path, {}, picture={"width": 80, "height": 60}))
    assert "1.jpg is 40 x 30 pixels, and the file says 80 x 60: its boxes are of a picture of another size" in message


def test_boxes_are_in_the_upright_picture(tmp_path):
    upright = {"width": 30, "height": 40}
    assert len(objects(*written(tmp_path, {}, picture=upright, orientation=TURNED))) == 1
    message = refusal(*written(tmp_path, {}, orientation=TURNED))
    assert "is 30 x 40 pixels, and the file says 40 x 30, as it is stored; its EXIF turns it" in message


@pytest.mark.parametrize(
    ("segmentation", "said"),
    [
        ([], "it has no segmentation, and this model learns masks"),
        ([[5, 6, 14, 6]], "a polygon of 4 numbers; x and y of three corners or more"),
        ([[0.1, 0.2, 0.3, 0.2, 0.3, 0.8]], "its segmentation lies outside its bbox"),
        ({"size": [30, 41], "counts": [0, 1230]}, "run lengths of [30, 41]; the picture is [30, 40], height and width"),
        ({"size": [30, 40], "counts": [5]}, "run lengths of [30, 40]"),
        ({"size": [30, 40], "counts": "#"}, "run lengths of [30, 40]"),
    ],
)
def test_a_mask_that_does_not_fit_is_named(tmp_path, segmentation, said):
    message = refusal(*written(tmp_path, {"segmentation": segmentation}), masks=True)
    assert f"annotation 5: {said}" in message


@pytest.mark.parametrize("is_compressed", [True, False])
def test_run_lengths_are_read_as_coco_reads_them(tmp_path, is_compressed):
    truth = np.zeros((30, 40), np.uint8)
    truth[6:26, 5:15] = np.random.default_rng(0).integers(0, 2, (20, 10))
    encoded = coco_masks.encode(np.asfortranarray(truth))
    if is_compressed:
        given = {"size": [30, 40], "counts": encoded["counts"].decode()}
    else:
        changes = np.flatnonzero(np.diff(truth.T.ravel(), prepend=0, append=1 - truth[-1, -1]))
        given = {"size": [30, 40], "counts": np.diff(changes, prepend=0).tolist()}
    (found,) = objects(*written(tmp_path, {"segmentation": given}), masks=True)
    assert (pixels(found["mask"]) // 255 == truth).all()


def test_two_categories_of_one_id_are_refused(tmp_path):
    file, folder = written(tmp_path, {})
    content = json.loads(file.read_text())
    content["categories"].append({"id": 7, "name": "dog"})
    file.write_text(json.dumps(content))
    assert "two categories have the same id" in refusal(file, folder)
