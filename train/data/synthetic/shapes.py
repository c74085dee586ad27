"""Pictures that are drawn here: shapes of any colour, size and turn on a noisy ground, among strokes that are none.

Deterministic: the same seed gives the same bytes. Knows nothing of splits, nor of what looks at them.
"""

import math

import numpy as np
from PIL import Image, ImageDraw

SIDES = (96, 160)  # pixels of a picture's width and height, from and to
RADII = (10, 26)  # pixels of a shape
MOST = 4  # shapes in a picture
LEAST_SEEN = 0.7  # of a shape: one that others hide more of is painted over
Generator = np.random.Generator
Points = list[tuple[float, float]]


def ring(count: int, radii: tuple[float, ...], turn: float) -> Points:
    """`count` points around the origin, their distances from it in turn those of `radii`."""
    angles = [turn + 2 * math.pi * place / count for place in range(count)]
    return [(radii[place % len(radii)] * math.cos(a), radii[place % len(radii)] * math.sin(a)) for place, a in enumerate(angles)]


SHAPES = {  # outlines within a circle of radius 1, turned by an angle
    "circle": lambda turn: ring(40, (0.9,), turn),
    "cross": lambda turn: ring(12, (1.0, 1.0, 0.42), turn),
    "square": lambda turn: ring(4, (1.0,), turn),
    "star": lambda turn: ring(10, (1.0, 0.42), turn),
    "triangle": lambda turn: ring(3, (1.0,), turn),
}


def scene(seed: int) -> tuple[Image.Image, list[tuple[str, np.ndarray]]]:
    """A picture, and what is in it: each shape's name and the (height, width) bool mask of what is seen of it."""
    random = np.random.default_rng(seed)
    width, height = (int(side) for side in random.integers(*SIDES, 2, endpoint=True))
    picture = ground(width, height, random)
    shapes: list[tuple[str, np.ndarray]] = []
    for _ in range(random.integers(1, MOST, endpoint=True)):
        name, radius = str(random.choice(list(SHAPES))), random.uniform(*RADII)
        x, y = random.uniform(radius, width - radius), random.uniform(radius, height - radius)
        outline = [(x + radius * px, y + radius * py) for px, py in SHAPES[name](random.uniform(0, 2 * math.pi))]
        mask = filled(outline, width, height)
        if any((seen & mask).sum() > (1 - LEAST_SEEN) * seen.sum() for _, seen in shapes):
            continue
        paint(picture, outline, random)
        shapes = [(other, seen & ~mask) for other, seen in shapes] + [(name, mask)]
    noise = random.normal(0, random.uniform(2, 12), (height, width, 3))
    pixels = np.clip(np.asarray(picture, dtype=float) + noise, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels), shapes


def ground(width: int, height: int, random: Generator) -> Image.Image:
    """A slope from one colour to another, and clutter on it: strokes and dots."""
    start, end = random.uniform(40, 215, (2, 1, 1, 3))
    slope = np.linspace(0, 1, width)[None, :, None] * np.ones((height, 1, 1))
    picture = Image.fromarray((start + (end - start) * slope).astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    for _ in range(random.integers(2, 8)):
        x, y, dx, dy = random.uniform((0, 0, -50, -50), (width, height, 50, 50))
        pen.line([(x, y), (x + dx, y + dy)], colour(random), width=int(random.integers(1, 4)))
    for _ in range(random.integers(4, 20)):
        x, y, radius = random.uniform((0, 0, 0.5), (width, height, 3))
        pen.ellipse([x - radius, y - radius, x + radius, y + radius], colour(random))
    return picture


def paint(picture: Image.Image, outline: Points, random: Generator) -> None:
    """Fill the outline with a colour that stands out from what is below its middle."""
    below = np.array(picture.getpixel(tuple(int(np.mean(axis)) for axis in zip(*outline, strict=True))), dtype=float)
    shade = colour(random)
    while np.abs(np.array(shade) - below).max() < 60:
        shade = colour(random)
    ImageDraw.Draw(picture).polygon(outline, shade)


def filled(outline: Points, width: int, height: int) -> np.ndarray:
    mask = Image.new("1", (width, height))
    ImageDraw.Draw(mask).polygon(outline, 1)
    return np.array(mask)


def colour(random: Generator) -> tuple[int, ...]:
    return tuple(int(value) for value in random.integers(0, 256, 3))
