"""The requests of a run: valid and invalid ones to all models, in the same order in each run."""

import contextlib
import itertools
import os
import random
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.bundle import Bundle
from tests.faults.invalid_payloads import file_cases, text_cases
from tests.faults.malformed_requests import malformed_requests
from tests.faults.request_case import RequestCase
from tests.faults.valid_requests import OfflineModel, valid_requests

MODELS = ("digits", "sounds", "intents")
REQUESTS_PER_EXAMPLE, FEWEST_EXAMPLES = 150, 10  # of each random kind


def traffic_mix(bundle: Bundle, count: int, invalid_share: float) -> list[RequestCase]:
    """
    Args:
        count: of all requests.
        invalid_share: the share of requests that the server must refuse, the same number of each kind. Requests that only look
            wrong are among the valid ones, each once.
    """
    rng = random.Random(0)
    models = [OfflineModel(bundle.artifacts / name) for name in MODELS]
    examples = max(FEWEST_EXAMPLES, count // REQUESTS_PER_EXAMPLE)
    special = special_cases(bundle.artifacts, examples, bundle.setting("max_request_size"))
    invalid = in_turn([case for case in special if not case.is_valid], round(invalid_share * count), rng)
    odd_but_valid = [case for case in special if case.is_valid]
    odd_but_valid = rng.sample(odd_but_valid, min(len(odd_but_valid), round(invalid_share * count)))
    cases = invalid + odd_but_valid + valid_requests(models, count - len(invalid) - len(odd_but_valid), rng)
    rng.shuffle(cases)
    return cases


@cache
def special_cases(artifacts: Path, each: int, limit: int) -> list[RequestCase]:
    """Every kind of request that is wrong or looks wrong.

    Args:
        each: the number of examples of each random kind.
        limit: the largest body, in bytes.
    """
    digits, sounds, intents = models = [OfflineModel(artifacts / name) for name in MODELS]
    with silenced(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [
            *file_cases(digits, sounds, each),
            *text_cases(intents, each),
            *malformed_requests(models, each, limit),
        ]


def in_turn(cases: list[RequestCase], count: int, rng: random.Random) -> list[RequestCase]:
    """One case of each kind in turn. A kind that has no more cases starts again with its first."""
    kinds: dict[str, list[RequestCase]] = {}
    for case in rng.sample(cases, len(cases)):
        kinds.setdefault(case.kind, []).append(case)
    turns = zip(*map(itertools.cycle, kinds.values()), strict=True)
    return list(itertools.islice(itertools.chain.from_iterable(turns), count))


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Discard the warnings that libtiff and mpg123 write straight to the terminal."""
    kept = [os.dup(1), os.dup(2)]
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 1), os.dup2(null, 2)
        yield
    finally:
        os.dup2(kept[0], 1), os.dup2(kept[1], 2)
        for descriptor in (*kept, null):
            os.close(descriptor)
