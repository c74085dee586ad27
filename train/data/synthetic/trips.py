"""Trips that are made up here: how somebody would travel, by what is known of them and of the day.

A discrete choice: each way has a worth, and chance adds its share to it, as in a logit model (D. McFadden, 1973). Deterministic:
the same seed gives the same trip. Knows nothing of splits.
"""

import numpy as np

WAYS = ("walk", "bicycle", "bus", "car")
PURPOSES = ("work", "school", "shopping", "visit")
UNKNOWN = 0.03  # of the trips, for each column that people do not always tell
SURE = 6.0  # how much more the worths count than chance does


def trip(seed: int) -> tuple[dict, str, str]:
    """A row, how it was travelled, and how it most likely would be."""
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
    worth = SURE * worths(row)
    chosen, likeliest = WAYS[int((worth + random.gumbel(size=len(WAYS))).argmax())], WAYS[int(worth.argmax())]
    for name in ("age", "purpose"):
        if random.random() < UNKNOWN:
            row[name] = None
    return row, chosen, likeliest


def worths(row: dict) -> np.ndarray:
    """What each way is worth to the traveller, (4,)."""
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
