"""A model of 500 features of mixed shapes, from which references and windows are drawn."""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from driftline.core.column import compact
from driftline.core.columns import Columns
from driftline.core.reference import Reference, build_reference
from driftline.core.schema import Feature, Kind, Schema
from driftline.core.window import DAY

SHAPES: dict[str, Callable[[Generator, tuple[int, int]], NDArray[np.floating]]] = {
    "normal": lambda rng, size: rng.standard_normal(size, np.float32),
    "lognormal": lambda rng, size: np.exp(rng.standard_normal(size, np.float32)),
    "heavy-tailed": lambda rng, size: np.tan(np.pi * (rng.random(size, np.float32) - 0.5)),
    "uniform": lambda rng, size: rng.random(size, np.float32),
    "exponential": lambda rng, size: rng.standard_exponential(size, np.float32),
    "bimodal": lambda rng, size: rng.standard_normal(size, np.float32) + 6 * (rng.random(size, np.float32) < 0.3),
    "zero-inflated": lambda rng, size: np.where(
        rng.random(size, np.float32) < 0.6, 0, rng.standard_exponential(size, np.float32)
    ),
    "counts": lambda rng, size: np.floor(rng.standard_exponential(size, np.float32) * 4),
    "flag": lambda rng, size: rng.random(size, np.float32) < 0.03,
    "cents": lambda rng, size: np.round(np.exp(rng.standard_normal(size, np.float32)) * 20, 2),
}
NUMERIC = 400
CATEGORIES = (2, 5, 20, 100, 1000)
"""Numbers of categories; the k-th most frequent comes up in proportion to 1 / k."""

MISSING = 0.03
"""Share of missing values in every second feature."""

SCHEMA = Schema(
    (
        *(Feature(f"number {i:03}", Kind.NUMERIC) for i in range(NUMERIC)),
        *(Feature(f"category {i:03}", Kind.CATEGORICAL) for i in range(100)),
    )
)


def draw_columns(rng: Generator, rows: int) -> Columns:
    """Draw rows of all features; features 0, 10, 20 … are normal, and so on in the order of `SHAPES`."""
    block = np.empty((rows, NUMERIC), np.float32)
    for i, make in enumerate(SHAPES.values()):
        block[:, i :: len(SHAPES)] = make(rng, (rows, NUMERIC // len(SHAPES)))
    hole = rng.random((rows, NUMERIC // 2), np.float32) < MISSING
    block[:, 1::2][hole] = np.nan
    codes = np.empty((rows, 100), np.int32)
    tables = []
    for c in range(100):
        size = CATEGORIES[c % len(CATEGORIES)]
        cumulative = np.cumsum(1 / np.arange(1, size + 1))
        drawn = np.searchsorted(cumulative, rng.random(rows) * cumulative[-1])
        codes[:, c], table = compact(drawn, [f"v{code}" for code in range(size)])
        tables.append(table)
    return Columns(block, np.full((rows, 2), np.nan), codes, tuple(tables))


def draw_reference(rng: Generator, rows: int, window_rows: int) -> Reference:
    """Build the reference of windows that bring so many rows each."""
    columns = draw_columns(rng, rows)
    return build_reference(lambda: [(columns, None)], SCHEMA, window_length=DAY, window_rows=window_rows)
