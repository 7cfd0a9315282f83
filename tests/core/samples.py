"""Data for the tests of the core: shapes of distributions, packed columns and references made of them."""

from collections.abc import Callable, Sequence
from itertools import count

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from driftline.core.columns import Columns
from driftline.core.reference import Reference, build_reference
from driftline.core.schema import Dtype, Feature, Kind, Schema
from driftline.core.window import DAY

SHAPES: dict[str, Callable[[Generator, int], NDArray[np.float64]]] = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "lognormal": lambda rng, n: rng.lognormal(0, 1, n),
    "cauchy": lambda rng, n: rng.standard_cauchy(n),
    "exponential": lambda rng, n: rng.exponential(1, n),
    "uniform": lambda rng, n: rng.random(n),
    "bimodal": lambda rng, n: np.where(rng.random(n) < 0.5, rng.normal(-3, 0.5, n), rng.normal(3, 1, n)),
    "zero-inflated": lambda rng, n: np.where(rng.random(n) < 0.6, 0, rng.exponential(1, n)),
    "integers": lambda rng, n: rng.poisson(20, n).astype(float),
    "large integers": lambda rng, n: rng.integers(0, 1000, n).astype(float),
    "power law": lambda rng, n: np.minimum(rng.zipf(1.5, n), 1e6).astype(float),
    "cents": lambda rng, n: np.round(rng.lognormal(2, 0.7, n), 2),
    "heavy ties": lambda rng, n: np.round(rng.standard_normal(n) * 50) / 50,
    "atoms in a continuum": lambda rng, n: np.where(
        rng.random(n) < 0.5, rng.integers(0, 50, n) / 10, rng.normal(2.5, 1, n)
    ),
    "far from zero": lambda rng, n: rng.normal(1e6, 0.5, n),
    "constant": lambda rng, n: np.full(n, 7.0),
}


def make_schema(
    narrow: int = 0, wide: int = 0, categories: int = 0, segments: Sequence[str] = (), **more: str
) -> Schema:
    """A schema of features x0 … (float32), y0 … (float64) and c0 … (categories); nothing is predicted."""
    return Schema(
        (
            *(Feature(f"x{i}", Kind.NUMERIC) for i in range(narrow)),
            *(Feature(f"y{i}", Kind.NUMERIC, Dtype.FLOAT64) for i in range(wide)),
            *(Feature(f"c{i}", Kind.CATEGORICAL) for i in range(categories)),
        ),
        segments=tuple(segments),
        **more,
    )


def make_columns(
    narrow: Sequence[ArrayLike] = (),
    wide: Sequence[ArrayLike] = (),
    categories: Sequence[Sequence[str | None] | NDArray[np.str_]] = (),
) -> Columns:
    """Pack one array a feature, in the order of `make_schema`; prediction and score are missing."""
    rows = len(next(iter([*narrow, *wide, *categories])))  # type: ignore[arg-type]
    absent = np.full(rows, np.nan)
    tables: list[tuple[str, ...]] = []
    codes = np.zeros((rows, len(categories)), np.int32)
    for c, values in enumerate(categories):
        place: dict[str, int] = {}
        numbers = count()
        for value in values:
            if value is not None and value not in place:
                place[value] = next(numbers)
        tables.append(tuple(map(str, place)))
        codes[:, c] = [len(place) if value is None else place[value] for value in values]
    with np.errstate(over="ignore"):
        return Columns(
            np.array(narrow, np.float32).reshape(len(narrow), rows).T,
            np.array([*wide, absent, absent], np.float64).T,
            codes,
            tuple(tables),
        )


def make_reference(
    columns: Columns,
    schema: Schema,
    times: NDArray[np.int64] | None = None,
    *,
    window_length: int = DAY,
    window_rows: float | None = None,
) -> Reference:
    """Build a reference from rows in memory."""
    return build_reference(
        lambda: [(columns, times)], schema, window_length=window_length, window_rows=window_rows
    )
