"""model_defs/answer_diff.py: answers may differ by noise, and by nothing else."""

import re

import numpy as np
import pytest

from model_defs.answer_diff import difference
from model_defs.postprocess import png_base64

A, B = {"label": "a", "score": 0.3}, {"label": "b", "score": 0.3}
CAT, DOG = {"label": "cat", "score": 0.9}, {"label": "dog", "score": 0.06}
BOX = {"label": "cat", "score": 0.9, "box": {"xmin": 10.0, "ymin": 20.0, "xmax": 300.0, "ymax": 40.0}}


def moved(**corners) -> dict:
    return BOX | {"box": BOX["box"] | corners}


def disc(radius: float, stray: int = 0) -> str:
    """A mask of 10,000 pixels with a disc, and `stray` pixels outside it."""
    y, x = np.mgrid[:100, :100] - 50
    mask = x**2 + y**2 < radius**2
    mask[0, :stray] = True
    return png_base64(mask)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([CAT, DOG], [CAT, DOG]),
        ([CAT | {"score": 0.9009}, DOG], [CAT, DOG]),
        ([moved(xmax=300.2)], [BOX]),  # a thousandth of 300
        (
            [{"label": "a", "score": 0.3}, {"label": "b", "score": 0.3001}],
            [{"label": "b", "score": 0.3}, {"label": "a", "score": 0.3}],
        ),
        ([CAT, {"label": "owl", "score": 0.0602}], [CAT, DOG]),  # the last of the best few has the same score as the next one
        ([CAT | {"mask": disc(30, stray=9)}], [CAT | {"mask": disc(30)}]),
        ({"values": [1, 2.0, None, True]}, {"values": [1.0005, 2, None, True]}),
        ([], []),
    ],
)
def test_answers_that_differ_by_noise_agree(given, expected):
    assert difference(given, expected, 1e-3) is None
    assert difference(expected, given, 1e-3) is None


@pytest.mark.parametrize(
    ("given", "expected", "said"),
    [
        ([CAT | {"score": 0.902}, DOG], [CAT, DOG], r"the answer\[0\].score is 0.9020; training says 0.9000"),
        ([CAT | {"label": "owl"}, DOG], [CAT, DOG], r"the answer\[0\].label is 'owl'; training says 'cat'"),
        ([CAT | {"label": "owl"}], [CAT], r"label is 'owl'; training says 'cat'"),  # the best label must be the same
        ([CAT, DOG | {"score": 0.08}], [CAT, DOG], r"score is 0.0800"),
        ([CAT], [CAT, DOG], "has 1 entries; training says 2"),
        ([BOX, moved(xmax=301)], [BOX, BOX], r"\[1\].box.xmax is 301; training says 300"),
        ([BOX, BOX], [BOX, BOX | {"label": "dog"}], r"\[1\].label is 'cat'; training says 'dog'"),
        ([BOX], [CAT], r"the answer\[0\] has label, score, box; training says label, score"),
        ({"label": "cat"}, [CAT], "the answer is {'label': 'cat'}"),
        ([1, 2], [2, 1], r"the answer\[0\] is 1; training says 2"),
        ([True], [1], "the answer"),
        (
            [{"label": "cat", "score": 0.9, "mask": disc(30)}],
            [{"label": "cat", "score": 0.9, "mask": disc(31)}],
            "% of its pixels",
        ),
        ([{"mask": png_base64(np.zeros((2, 3), bool))}], [{"mask": png_base64(np.zeros((3, 2), bool))}], "100.00% of its pixels"),
        ("not a picture", [CAT], "is 'not a picture'; training says"),
    ],
)
def test_any_other_difference_is_named(given, expected, said):
    assert re.search(said, difference(given, expected, 1e-3))
