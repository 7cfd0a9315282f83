"""The rank grid: the cells into which every window of a model version is counted.

For a numeric feature up to 241 edges are placed among the reference's values so that the heaviest cell is as
light as can be: 0.42 % of the reference where no value repeats. A value that alone is heavier (an *atom*: zeros,
flags, integers) has a cell of its own, [v, nextafter(v)), in which nothing else can hide. Beyond the reference's
range lie 8 cells a side of doubling width, so that a distribution that left is still seen moving. For a
categorical feature the cells are the most frequent categories; the last two are "other known" and "never seen".
Two further cells count missing and infinite values.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

from driftline.core.errors import InvalidPayload
from driftline.core.partition import partition_values
from driftline.core.schema import Layout

EDGES = 255
MANY_EDGES = 511
SIZES = (63, EDGES, MANY_EDGES)
FEW_ROWS = 750
MAX_CATEGORIES = 200
MAX_KNOWN = 10_000
_TAIL = 7


@dataclass(frozen=True, slots=True)
class Grid:
    """The cells of all features of one reference, in profile order (see `schema.layout`).

    `edges32` [A, E] and `edges64` [B, E] are ascending, padded with +inf; cell k of a numeric feature holds
    edges[k-1] <= value < edges[k]. `inside` [F, 2] is the range of cells within the reference's range.
    `categories` are the categories with a cell of their own, by falling frequency; `known` the sorted 64-bit
    hashes of the reference's other values (None when there were too many to remember: then nothing is
    "never seen"). `shift` [A + B] is the value around which moments are summed: the reference's mean.
    """

    edges32: NDArray[np.float32]
    edges64: NDArray[np.float64]
    inside: NDArray[np.int16]
    categories: tuple[tuple[str, ...], ...]
    known: tuple[NDArray[np.uint64] | None, ...]
    shift: NDArray[np.float64]
    grid_id: str = ""

    def __post_init__(self) -> None:
        """Name the grid by its content."""
        if not self.grid_id:
            object.__setattr__(self, "grid_id", _digest(self))

    @property
    def numeric(self) -> int:
        """Number of numeric features, which come first."""
        return len(self.edges32) + len(self.edges64)

    @property
    def features(self) -> int:
        """Number of features."""
        return self.numeric + len(self.categories)

    @property
    def cells(self) -> int:
        """Cells for values: 256, or 512 for a reference of few rows, or 64 in a coarse grid."""
        return int(self.edges32.shape[1]) + 1

    @property
    def other(self) -> int:
        """Cell of a category that the reference had, but rarely."""
        return self.cells - 2

    @property
    def unseen(self) -> int:
        """Cell of a category that the reference never had."""
        return self.cells - 1

    @property
    def missing(self) -> int:
        """Cell of missing values."""
        return self.cells

    @property
    def infinite(self) -> int:
        """Cell of infinities."""
        return self.cells + 1

    @property
    def width(self) -> int:
        """Cells of a feature in a profile, those for missing and infinite values included."""
        return self.cells + 2

    def edges(self) -> NDArray[np.float64]:
        """Edges of all numeric features [A + B, E], exact in float64."""
        return np.concatenate([self.edges32.astype(np.float64), self.edges64])


def choose_edges(rows: int) -> int:
    """Choose how many edges the features of a reference of so many rows have.

    Where four rows weigh more than half a percent, more edges keep them apart.
    """
    return EDGES if rows >= FEW_ROWS else MANY_EDGES


def build_edges(
    values: NDArray[np.floating], weights: NDArray[np.int64], edges: int = EDGES
) -> tuple[NDArray[np.floating], tuple[int, int]]:
    """Place the cell edges of one numeric feature.

    `values` are its distinct finite reference values, ascending, already in the dtype of the wire; `weights`
    how often each occurs. Returns the edges [edges] padded with +inf, and the cells inside the range.

    >>> row, inside = build_edges(np.float32([0, 1]), np.array([90, 10]))
    >>> [float(edge) for edge in row[inside[0] - 1 : inside[1]].round(3)], inside
    ([0.0, 0.0, 1.0, 1.0], (8, 11))
    """
    infinite = values.dtype.type(np.inf)
    if not len(values):
        return np.full(edges, infinite, values.dtype), (0, 1)
    begin, end = partition_values(weights, edges - 2 * _TAIL)
    with np.errstate(over="ignore"):
        inner = np.union1d(values[begin], np.nextafter(values[end], infinite))
    span = float(values[-1]) - float(values[0])
    step = span / 32 or abs(float(values[0])) / 32 or 1.0
    reach = step * (2.0 ** np.arange(1, _TAIL + 1) - 1)
    with np.errstate(over="ignore"):
        below = (float(inner[0]) - reach).astype(values.dtype)
        above = (float(inner[-1]) + reach).astype(values.dtype)
    low = np.unique(below[np.isfinite(below) & (below < inner[0])])
    high = np.unique(above[np.isfinite(above) & (above > inner[-1])])
    row = np.concatenate([low, inner, high])
    inside = (len(low) + 1, len(low) + len(inner))
    return np.concatenate([row, np.full(edges - len(row), infinite, values.dtype)]), inside


def build_categories(
    counts: Sequence[tuple[str, int]], limit: int = MAX_CATEGORIES
) -> tuple[tuple[str, ...], NDArray[np.uint64] | None]:
    """Choose the categories with cells of their own, and hash the others.

    `counts` are (value, count) pairs in any order. Ties are broken by name, so that equal data give equal grids.
    """
    ranked = sorted(counts, key=lambda pair: (-pair[1], pair[0]))
    own = tuple(value for value, _ in ranked[:limit])
    others = [value for value, _ in ranked[limit:]]
    if len(others) > MAX_KNOWN:
        return own, None
    return own, np.sort(hash_values(others))


def hash_values(values: Sequence[str]) -> NDArray[np.uint64]:
    """Hash category values to 64 bits (xxh3 of the UTF-8 text)."""
    digest = xxhash.xxh3_64_intdigest
    return np.fromiter([digest(value.encode()) for value in values], np.uint64, len(values))


def locate_categories(grid: Grid, position: int, values: Sequence[str]) -> list[int]:
    """Find the cell of each value of one categorical feature."""
    own = grid.categories[position]
    cells = list(map(dict(zip(own, range(len(own)), strict=True)).get, values, repeat(-1)))
    if -1 in cells:
        rest = [value for value, cell in zip(values, cells, strict=True) if cell < 0]
        others = iter(np.where(_is_known(grid.known[position], rest), grid.other, grid.unseen).tolist())
        cells = [next(others) if cell < 0 else cell for cell in cells]
    return cells


def _is_known(known: NDArray[np.uint64] | None, values: Sequence[str]) -> NDArray[np.bool_]:
    if known is None or not len(known):
        return np.full(len(values), known is None)
    hashes = hash_values(values)
    place = np.searchsorted(known, hashes)
    return np.asarray(known[np.minimum(place, len(known) - 1)] == hashes)


def check_grid(grid: Grid, expected: Layout) -> None:
    """Refuse a grid whose arrays do not fit the layout, before any kernel runs on it; InvalidPayload."""
    edges = grid.edges32.shape[-1]
    narrow, wide, named = len(expected.float32), len(expected.float64), len(expected.categories)
    fits = (
        grid.edges32.shape == (narrow, edges)
        and grid.edges64.shape == (wide, edges)
        and edges in SIZES
        and grid.inside.shape == (narrow + wide + named, 2)
        and grid.shift.shape == (narrow + wide,)
        and len(grid.categories) == len(grid.known) == named
        and all(len(own) <= grid.other for own in grid.categories)
        and bool(np.isfinite(grid.shift).all())
        and all(bool((block[:, 1:] >= block[:, :-1]).all()) for block in (grid.edges32, grid.edges64))
    )
    if not fits or grid.inside.min() < 0 or grid.inside.max() > grid.cells:
        raise InvalidPayload("the grid does not fit the schema")


def _digest(grid: Grid) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for block in (grid.edges32, grid.edges64, grid.inside, grid.shift):
        digest.update(np.ascontiguousarray(block).tobytes())
    known = [None if hashes is None else hashes.tobytes() for hashes in grid.known]
    digest.update(msgspec.msgpack.encode((grid.categories, known)))
    return digest.hexdigest()
