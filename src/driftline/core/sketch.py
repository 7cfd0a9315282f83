"""The first pass over reference data: what the cells of a grid are placed by, in bounded memory.

Up to 50 million numeric values are kept and sorted exactly. Beyond that KLL sketches (Karnin, Lang & Liberty
2016, from Apache DataSketches) take their place: k = 4096, whose rank error of 0.1 % is a fifth of a cell; the
second pass counts exactly in any case. Distinct values are counted exactly, or estimated from the 4096 smallest
hashes (Bar-Yossef et al. 2002; relative error 1.6 %).
"""

import datasketches
import numpy as np
from numpy.typing import NDArray

from driftline.core.columns import Columns
from driftline.core.grid import Grid, build_categories, build_edges, choose_edges, hash_values
from driftline.core.schema import Schema, layout

EXACT_VALUES = 50_000_000
KLL_K = 4096
HASHES = 4096
MAX_VALUES = 200_000
"""Distinct categories remembered per column; of more than that the rarer half is forgotten."""


class NumericSketch:
    """Distribution of one numeric feature: a KLL sketch, the sum, and the smallest hashes."""

    __slots__ = ("count", "hashes", "kll", "total")

    def __init__(self, dtype: np.dtype[np.floating]) -> None:
        single = dtype == np.float32
        self.kll = datasketches.kll_floats_sketch(KLL_K) if single else datasketches.kll_doubles_sketch(KLL_K)
        self.hashes = np.empty(0, np.uint64)
        self.count, self.total = 0, 0.0

    def update(self, values: NDArray[np.floating]) -> None:
        """Add finite values."""
        self.kll.update(np.ascontiguousarray(values))
        self.hashes = _smallest(self.hashes, _mix(values))
        self.count += len(values)
        with np.errstate(over="ignore"):
            self.total += float(values.sum(dtype=np.float64))

    def weigh(self, dtype: np.dtype[np.floating]) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
        """Give representative values, ascending, and the number of rows that each stands for."""
        if not self.count:
            return np.empty(0, dtype), np.empty(0, np.int64)
        items = np.array(list(self.kll), np.float64)
        ends = np.array([[self.kll.get_min_value(), 1], [self.kll.get_max_value(), 1]])
        pairs = np.concatenate([items, ends])
        values, position = np.unique(pairs[:, 0].astype(dtype), return_inverse=True)
        return values, np.bincount(position, pairs[:, 1]).astype(np.int64)


class CategorySketch:
    """Counts of the values of one category column."""

    __slots__ = ("counts", "forgot", "hashes")

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.hashes = np.empty(0, np.uint64)
        self.forgot = False

    def update(self, codes: NDArray[np.integer], table: tuple[str, ...]) -> None:
        """Add codes into a table of values; the code len(table) is missing."""
        totals = np.bincount(codes, minlength=len(table) + 1)[:-1]
        present = np.flatnonzero(totals)
        for code in present:
            value = table[code]
            self.counts[value] = self.counts.get(value, 0) + int(totals[code])
        if self.forgot or len(self.counts) > MAX_VALUES:
            self._forget([table[code] for code in present])

    def _forget(self, values: list[str]) -> None:
        seen = values if self.forgot else list(self.counts)
        self.hashes = _smallest(self.hashes, hash_values(seen))
        if len(self.counts) > MAX_VALUES:
            self.forgot = True
            kept = sorted(self.counts, key=lambda value: -self.counts[value])[: MAX_VALUES // 2]
            self.counts = {value: self.counts[value] for value in kept}

    def count_distinct(self) -> int:
        """Count the distinct values; an estimate when there were too many to remember."""
        return _estimate_distinct(self.hashes) if self.forgot else len(self.counts)


class ReferenceSketch:
    """All columns of a schema, chunk by chunk; the grid is placed by what it saw."""

    def __init__(self, schema: Schema, exact_values: int = EXACT_VALUES) -> None:
        self.layout = layout(schema)
        self._rows = 0
        self._room = exact_values
        self._kept: list[Columns] = []
        self._numeric: list[NumericSketch] = []
        self._categories = {name: CategorySketch() for name in self.layout.codes}

    def update(self, columns: Columns) -> None:
        """Add a chunk of packed rows."""
        for c, name in enumerate(self.layout.codes):
            self._categories[name].update(columns.codes[:, c], columns.tables[c])
        self._rows += columns.rows
        self._room -= columns.float32.size + columns.float64.size
        if self._room >= 0:
            self._kept.append(columns)
            return
        for part in (*self._kept, columns):
            self._sketch(part)
        self._kept.clear()

    def _sketch(self, columns: Columns) -> None:
        split = len(self.layout.float32)
        if not self._numeric:
            single, double = np.dtype(np.float32), np.dtype(np.float64)
            self._numeric = [
                NumericSketch(single if f < split else double) for f in range(split + len(self.layout.float64))
            ]
        for f, sketch in enumerate(self._numeric):
            sketch.update(_finite(columns.float32[:, f] if f < split else columns.float64[:, f - split]))

    def build_grid(self) -> tuple[Grid, NDArray[np.int64]]:
        """Place the cells of every feature; and count its distinct values, in profile order."""
        edges = choose_edges(self._rows)
        placed: dict[str, list[NDArray[np.floating]]] = {"float32": [], "float64": []}
        inside: list[tuple[int, int]] = []
        shift: list[float] = []
        distinct: list[int] = []
        for block, names in (("float32", self.layout.float32), ("float64", self.layout.float64)):
            for f in range(len(names)):
                values, weights, mean, different = self._weigh(block, f, len(shift))
                row, within = build_edges(values, weights, edges)
                placed[block].append(row)
                inside.append(within)
                shift.append(mean if np.isfinite(mean) else 0.0)
                distinct.append(different)
        categories, known = [], []
        for name in self.layout.categories:
            sketch = self._categories[name]
            own, others = build_categories(list(sketch.counts.items()))
            categories.append(own)
            known.append(None if sketch.forgot else others)
            distinct.append(sketch.count_distinct())
        cells = [(0, edges + 1)] * len(categories)
        grid = Grid(
            np.array(placed["float32"], np.float32).reshape(-1, edges),
            np.array(placed["float64"], np.float64).reshape(-1, edges),
            np.array(inside + cells, np.int16).reshape(-1, 2),
            tuple(categories),
            tuple(known),
            np.array(shift, np.float64),
        )
        return grid, np.array(distinct, np.int64)

    def count_segment(self, name: str) -> dict[str, int]:
        """Count the values of a segment column."""
        return self._categories[name].counts

    def _weigh(
        self, block: str, f: int, position: int
    ) -> tuple[NDArray[np.floating], NDArray[np.int64], float, int]:
        dtype = np.dtype(block)
        if self._numeric:
            sketch = self._numeric[position]
            mean = sketch.total / sketch.count if sketch.count else 0.0
            return *sketch.weigh(dtype), mean, _estimate_distinct(sketch.hashes)
        parts = [getattr(columns, block)[:, f] for columns in self._kept]
        values = _finite(np.concatenate(parts)) if parts else np.empty(0, dtype)
        with np.errstate(over="ignore", invalid="ignore"):  # no finite mean: the shift is 0
            mean = float(values.mean(dtype=np.float64)) if len(values) else 0.0
        different, weights = np.unique(values, return_counts=True)
        return different, weights, mean, len(different)


def _finite(values: NDArray[np.floating]) -> NDArray[np.floating]:
    finite: NDArray[np.floating] = values[np.isfinite(values)]
    return finite


def _mix(values: NDArray[np.floating]) -> NDArray[np.uint64]:
    """Hash values by their bits (the finaliser of SplitMix64, Steele et al. 2014); -0 counts as 0."""
    bits = (values.astype(np.float64) + 0.0).view(np.uint64)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def _smallest(kept: NDArray[np.uint64], found: NDArray[np.uint64]) -> NDArray[np.uint64]:
    if len(kept) == HASHES:
        found = found[found < kept[-1]]
    return np.unique(np.concatenate([kept, found]))[:HASHES]


def _estimate_distinct(hashes: NDArray[np.uint64]) -> int:
    if len(hashes) < HASHES:
        return len(hashes)
    return int((HASHES - 1) * 2.0**64 / float(hashes[-1]))
