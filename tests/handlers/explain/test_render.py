"""handlers/explain/render.py and charts.py: signs, clipping, places."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from handlers.explain import charts, render


def opened(text: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_a_heatmap_keeps_the_sign():
    answer = render.heatmap(np.array([[0.0, 0.5, -0.5, 0.25]]))
    assert opened(answer["heatmap"]).tolist() == [[128, 255, 1, 192]]
    assert answer["scale"] == pytest.approx(0.5)


def test_one_strong_pixel_does_not_darken_the_others():
    values = np.full((20, 20), 0.1)
    values[0, 0] = 100.0
    assert np.median(opened(render.heatmap(values)["heatmap"])) == 255


def test_a_map_of_nothing_is_all_128():
    assert set(opened(render.heatmap(np.zeros((3, 3)))["heatmap"]).flatten().tolist()) == {128}


def test_an_overlay_is_red_where_the_score_rises_and_blue_where_it_falls():
    values = np.zeros((8, 8))
    values[:, :4], values[:, 4:] = 1, -1
    drawn = np.asarray(render.overlay(Image.new("RGB", (400, 300), "white"), values, (100, 50, 300, 250)).convert("RGB")).astype(
        int
    )
    assert drawn.shape == (300, 400, 3)
    red, blue, outside = drawn[150, 150], drawn[150, 250], drawn[150, 50]
    assert red[0] > red[2] + 50 and blue[2] > blue[0] + 50
    assert outside.tolist() == [127, 127, 127]  # not seen by the network: darker


def test_a_region_may_reach_beyond_the_picture():
    drawn = render.overlay(Image.new("L", (300, 200), 255), np.ones((4, 4)), (-50, -100, 350, 300))
    assert drawn.size == (300, 200)


@pytest.mark.parametrize("bars", [1, 3, 40])
def test_a_waterfall_has_a_row_per_column_and_one_for_the_weakest(bars):
    picture = charts.waterfall([(f"column {index}", 0.1 * (-1) ** index) for index in range(bars)], 0.2, 0.3)
    assert picture.height == charts.ROW * (min(bars, charts.MAX_ROWS) + 2)
    assert charts.RED in {colour for _, colour in picture.getcolors(1 << 16)}


def test_a_coloured_text_is_the_text_and_cannot_be_markup():
    words = [{"word": "<b>", "start": 2, "end": 5, "weight": -0.5}, {"word": "x", "start": 6, "end": 7, "weight": 0.25}]
    given = charts.coloured_text("a <b> x & y", words)
    assert "&lt;b&gt;" in given and "&amp; y" in given and "<b>" not in given
    assert "rgb(31 119 180)" in given  # the strongest, and it lowers the score
