"""Hourly demand that is made up here: a level, a trend, a day's shape that changes slowly, what lasts a while, and noise.

Deterministic: the same seed gives the same series. Knows nothing of splits.
"""

import numpy as np

DAY = 24  # steps


def demand(seed: int, length: int) -> list[float]:
    """`length` values, one an hour, with a season of a day."""
    random = np.random.default_rng(seed)
    hours = np.arange(length)
    level, slope = random.uniform(40, 80), random.uniform(-8, 8)
    shape = np.zeros(length)
    for harmonic in (1, 2, 3):
        drift = 1 + 0.3 * np.sin(2 * np.pi * hours / random.uniform(300, 900) + random.uniform(0, 2 * np.pi))
        shape += (
            random.uniform(2, 12) / harmonic * drift * np.sin(2 * np.pi * harmonic * hours / DAY + random.uniform(0, 2 * np.pi))
        )
    lasting = np.zeros(length)  # weather, say: nine tenths of it are still there an hour later
    for hour in range(1, length):
        lasting[hour] = 0.9 * lasting[hour - 1] + random.normal(0, 1.2)
    made = level + slope * hours / length + shape + lasting + random.normal(0, 1.5, length)
    return [round(float(value), 2) for value in made]
