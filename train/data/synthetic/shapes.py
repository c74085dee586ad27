"""Synthetic pictures: shapes of any colour, size and rotation on a noisy background with strokes and dots.

The same seed gives the same bytes.
"""

import math

import numpy as np
from PIL import Image, ImageDraw

SIDES = (96, 160)  # width and height of a picture, from and to, pixels
RADII = (10, 26)  # of a shape, from and to, pixels
MAX_SHAPES = 4  # shapes per picture
LEAST_VISIBLE = 0.7  # of each shape: a new one that would hide more of another is not drawn
Generator = np.random.Generator
Points = list[tuple[float, float]]


def ring(count: int, radii: tuple[float, ...], turn: float) -> Points:
    """`count` points around the origin. Their distances from it cycle through `radii`."""
    points = []
    for index in range(count):
        angle, radius = turn + 2 * math.pi * index / count, radii[index % len(radii)]
        points.append((radius * math.cos(angle), radius * math.sin(angle)))
    return points


SHAPES = {  # rotation in radians -> outline within a circle of radius 1
    "circle": lambda turn: ring(40, (0.9,), turn),
    "cross": lambda turn: ring(12, (1.0, 1.0, 0.42), turn),
    "square": lambda turn: ring(4, (1.0,), turn),
    "star": lambda turn: ring(10, (1.0, 0.42), turn),
    "triangle": lambda turn: ring(3, (1.0,), turn),
}


def scene(seed: int) -> tuple[Image.Image, list[tuple[str, np.ndarray]]]:
    """A picture, and for each shape its name and the (height, width) bool mask of its visible part."""
    random = np.random.default_rng(seed)
    width, height = (int(side) for side in random.integers(*SIDES, 2, endpoint=True))
    picture = background(width, height, random)
    shapes: list[tuple[str, np.ndarray]] = []
    for _ in range(random.integers(1, MAX_SHAPES, endpoint=True)):
        name, radius = str(random.choice(list(SHAPES))), random.uniform(*RADII)
        x, y = random.uniform(radius, width - radius), random.uniform(radius, height - radius)
        outline = [(x + radius * px, y + radius * py) for px, py in SHAPES[name](random.uniform(0, 2 * math.pi))]
        mask = filled(outline, width, height)
        if any((seen & mask).sum() > (1 - LEAST_VISIBLE) * seen.sum() for _, seen in shapes):
            continue
        paint(picture, outline, random)
        shapes = [(other, seen & ~mask) for other, seen in shapes] + [(name, mask)]
    noise = random.normal(0, random.uniform(2, 12), (height, width, 3))
    pixels = np.clip(np.asarray(picture, dtype=float) + noise, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels), shapes


def background(width: int, height: int, random: Generator) -> Image.Image:
    """A gradient from one colour to another, with strokes and dots on it."""
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
    """Fill the outline with a colour that differs from the one below its centre."""
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
