"""The profile: a mergeable summary of one window (and segment) of one model version.

Merging is addition: associative, commutative, with `empty_profile` as identity. Everything after the profile
(drift, summaries, charts) is a function of profiles and references.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.core.columns import Columns
from driftline.core.counting import count_codes, count_numeric
from driftline.core.entities import MAX_ENTITIES, NO_ENTITIES, Entities, count_entities, merge_entities
from driftline.core.errors import InvalidPayload
from driftline.core.grid import Grid, hash_values, locate_categories
from driftline.core.payload import Block, read_block, read_payload, write_block, write_payload

NEW_VALUES = 32
_MAX_BYTES = 1 << 30

NewValues = Mapping[int, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Profile:
    """Weighted counts and moments of all features, in profile order.

    `counts` [F, width] int64, the weight per cell of `grid_id`; `sums` [2, A + B] Σw(x - shift) and
    Σw(x - shift)² of the numeric features; `extremes` [2, A + B] their smallest and largest finite value
    (+inf, -inf when there is none); `new_values` the categories the reference never had, at most 32 a
    feature, those with the smallest hashes, with their weight.
    `rows` is the number of predictions, `weight` Σw over them; `weight_squares` and `weight_cubes` Σw² and Σw³
    over those that count by themselves, `entities` the weights by entity of the others.
    """

    grid_id: str
    rows: int
    weight: int
    weight_squares: int
    counts: NDArray[np.int64]
    sums: NDArray[np.float64]
    extremes: NDArray[np.float64]
    new_values: NewValues = field(default_factory=dict)
    weight_cubes: float = 0.0
    entities: Entities = NO_ENTITIES

    @property
    def effective_rows(self) -> float:
        """Rows that a sample without weights would need for the same precision, (Σw)²/Σw² (Kish 1965).

        Rows of an entity add up to one w: then it is the number of entities, if they weigh the same.
        """
        squares = self.weight_squares + self.entities.sum_powers(2)
        return self.weight**2 / squares if squares else 0.0

    @property
    def skew(self) -> float:
        """How much more skewed counts are than those of as many effective rows: ΣwΣw³/(Σw²)².

        1 where all rows weigh the same, more where a few weigh much.
        """
        squares = self.weight_squares + self.entities.sum_powers(2)
        cubes = self.weight_cubes + self.entities.sum_powers(3)
        return max(self.weight * cubes / squares**2, 1.0) if squares else 1.0


@dataclass(frozen=True, slots=True)
class CategoryCells:
    """The cell of every code of every category column, the missing code included, one column after another."""

    cell_of: NDArray[np.int16]
    offsets: NDArray[np.int64]

    def of_column(self, c: int) -> NDArray[np.int16]:
        """Cells of the codes of one column."""
        end = self.offsets[c + 1] if c + 1 < len(self.offsets) else len(self.cell_of)
        return self.cell_of[self.offsets[c] : end]


def locate_columns(grid: Grid, columns: Columns) -> CategoryCells:
    """Find the cell of every category in the tables of packed columns."""
    cells: list[int] = []
    offsets: list[int] = []
    for c in range(len(grid.categories)):
        offsets.append(len(cells))
        cells += locate_categories(grid, c, columns.tables[c])
        cells.append(grid.missing)
    return CategoryCells(np.array(cells, np.int16), np.array(offsets, np.int64))


def empty_profile(grid: Grid) -> Profile:
    """Give the identity of `merge_profiles`."""
    return Profile(
        grid.grid_id,
        0,
        0,
        0,
        np.zeros((grid.features, grid.width), np.int64),
        np.zeros((2, grid.numeric)),
        np.repeat([[np.inf], [-np.inf]], grid.numeric, axis=1),
    )


def profile_rows(
    grid: Grid,
    columns: Columns,
    rows: NDArray[np.int64] | None = None,
    weights: NDArray[np.int64] | int = 1,
    cells: CategoryCells | None = None,
) -> Profile:
    """Count the chosen rows (all by default) of packed columns; one weight for all, or one a row.

    `cells` saves looking up the categories again when several windows or segments of the same columns are
    counted: `locate_columns(grid, columns)`.

    >>> from driftline.core.columns import Columns
    >>> from driftline.core.grid import Grid, build_edges
    >>> edges, inside = build_edges(np.arange(100, dtype=np.float32), np.ones(100, np.int64))
    >>> grid = Grid(edges[None], np.empty((0, 255)), np.int16([inside]), (), (), np.array([49.5]))
    >>> block = np.float32([[3], [3], [np.nan]])
    >>> profile = profile_rows(grid, Columns(block, np.empty((3, 0)), np.empty((3, 0), np.uint16), ()))
    >>> int(profile.counts[0, grid.missing]), int(profile.counts.max()), profile.rows
    (1, 2, 3)
    """
    if rows is None:
        rows = np.arange(columns.rows)
    if isinstance(weights, int):
        weights = np.full(columns.rows, weights, np.int64)
    profile = empty_profile(grid)
    split = len(grid.edges32)
    for block, edges, part in (
        (columns.float32, grid.edges32, slice(0, split)),
        (columns.float64, grid.edges64, slice(split, grid.numeric)),
    ):
        if len(edges) and len(rows):
            count_numeric(
                block,
                rows,
                weights,
                edges,
                grid.shift[part],
                profile.counts[part],
                profile.sums[:, part],
                profile.extremes[:, part],
            )
    if cells is None:
        cells = locate_columns(grid, columns)
    new_values = _count_categories(grid, columns, rows, weights, cells, profile.counts[grid.numeric :])
    chosen = weights[rows]
    single, entities = chosen, NO_ENTITIES
    if columns.entities is not None:
        named = columns.entities[rows]
        single, entities = chosen[named == 0], count_entities(named[named != 0], chosen[named != 0])
    return Profile(
        grid.grid_id,
        len(rows),
        int(chosen.sum()),
        int((single * single).sum()),
        profile.counts,
        profile.sums,
        profile.extremes,
        new_values,
        float((single.astype(np.float64) ** 3).sum()),
        entities,
    )


def merge_profiles(profiles: Sequence[Profile]) -> Profile:
    """Add profiles of the same grid; ValueError when the grids differ or there is none."""
    first, *others = profiles
    if any(other.grid_id != first.grid_id for other in others):
        raise ValueError("profiles of different grids cannot be merged")
    if not others:
        return first
    counts, sums = first.counts.copy(), first.sums.copy()
    low, high = first.extremes
    for other in others:
        counts += other.counts
        sums += other.sums
        low, high = np.minimum(low, other.extremes[0]), np.maximum(high, other.extremes[1])
    return Profile(
        first.grid_id,
        sum(profile.rows for profile in profiles),
        sum(profile.weight for profile in profiles),
        sum(profile.weight_squares for profile in profiles),
        counts,
        sums,
        np.stack([low, high]),
        _merge_new_values([profile.new_values for profile in profiles]),
        sum(profile.weight_cubes for profile in profiles),
        merge_entities([profile.entities for profile in profiles]),
    )


def encode_profile(profile: Profile) -> bytes:
    """Write a profile compactly: counts in the smallest integer type that holds them, Zstandard over all."""
    stored = _Stored(
        profile.grid_id,
        profile.rows,
        profile.weight,
        profile.weight_squares,
        _write_small(profile.counts),
        write_block(profile.sums),
        write_block(profile.extremes),
        {f: dict(values) for f, values in profile.new_values.items()},
        profile.weight_cubes,
        _store_entities(profile.entities),
    )
    return write_payload(stored, level=1)


def decode_profile(payload: bytes) -> Profile:
    """Read what `encode_profile` wrote; InvalidPayload when it is something else."""
    stored = read_payload(payload, _Stored, _MAX_BYTES)
    counts = _read_small(stored.counts)
    sums, extremes = read_block(stored.sums, np.float64), read_block(stored.extremes, np.float64)
    if counts.ndim != 2 or sums.ndim != 2 or extremes.shape != sums.shape or len(sums) != 2:
        raise InvalidPayload(f"not a profile: arrays of shape {counts.shape}, {sums.shape} and {extremes.shape}")
    if not all(0 <= f < len(counts) for f in stored.new_values):
        raise InvalidPayload("not a profile: new values of a feature that it does not have")
    return Profile(
        stored.grid_id,
        stored.rows,
        stored.weight,
        stored.weight_squares,
        counts,
        sums,
        extremes,
        stored.new_values,
        stored.weight_cubes,
        _restore_entities(stored.entities),
    )


class _Stored(msgspec.Struct):
    grid_id: str
    rows: int
    weight: int
    weight_squares: int
    counts: Block
    sums: Block
    extremes: Block
    new_values: dict[int, dict[str, int]]
    weight_cubes: float = 0.0
    entities: tuple[int, Block, Block] | None = None


def _write_small(array: NDArray[np.int64]) -> Block:
    return write_block(array.astype(np.min_scalar_type(int(array.max(initial=0)))))


def _read_small(block: Block) -> NDArray[np.int64]:
    return read_block(block, np.uint8, np.uint16, np.uint32, np.uint64).astype(np.int64)


def _store_entities(entities: Entities) -> tuple[int, Block, Block] | None:
    if not entities.weight:
        return None
    return entities.weight, write_block(entities.hashes), _write_small(entities.weights)


def _restore_entities(stored: tuple[int, Block, Block] | None) -> Entities:
    if stored is None:
        return NO_ENTITIES
    weight, hashes, weights = stored[0], read_block(stored[1], np.uint64), _read_small(stored[2])
    if (
        hashes.ndim != 1
        or hashes.shape != weights.shape
        or not 0 < len(hashes) <= MAX_ENTITIES
        or (hashes[1:] <= hashes[:-1]).any()
        or weights.min() < 1
        or sum(weights.tolist()) > weight
    ):
        raise InvalidPayload("not a profile: its weights by entity do not fit together")
    return Entities(weight, hashes, weights)


def _count_categories(
    grid: Grid,
    columns: Columns,
    rows: NDArray[np.int64],
    weights: NDArray[np.int64],
    cells: CategoryCells,
    counts: NDArray[np.int64],
) -> NewValues:
    if not len(cells.offsets) or not len(rows):
        return {}
    count_codes(columns.codes, rows, weights, cells.cell_of, cells.offsets, counts)
    found = np.flatnonzero(counts[:, grid.unseen])
    return {
        grid.numeric + c: _weigh_new_values(
            columns.codes[rows, c], weights[rows], columns.tables[c], cells.of_column(c) == grid.unseen
        )
        for c in map(int, found)
    }


def _weigh_new_values(
    codes: NDArray[np.integer], weights: NDArray[np.int64], table: tuple[str, ...], unseen: NDArray[np.bool_]
) -> dict[str, int]:
    totals = np.bincount(codes, weights, minlength=len(unseen))
    present = np.flatnonzero(unseen & (totals > 0))
    return _keep_smallest({table[code]: int(totals[code]) for code in present})


def _merge_new_values(parts: Sequence[NewValues]) -> NewValues:
    merged: dict[int, dict[str, int]] = {}
    for part in parts:
        for f, values in part.items():
            totals = merged.setdefault(f, {})
            for value, weight in values.items():
                totals[value] = totals.get(value, 0) + weight
    return {f: _keep_smallest(values) for f, values in merged.items()}


def _keep_smallest(values: dict[str, int]) -> dict[str, int]:
    # A value among the 32 smallest hashes of a whole is among those of every part it occurs in: counts are exact.
    names = list(values)
    order = np.argsort(hash_values(names), kind="stable")[:NEW_VALUES]
    return {names[i]: values[names[i]] for i in order}
