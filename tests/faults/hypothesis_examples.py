"""Examples of a Hypothesis strategy, from a fixed seed.

Hypothesis also takes constants from the modules that are loaded, so another selection of tests may get other examples.
"""

from typing import TypeVar

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, given, seed, settings

T = TypeVar("T")


def examples(strategy: st.SearchStrategy[T], count: int) -> list[T]:
    """At most `count` examples."""
    found: list[T] = []

    @seed(0)
    @settings(max_examples=count, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(strategy)
    def collect(example: T) -> None:
        found.append(example)

    collect()
    return found
