"""Synthetic hourly demand: a level, a trend, a daily shape that changes slowly, an AR(1) part, and noise.

The same seed gives the same series.
"""

import numpy as np

DAY = 24  # steps


def demand(seed: int, length: int) -> list[float]:
    """`length` values, one per hour, with a season of a day."""
    random = np.random.default_rng(seed)
    hours = np.arange(length)
    level, slope = random.uniform(40, 80), random.uniform(-8, 8)
    shape = np.zeros(length)
    for harmonic in (1, 2, 3):
        drift = 1 + 0.3 * np.sin(2 * np.pi * hours / random.uniform(300, 900) + random.uniform(0, 2 * np.pi))
        shape += (
            random.uniform(2, 12) / harmonic * drift * np.sin(2 * np.pi * harmonic * hours / DAY + random.uniform(0, 2 * np.pi))
        )
    weather = np.zeros(length)  # AR(1): nine tenths of it are still there an hour later
    for hour in range(1, length):
        weather[hour] = 0.9 * weather[hour - 1] + random.normal(0, 1.2)
    values = level + slope * hours / length + shape + weather + random.normal(0, 1.5, length)
    return [round(float(value), 2) for value in values]
