"""Examples that Hypothesis draws, from a fixed seed: the same ones each time."""

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, given, seed, settings


def drawn(strategy: st.SearchStrategy, count: int) -> list:
    """Up to so many."""
    found = []

    @seed(0)
    @settings(max_examples=count, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(strategy)
    def collect(example):
        found.append(example)

    collect()
    return found
