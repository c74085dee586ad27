"""The extra `media`: kinds of files that are read only where pillow-heif and PyAV are installed.

Both packages are optional, so they are imported by name: an archive does not need them, and does not list them.
"""

import importlib
import importlib.util

EXTRA = "make setup EXTRAS=media on the server"
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")  # ISO/IEC 23008-12, behind "ftyp"
SOUND_SUFFIXES = {".webm", ".mka", ".mp4", ".m4a", ".amr", ".aac"}


def has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def register_heif() -> None:
    """Let Pillow open HEIC pictures, if pillow-heif is installed."""
    if has("pillow_heif"):
        importlib.import_module("pillow_heif").register_heif_opener(thumbnails=False)


def is_heic(payload: bytes) -> bool:
    return payload[4:8] == b"ftyp" and payload[8:12] in HEIC_BRANDS
