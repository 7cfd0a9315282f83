"""Data to compare: a reference like a fraud model's, and the same with known changes."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest


def make_frame(rows: int = 2000, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "amount": rng.lognormal(3, 0.8, rows),
            "age": rng.integers(18, 90, rows),
            "country": rng.choice(["DE", "FR", "NL"], rows, p=[0.6, 0.3, 0.1]),
            "member": rng.random(rows) < 0.3,
            "signed_up": pd.Timestamp("2025-01-01") + pd.to_timedelta(rng.integers(0, 7_000_000, rows), unit="s"),
        }
    )


@pytest.fixture(scope="session")
def reference() -> pd.DataFrame:
    return make_frame(5000, seed=1)


@pytest.fixture(scope="session")
def same() -> pd.DataFrame:
    return make_frame(2000, seed=2)


@pytest.fixture(scope="session")
def drifted() -> pd.DataFrame:
    """`amount` doubled, `country` with 20 % of a new value, `age` with 30 % missing; the others as before."""
    frame = make_frame(2000, seed=3)
    rng = np.random.default_rng(4)
    frame["amount"] *= 2
    frame["country"] = frame["country"].where(rng.random(2000) > 0.2, "PL")
    frame["age"] = frame["age"].astype(float).where(rng.random(2000) > 0.3)
    return frame


@pytest.fixture(scope="session")
def make() -> Callable[..., pd.DataFrame]:
    return make_frame
