"""What a training says of data that it does not use as it is: one line each."""

from collections.abc import Iterable, Sequence

from lightning.pytorch.utilities import rank_zero_only

MAX_NAMED = 5


@rank_zero_only
def tell(line: str) -> None:
    """Print the line, in the first process of a training alone."""
    print(line, flush=True)


def tell_left_out(parts: Iterable[str]) -> None:
    """`left out: 9 .heic in train/dog, 2 .txt in train/cat`; nothing if nothing is left out."""
    if parts := list(parts):
        tell(f"left out: {first_few(parts)}")


def first_few(parts: Sequence[str], most: int = MAX_NAMED) -> str:
    more = f" and {len(parts) - most:,} more" if len(parts) > most else ""
    return ", ".join(parts[:most]) + more
