"""From a picture file's bytes to its pixels, upright and in the mode that a network takes.

Knows nothing of what part of the picture a network sees, nor of HTTP.
"""

import io
import logging

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps
from torch import Tensor, nn

from model_defs.errors import TooLarge, Unreadable, WrongKind
from model_defs.transform import Transform

log = logging.getLogger(__name__)
Image.init()
# EPS starts Ghostscript on the caller's file: a program of its own, that no limit here reaches. IPTC may hold an EPS.
FORMATS = sorted(set(Image.OPEN) - {"EPS", "IPTC"})
EPS = (b"%!PS", b"\xc5\xd0\xd3\xc6")  # the first four bytes: plain, and with a preview for DOS
CHANNELS = {"L": 1, "RGB": 3}
TURNED = (5, 6, 7, 8)  # EXIF orientations that change width and height with each other


class ImageFileTransform(Transform):
    """What the transforms of pictures share: from a picture file's bytes to its pixels, upright.

    Args:
        size: of what the network sees, in pixels.
        mode: "RGB", or "L" for grey.
        max_pixels: more than this in the file's header is refused before a pixel is decoded.
    """

    def __init__(self, size: int, mode: str, max_pixels: int):
        if mode not in CHANNELS:
            raise ValueError(f"mode {mode!r} is not one of {', '.join(CHANNELS)}")
        self.size, self.mode, self.max_pixels = size, mode, max_pixels

    def upright(self, payload: bytes, wanted: int) -> tuple[Image.Image, tuple[int, int]]:
        """The decoded picture, and the width and height that it has in the file; both as its EXIF says that it be held.

        Args:
            wanted: pixels that the shorter side needs; a JPEG may be decoded no larger than that, at 1/2, 1/4 or 1/8.

        Raises:
            Unreadable: not a picture, or one that ends early or is corrupt.
            TooLarge: more than `max_pixels`.
            WrongKind: EPS, which is a program rather than a picture.
        """
        picture = self.open(payload)
        given = picture.size
        try:
            picture.draft(None, (wanted, wanted))
            is_smaller = picture.size != given
            picture.load()
            is_turned = turn_upright(picture)
            upright = flatten(picture, self.mode)
        except MemoryError:
            raise
        except Image.DecompressionBombError:  # an icon whose picture is larger than its own header says
            raise self.too_large() from None
        except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error, ValueError, IndexError ...
            raise Unreadable(reason(error, picture.format, len(payload))) from error
        if not is_smaller:
            return upright, upright.size
        return upright, given[::-1] if is_turned else given

    def open(self, payload: bytes) -> Image.Image:
        """The picture with its header read and its pixels not yet decoded."""
        if not payload:
            raise Unreadable("the body is empty; send the bytes of a picture file")
        if payload[:4] in EPS:
            raise WrongKind("an EPS file is a program, not a picture; send a JPEG, PNG or WebP file")
        try:
            picture = Image.open(io.BytesIO(payload), formats=FORMATS)
        except Image.DecompressionBombError:
            raise self.too_large() from None
        except MemoryError:
            raise
        except Image.UnidentifiedImageError:
            raise Unreadable(
                f"not a picture: {len(payload):,} bytes in no format that Pillow reads; send a JPEG, PNG or WebP file"
            ) from None
        except Exception as error:
            raise Unreadable(reason(error, None, len(payload))) from error
        if picture.width * picture.height > self.max_pixels:
            raise self.too_large(f"{picture.width:,} x {picture.height:,} pixels")
        return picture

    def too_large(self, given: str = "too many pixels") -> TooLarge:
        return TooLarge(f"{given}; this model takes {self.max_pixels:,} at most: send a smaller picture")

    def facts(self) -> dict:
        return {"channels": CHANNELS[self.mode]}


def resize(picture: Image.Image, box: tuple[int, int, int, int], size: tuple[int, int]) -> Tensor:
    """A part of a picture, "RGB" or "L" -> (channels, *size) uint8, by an antialiased bilinear filter.

    By torch rather than Pillow: it has the same filter for 8-bit pixels in a third of the time (docs/decisions.md).

    Args:
        box: left, upper, right and lower edge in pixels.
        size: height and width.
    """
    left, upper, right, lower = box
    factor = min(right - left, lower - upper) // (2 * min(size))
    # Of what a scaled JPEG left, and of other formats, boxes of pixels are averaged first, to twice the size at least.
    part = picture.reduce(factor, box) if factor > 1 else picture.crop(box)
    pixels = torch.from_numpy(np.array(part)).view(part.height, part.width, -1).permute(2, 0, 1)  # channels first
    return nn.functional.interpolate(pixels[None], size, mode="bilinear", antialias=True)[0]


def reason(error: Exception, format: str | None, length: int) -> str:
    """Pillow's complaint in words for the sender."""
    kind = f"the {format}" if format else "the file"
    if "truncated" in str(error).lower():
        return f"not a picture: {kind} ends after {length:,} bytes; send the whole file"
    return f"not a picture: {kind} cannot be decoded ({error}); send the file as it was saved"


def turn_upright(picture: Image.Image) -> bool:
    """As its EXIF says; where that is broken, as it lies. Whether width and height have changed with each other."""
    try:
        is_turned = picture.getexif().get(ExifTags.Base.Orientation) in TURNED
        ImageOps.exif_transpose(picture, in_place=True)
    except MemoryError:
        raise
    except Exception as error:  # of Pillow's reader of TIFF tags; the pixels are there already
        log.debug("EXIF that cannot be read: %s", error)
        return False
    return is_turned


def flatten(picture: Image.Image, mode: str) -> Image.Image:
    """Any Pillow mode -> `mode`: transparency over white, more than 8 bits scaled to 8 (Pillow would clip them)."""
    if picture.mode.startswith("I") or picture.mode == "F":
        values = np.array(picture, dtype=np.float32)
        values[~((values > 0) & (values < np.inf))] = 0
        values *= 255 / max(values.max(), 1 if picture.mode == "F" else 65_535)
        picture = Image.fromarray(values.astype(np.uint8))
    elif picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new(mode, picture.size, "white")
        white.paste(picture.convert(mode), mask=picture.getchannel("A"))
        picture = white
    elif picture.mode == "LAB":
        picture = picture.convert("RGB")  # the only way out of it that Pillow knows
    return picture if picture.mode == mode else picture.convert(mode)
