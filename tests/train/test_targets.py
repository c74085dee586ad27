"""train/targets.py: a picture and its truth are resized, flipped and cropped together."""

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from model_defs.postprocess import png_base64
from model_defs.vision import ImageSample
from train.targets import VOID, BoxTargets, ClassTargets, InstanceTargets, MaskTargets, pad_maps

LABELS = ["cat", "dog"]
BOX = {"xmin": 10, "ymin": 20, "xmax": 50, "ymax": 60}


@pytest.fixture
def sample() -> ImageSample:
    """A picture of 100 x 200, shrunk to a fifth; the box's pixels are white."""
    pixels = torch.zeros(3, 40, 20, dtype=torch.uint8)
    pixels[:, 4:12, 2:10] = 255
    return ImageSample(pixels, width=100, height=200)


def mask() -> str:
    whole = np.zeros((200, 100), bool)
    whole[20:60, 10:50] = True
    return png_base64(whole)


def test_a_label_becomes_its_class_id_and_only_the_sample_is_augmented():
    sample, class_id = ClassTargets(LABELS, v2.Compose([lambda sample: sample + 1]))(torch.zeros(2), "dog")
    assert class_id == 1 and sample.tolist() == [1, 1]
    assert ClassTargets(LABELS).collate([0, 1]).tolist() == [0, 1]


def test_boxes_are_scaled_with_the_picture_and_labels_begin_with_one(sample):
    _, target = BoxTargets(LABELS)(sample, [{"label": "dog", "box": BOX}])
    assert target["boxes"].tolist() == [[2, 4, 10, 12]] and target["labels"].tolist() == [2]


def test_a_picture_without_objects_has_empty_targets(sample):
    _, target = BoxTargets(LABELS)(sample, [])
    assert target["boxes"].shape == (0, 4) and target["labels"].shape == (0,) and "masks" not in target
    changed, target = InstanceTargets(LABELS, v2.RandomHorizontalFlip(1.0))(sample, [])
    assert target["boxes"].shape == (0, 4) and target["masks"].shape == (0, *changed.pixels.shape[1:])


@pytest.mark.parametrize("augment", [v2.RandomHorizontalFlip(1.0), v2.RandomVerticalFlip(1.0), v2.RandomCrop((30, 16), (0, 0))])
def test_boxes_and_masks_stay_on_what_they_mark_whatever_the_augmentation(sample, augment):
    torch.manual_seed(0)
    changed, target = InstanceTargets(LABELS, v2.Compose([augment]))(sample, [{"label": "cat", "box": BOX, "mask": mask()}])
    left, top, right, bottom = (int(value) for value in target["boxes"][0])
    inside = torch.zeros(changed.pixels.shape[1:], dtype=torch.bool)
    inside[top:bottom, left:right] = True
    assert torch.equal(inside, changed.pixels[0] == 255) and torch.equal(target["masks"][0].bool(), inside)
    assert type(target["boxes"]) is type(changed.pixels) is torch.Tensor


def test_a_box_of_less_than_a_pixel_is_dropped(sample):
    objects = [{"label": "cat", "box": BOX}, {"label": "dog", "box": BOX | {"xmax": 12}}]
    assert BoxTargets(LABELS)(sample, objects)[1]["labels"].tolist() == [1]


def test_a_label_map_has_each_pixel_s_class_id(sample):
    changed, label_map = MaskTargets(LABELS, v2.RandomHorizontalFlip(1.0))(sample, [{"label": "dog", "mask": mask()}])
    assert torch.equal(label_map == 2, changed.pixels[0] == 255) and set(label_map.unique().tolist()) == {0, 2}


def test_unknown_pixels_are_void(sample):
    _, label_map = MaskTargets(LABELS)(sample, [{"label": None, "mask": mask()}])
    assert set(label_map.unique().tolist()) == {0, VOID}


def test_maps_of_different_sizes_are_padded_to_one_frame():
    batch = pad_maps([torch.ones(2, 3), torch.ones(4, 1)], (4, 4), fill=VOID)
    assert batch.shape == (2, 4, 4) and (batch[0, :2, :3] == 1).all() and (batch[0, 2:] == VOID).all()
