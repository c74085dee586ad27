"""Maps as pictures: red raises the score, blue lowers it, clipped at a percentile so that one strong pixel darkens nothing."""

import numpy as np
from PIL import Image

from model_defs.postprocess import png_base64

CLIPPED = 98  # the percentile of the absolute values from which on a colour is full
RED, BLUE, GREY = (214, 39, 40), (31, 119, 180), (127, 127, 127)
MAX_PIXELS = 640  # the longer side of an overlay


def full(values: np.ndarray) -> float:
    """The value at which a colour is full."""
    strength = np.abs(values)
    return float(np.percentile(strength, CLIPPED)) or float(strength.max()) or 1.0


def heatmap(values: np.ndarray) -> dict:
    """(height, width) -> `heatmap`, a grey PNG in which 128 is nothing, 255 adds `scale` or more and 1 takes it away."""
    scale = full(values)
    levels = 128 + 127 * np.clip(values / scale, -1, 1)
    return {"heatmap": png_base64(levels.round().astype(np.uint8)), "scale": round(scale, 9)}


def coloured(values: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """(height, width) -> an RGBA picture of that width and height: red and blue, the more opaque the stronger."""
    shares = np.clip(values / full(values), -1, 1)
    pixels = np.zeros((*shares.shape, 4), np.uint8)
    pixels[..., :3] = np.where(shares[..., None] > 0, RED, BLUE)
    pixels[..., 3] = (230 * np.abs(shares) ** 0.7).astype(np.uint8)
    return Image.fromarray(pixels, "RGBA").resize(size, Image.Resampling.BILINEAR if min(size) > 64 else Image.Resampling.NEAREST)


def overlay(picture: Image.Image, values: np.ndarray, region: tuple[int, int, int, int]) -> Image.Image:
    """The map over the picture, pale and grey below it. What the network did not see is darker.

    Args:
        picture: upright.
        values: (height, width), of the region.
        region: left, upper, right and lower edge in the picture's pixels. It may reach beyond the picture.
    """
    scale = min(1.0, MAX_PIXELS / max(picture.size)) if max(picture.size) > MAX_PIXELS else max(1, 224 // max(picture.size))
    size = tuple(max(1, round(side * scale)) for side in picture.size)
    left, upper, right, lower = (round(edge * scale) for edge in region)
    ground = picture.convert("L").resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BILINEAR)
    pale = ground.point([110 + level * 145 // 255 for level in range(256)]).convert("RGB")
    drawn = pale.point([level // 2 for level in range(256)] * 3)
    drawn.paste(pale.crop((max(0, left), max(0, upper), right, lower)), (max(0, left), max(0, upper)))
    colours = coloured(values, (max(1, right - left), max(1, lower - upper)))
    drawn.paste(colours, (left, upper), colours)
    return drawn


def as_png(picture: Image.Image) -> str:
    """A picture as a PNG in base64."""
    import base64
    import io

    file = io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
