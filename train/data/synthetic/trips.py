"""Synthetic trips: by which mode a person travels, given the trip, the person and the weather.

Each mode has a utility with Gumbel noise, as in a logit model of discrete choice (D. McFadden, 1973). The same seed gives the
same trip.
"""

import numpy as np

MODES = ("walk", "bicycle", "bus", "car")
PURPOSES = ("work", "school", "shopping", "visit")
UNKNOWN = 0.03  # the share of empty cells in the columns that people do not always fill
SCALE = 6.0  # of the utilities; the noise has scale 1


def trip(seed: int) -> tuple[dict, str, str]:
    """A row, the mode that was chosen, and the most likely mode."""
    random = np.random.default_rng(seed)
    temperature = random.normal(10, 9)
    row = {
        "distance_km": round(float(random.lognormal(1.0, 0.9)), 1),
        "age": int(random.integers(6, 90)),
        "temperature": round(float(temperature), 1),
        "weather": str(random.choice(["dry", "rain" if temperature > 1 else "snow"], p=[0.6, 0.4])),
        "purpose": str(random.choice(PURPOSES)),
        "car": "no" if random.random() < 0.4 else "yes",
    }
    utility = SCALE * utilities(row)
    chosen, likeliest = MODES[int((utility + random.gumbel(size=len(MODES))).argmax())], MODES[int(utility.argmax())]
    for name in ("age", "purpose"):
        if random.random() < UNKNOWN:
            row[name] = None
    return row, chosen, likeliest


def utilities(row: dict) -> np.ndarray:
    """(4,): of each mode."""
    distance, age, is_wet = row["distance_km"], row["age"], row["weather"] != "dry"
    cold = max(0.0, 12 - row["temperature"]) / 10
    return np.array(
        [
            2.4 - 1.3 * distance - 0.4 * is_wet - 0.5 * (row["purpose"] == "shopping"),
            1.6 - 0.22 * distance - 0.8 * cold - 1.2 * is_wet - 2.0 * (age > 70) - 1.5 * (row["weather"] == "snow"),
            -0.2 + 0.03 * distance + 1.2 * (row["purpose"] == "school") + 0.4 * is_wet + 0.5 * (age > 70),
            (0.8 + 0.05 * distance + 0.8 * (row["purpose"] == "shopping") - 3.0 * (age < 18)) if row["car"] == "yes" else -9.0,
        ]
    )
