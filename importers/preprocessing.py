"""How a picture is read for an imported network: what is usual for it, changed by flags, and said aloud."""

import math
from argparse import Namespace
from dataclasses import dataclass, replace
from typing import Any

from importers.found import ImportRefused
from model_defs.build import build
from model_defs.exact_image import INTERPOLATIONS
from model_defs.image_file import CHANNELS
from model_defs.transform import Transform
from model_defs.vision import IMAGENET

CLASS_PATH = "model_defs.exact_image.ExactImageTransform"
MAX_SIDE = 4096  # pixels
FLAGS = ("squash", "resize", "crop", "interpolation", "mean", "std", "upright")  # that `chosen` follows


@dataclass(frozen=True)
class Preprocessing:
    """Torchvision's `Resize`, `CenterCrop` and `Normalize`.

    Args:
        resize: the shorter side, or height and width.
        crop: the side of the square in the middle; None takes all.
        mean, std: one number per channel.
        upright: whether a picture is turned as its EXIF says.
        mode: "RGB", or "L" for grey.
    """

    resize: int | tuple[int, int] = 256
    crop: int | None = 224
    interpolation: str = "bilinear"
    mean: tuple[float, ...] = tuple(IMAGENET[0])
    std: tuple[float, ...] = tuple(IMAGENET[1])
    upright: bool = False
    mode: str = "RGB"

    def spec(self) -> dict[str, Any]:
        """The transform's `{class_path, init_args}`. Mean and deviation are the network's."""
        resize = list(self.resize) if isinstance(self.resize, tuple) else self.resize
        arguments = {"resize": resize, "crop": self.crop or 0, "interpolation": self.interpolation, "upright": self.upright}
        return {"class_path": CLASS_PATH, "init_args": arguments | ({} if self.mode == "RGB" else {"mode": self.mode})}

    def variants(self) -> dict[str, Transform]:
        """Transforms that people use, by the flags that choose them; this one is not among them."""
        return {flags: build(other.spec()) for flags, other in self.others().items()}

    def others(self) -> dict[str, "Preprocessing"]:
        """The same without their transforms."""
        side = self.crop or max(self.resize)
        others = {
            "--resize 256": replace(self, resize=256, crop=side),
            "--resize 232": replace(self, resize=232, crop=side),
            f"--squash {side}": replace(self, resize=(side, side), crop=None),
            f"--resize {side}": replace(self, resize=side, crop=side),
            "--upright": replace(self, upright=True),
            **{f"--interpolation {name}": replace(self, interpolation=name) for name in ("bilinear", "bicubic", "nearest")},
        }
        return {flags: other for flags, other in others.items() if other != self}


def chosen(flags: Namespace, usual: dict[str, Any], is_grey: bool = False) -> Preprocessing:
    """What is usual for the network, with what the flags say otherwise.

    Raises:
        ImportRefused: a flag's value that no picture can be read with, or two flags of which one would count.
    """
    if flags.squash is not None and flags.resize is not None:
        raise ImportRefused("--squash and --resize both say the size of a picture; give one of them")
    seen = Preprocessing(**{name: tuple(value) if isinstance(value, list) else value for name, value in usual.items()})
    if flags.squash is not None:
        seen = replace(seen, resize=(flags.squash, flags.squash), crop=None)
    changed = {name: getattr(flags, name) for name in ("resize", "crop", "interpolation") if getattr(flags, name) is not None}
    changed |= {name: tuple(getattr(flags, name)) for name in ("mean", "std") if getattr(flags, name)}
    seen = replace(seen, **changed, upright=bool(flags.upright), mode="L" if is_grey else "RGB")
    sides = [*(seen.resize if isinstance(seen.resize, tuple) else [seen.resize]), seen.crop or 1]
    if not all(1 <= side <= MAX_SIDE for side in sides):
        raise ImportRefused(f"a picture of {max(sides)} pixels: give --resize, --crop and --squash from 1 to {MAX_SIDE}")
    if seen.interpolation not in INTERPOLATIONS:
        raise ImportRefused(f"--interpolation {seen.interpolation}: take one of {', '.join(INTERPOLATIONS)}")
    channels = CHANNELS[seen.mode]
    is_finite = all(map(math.isfinite, (*seen.mean, *seen.std)))
    if len(seen.mean) != channels or len(seen.std) != channels or not all(seen.std) or not is_finite:
        raise ImportRefused(
            f"--mean and --std take {channels} number{'s' * (channels > 1)} each, of which no deviation is 0: "
            f"--mean{' 0.5' * channels}"
        )
    return seen


def described(seen: Preprocessing, source: str, flags: Namespace) -> list[str]:
    """The lines that say how pictures are read."""
    is_changed = any((flags.squash, flags.resize, flags.crop, flags.interpolation, flags.mean, flags.std))
    size = f"squashed to {seen.resize[0]} x {seen.resize[1]}" if isinstance(seen.resize, tuple) else f"shorter side {seen.resize}"
    middle = f", the middle {seen.crop}" if seen.crop else ""
    numbers = "ImageNet's mean" if list(seen.mean) == IMAGENET[0] else f"mean {list(seen.mean)}, deviation {list(seen.std)}"
    from_where = "your flags; the rest " + source if is_changed else f"{source}; --resize, --crop, --squash ... to say otherwise"
    turned = "turned pictures are held upright" if seen.upright else "turned pictures stay turned (--upright to turn them)"
    return [
        f"pictures: {size}{middle}, {seen.interpolation}, {numbers}   ({from_where})",
        f"as Pillow's convert({seen.mode!r}) reads them: {turned}, transparency is dropped",
    ]
