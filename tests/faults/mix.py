"""Which requests a run sends: good and bad ones of all models, in an order that is the same each time."""

import contextlib
import itertools
import os
import random
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.bundle import Bundle
from tests.faults import bad, wire
from tests.faults.case import Case
from tests.faults.good import Offline, good

MODELS = ("digits", "sounds", "intents")
DRAWN, FEWEST = 150, 10  # one example of each kind that is drawn for so many requests, and at least so many examples


def mixed(bundle: Bundle, count: int, share: float) -> list[Case]:
    """
    Args:
        count: of all requests.
        share: of those that must be refused, of each kind as many as of any other. What only looks bad comes among the good
            ones, each once.
    """
    rng = random.Random(0)
    models = {name: Offline(bundle.artifacts / name) for name in MODELS}
    made = all_kinds(bundle.artifacts, max(FEWEST, count // DRAWN), bundle.setting("max_request_size"))
    refused = in_turn([case for case in made if not case.is_good], round(share * count), rng)
    odd = [case for case in made if case.is_good]
    looking_bad = rng.sample(odd, min(len(odd), round(share * count)))
    cases = refused + looking_bad + good(list(models.values()), count - len(refused) - len(looking_bad), rng)
    rng.shuffle(cases)
    return cases


@cache
def all_kinds(artifacts: Path, each: int, limit: int) -> list[Case]:
    models = {name: Offline(artifacts / name) for name in MODELS}
    with silenced(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [
            *bad.of_files(models["digits"], models["sounds"], each),
            *bad.of_texts(models["intents"], each),
            *wire.cases(list(models.values()), each, limit),
        ]


def in_turn(cases: list[Case], count: int, rng: random.Random) -> list[Case]:
    """One of each kind after the other, from the start again where a kind has no more."""
    kinds: dict[str, list[Case]] = {}
    for case in rng.sample(cases, len(cases)):
        kinds.setdefault(case.kind, []).append(case)
    turns = zip(*map(itertools.cycle, kinds.values()), strict=True)
    return list(itertools.islice(itertools.chain.from_iterable(turns), count))


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """libtiff and mpg123 write their complaints to the terminal themselves."""
    kept = [os.dup(1), os.dup(2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1), os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept[0], 1), os.dup2(kept[1], 2)
        for descriptor in (*kept, nowhere):
            os.close(descriptor)
