"""train/report.py: the figures of a report."""

import numpy as np
import pytest
from PIL import Image

from model_defs.artifact import Sample
from model_defs.postprocess import png_base64
from model_defs.vision import LetterboxTransform
from train.data.vision import png_bytes
from train.report import marked


@pytest.mark.parametrize(("value", "drawn"), [(255, 1), (0, 0)])
def test_a_mask_without_a_pixel_is_left_out_of_the_picture(value, drawn):
    mask = png_base64(np.full((24, 32), value, np.uint8))
    answer = [{"label": "cat", "score": 0.9, "mask": mask}]
    figure = marked(LetterboxTransform(32), [(Sample("0.png", answer, answer), png_bytes(Image.new("RGB", (32, 24))))])
    assert len(figure.axes[0].texts) == drawn
