"""Decode picture files: from a file's bytes to upright pixels, in grey or RGB.

It takes every format that Pillow reads, except those that start another program; and HEIC where the extra `media` is installed.
"""

import contextlib
import io
import logging

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, PngImagePlugin
from torch import Tensor, nn

from model_defs import media_extra
from model_defs.bundle_format import MAX_BODY_BYTES
from model_defs.errors import TooLarge, Unreadable, WrongKind
from model_defs.transform import Transform

log = logging.getLogger(__name__)
Image.init()
media_extra.register_heif()
# Pillow opens EPS with Ghostscript, another program, which no limit of ours reaches. IPTC may contain EPS.
FORMATS = sorted(set(Image.OPEN) - {"EPS", "IPTC"})
EPS = (b"%!PS", b"\xc5\xd0\xd3\xc6")  # the first four bytes of an EPS file: plain, and with a preview for DOS
# Pillow unpacks a PNG's texts and its colour profile along with the pixels. It refuses the whole picture if one of them has more
# than a megabyte, which viewers show. Together the texts may have 64 MiB, Pillow's own limit.
PngImagePlugin.MAX_TEXT_CHUNK = MAX_BODY_BYTES
CHANNELS = {"L": 1, "RGB": 3}
TURNED = (5, 6, 7, 8)  # EXIF orientations that swap width and height


class ImageFileTransform(Transform):
    """The base of transforms of picture files. `is_upright`: whether a picture is turned as its EXIF says.

    Args:
        size: height and width of what the network sees, in pixels.
        mode: "RGB", or "L" for grey.
        max_pixels: a file whose header says more is refused before a pixel is decoded.
    """

    is_upright = True

    def __init__(self, size: int, mode: str, max_pixels: int):
        if mode not in CHANNELS:
            raise ValueError(f"mode {mode!r} is not one of {', '.join(CHANNELS)}")
        self.size, self.mode, self.max_pixels = size, mode, max_pixels

    def upright(self, payload: bytes, wanted: int) -> tuple[Image.Image, tuple[int, int]]:
        """The decoded picture, and its width and height in the file. Both are turned as its EXIF says.

        Args:
            wanted: pixels that the shorter side needs. A larger JPEG is decoded at 1/2, 1/4 or 1/8, down to that size.

        Raises:
            Unreadable: not a picture, or a truncated or corrupt one.
            TooLarge: more than `max_pixels`.
            WrongKind: EPS, which is a program rather than a picture, or HEIC without the extra `media`.
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
        except Image.DecompressionBombError:  # an icon may contain a picture that is larger than its header says
            raise self.too_large() from None
        except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error, ValueError, IndexError and more
            raise Unreadable(reason(error, picture.format, len(payload))) from error
        if not is_smaller:
            return upright, upright.size
        return upright, given[::-1] if is_turned else given

    def open(self, payload: bytes) -> Image.Image:
        """The picture after its header was read, before its pixels are decoded. For the errors see `upright`."""
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
            if media_extra.is_heic(payload) and "HEIF" not in FORMATS:
                after = media_extra.EXTRA
                raise WrongKind(f"a HEIC picture is read only after {after}; or send a JPEG, PNG or WebP file") from None
            raise Unreadable(
                f"not a picture: {len(payload):,} bytes in no format that Pillow reads; send a JPEG, PNG or WebP file"
            ) from None
        except Exception as error:
            raise Unreadable(reason(error, None, len(payload))) from error
        if picture.width * picture.height > self.max_pixels:
            raise self.too_large(f"{picture.width:,} x {picture.height:,} pixels")
        return picture

    def size_of(self, payload: bytes) -> tuple[int, int]:
        """Width and height of the picture in the file, upright if the transform turns it. For the errors see `open`."""
        picture = self.open(payload)
        with contextlib.suppress(Exception):  # a broken EXIF turns nothing; see `turn_upright`
            if self.is_upright and picture.getexif().get(ExifTags.Base.Orientation) in TURNED:
                return picture.height, picture.width
        return picture.size

    def region(self, width: int, height: int) -> tuple[float, float, float, float] | None:
        """Where what the network sees lies in a picture of this size: left, upper, right and lower edge in pixels.

        It may reach beyond the picture. None if the transform does not say.
        """
        return 0, 0, width, height

    def too_large(self, given: str = "too many pixels") -> TooLarge:
        return TooLarge(f"{given}; this model takes {self.max_pixels:,} at most: send a smaller picture")

    def facts(self) -> dict:
        return {"channels": CHANNELS[self.mode]}


def resize(picture: Image.Image, box: tuple[int, int, int, int], size: tuple[int, int]) -> Tensor:
    """A part of an "RGB" or "L" picture -> (channels, *size) uint8, with an antialiased bilinear filter.

    It uses torch, which has the same filter as Pillow for 8-bit pixels and needs a third of the time (docs/decisions.md).

    Args:
        box: left, upper, right and lower edge in pixels.
        size: height and width in pixels.
    """
    left, upper, right, lower = box
    factor = min(right - left, lower - upper) // (2 * min(size))
    # First average boxes of pixels, down to at least twice the final size. That is cheap and keeps the filter's quality.
    part = picture.reduce(factor, box) if factor > 1 else picture.crop(box)
    pixels = torch.from_numpy(np.array(part)).view(part.height, part.width, -1).permute(2, 0, 1)  # (C, H, W)
    return nn.functional.interpolate(pixels[None], size, mode="bilinear", antialias=True)[0]


def reason(error: Exception, format: str | None, length: int) -> str:
    """Pillow's error, in words for the caller.

    Args:
        format: as Pillow names it; None if it found none.
        length: of the payload, in bytes.
    """
    kind = f"the {format}" if format else "the file"
    if "truncated" in str(error).lower():
        return f"not a picture: {kind} ends after {length:,} bytes; send the whole file"
    if "MAX_TEXT_" in str(error):
        return f"the texts or the colour profile in {kind} unpack to more than {MAX_BODY_BYTES:,} bytes; save it without them"
    return f"not a picture: {kind} cannot be decoded ({error}); send the file as it was saved"


def turn_upright(picture: Image.Image) -> bool:
    """Turn the picture in place as its EXIF says; leave it if that is broken. Returns whether width and height were swapped."""
    try:
        is_turned = picture.getexif().get(ExifTags.Base.Orientation) in TURNED
        ImageOps.exif_transpose(picture, in_place=True)
    except MemoryError:
        raise
    except Exception as error:  # Pillow's reader of EXIF tags raises many kinds; the pixels are decoded already
        log.debug("cannot read the EXIF: %s", error)
        return False
    return is_turned


def flatten(picture: Image.Image, mode: str) -> Image.Image:
    """Any Pillow mode -> `mode`. Transparent pixels become white. More than 8 bits are scaled to 8; Pillow would clip them."""
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
        picture = picture.convert("RGB")  # Pillow converts LAB to no other mode
    return picture if picture.mode == mode else picture.convert(mode)
