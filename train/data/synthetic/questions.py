"""Synthetic pictures with questions: what colour, what shape, how many. The answer needs both the picture and the question.

A picture has one to three shapes of one kind and colour. The same seed gives the same bytes.
"""

import math

import numpy as np
from PIL import Image, ImageDraw

from train.data.synthetic.shapes import SHAPES

SIDE = 64  # of a picture, pixels
COLOURS = {"red": (210, 30, 30), "green": (30, 160, 40), "blue": (30, 60, 220), "yellow": (240, 215, 30)}
KINDS = ("circle", "square", "star", "triangle")
COUNTS = ("one", "two", "three")
RADII = (11, 14)  # of a shape, pixels
CENTRES = ((16, 16), (48, 16), (16, 48), (48, 48))  # pixels; at these, no shape hides another
ASKED = {
    "colour": ("what colour is it?", "which colour do you see?", "tell me the colour", "how is it painted?"),
    "shape": ("what shape is it?", "which figure is shown?", "tell me the shape", "what has been drawn?"),
    "count": ("how many are there?", "what is their number?", "count them", "how often is it there?"),
}


def question(seed: int) -> tuple[Image.Image, str, str]:
    """A picture, a question about it, and the answer."""
    random = np.random.default_rng(seed)
    facts = {"colour": str(random.choice(list(COLOURS))), "shape": str(random.choice(KINDS)), "count": str(random.choice(COUNTS))}
    about = str(random.choice(list(ASKED)))
    picture = draw(facts, random)
    return picture, str(random.choice(ASKED[about])), facts[about]


def draw(facts: dict[str, str], random: np.random.Generator) -> Image.Image:
    grey = int(random.integers(140, 256))
    picture = Image.new("RGB", (SIDE, SIDE), (grey, grey, grey))
    pen = ImageDraw.Draw(picture)
    paint = tuple(int(value) for value in np.clip(np.array(COLOURS[facts["colour"]]) + random.normal(0, 12, 3), 0, 255))
    for index in random.permutation(len(CENTRES))[: 1 + COUNTS.index(facts["count"])]:
        x, y = np.array(CENTRES[index]) + random.uniform(-2, 2, 2)
        outline = SHAPES[facts["shape"]](random.uniform(0, 2 * math.pi))
        radius = random.uniform(*RADII)
        pen.polygon([(x + radius * px, y + radius * py) for px, py in outline], paint, outline="black")
    return picture
