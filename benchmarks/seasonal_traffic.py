"""Traffic of a model of 500 features that never drifts: days, weeks, and weather that lasts for hours or days.

Every feature follows a latent normal z = mean(t) + scale(t) · ε, one independent ε a row:

- mean(t) = daily · cos(2π (t - phase) / 24 h) + weekly · [weekend] + wander · x(t), where x is an AR(1) process of
  variance 1 that forgets within 2 to 48 hours, in part the same one for all features of the model;
- log scale(t) = spread · cos(2π (t - phase) / 24 h).

The value is a function of z: a number of some shape, or a category. z is a multiple of 1/512 between -8 and 8, so
that a row can be counted by looking up the cell of its z, without making the value: the same draws give the same
counts as the values do in `profile_rows`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import expit, ndtri

from driftline.core.columns import Columns
from driftline.core.grid import Grid
from driftline.core.profile import locate_columns
from driftline.core.reference import Reference, build_reference
from driftline.core.schema import Feature, Kind, Schema, Task, layout
from driftline.core.window import DAY

HOUR = DAY // 24
MONDAY = 4 * DAY  # 5 January 1970

NUMERIC, CATEGORICAL = 400, 100
SHAPES: tuple[Callable[[NDArray[np.float64]], NDArray[np.float64]], ...] = (
    lambda z: z,
    np.exp,
    np.sinh,
    expit,
    lambda z: np.maximum(z - 0.25, 0),  # zero in 60 % of the rows
    lambda z: np.floor(np.exp(z) * 4),
    lambda z: (z > 1.9).astype(float),  # set in 3 %
    lambda z: np.round(np.exp(z) * 20, 2),
)
CATEGORIES = (2, 5, 20, 100)
"""Numbers of categories; the k-th most frequent comes up in proportion to 1 / k."""
SEGMENTS = 5

SCHEMA = Schema(
    (
        *(Feature(f"number {i:03}", Kind.NUMERIC) for i in range(NUMERIC)),
        *(Feature(f"category {i:03}", Kind.CATEGORICAL) for i in range(CATEGORICAL)),
    ),
    Task.BINARY,
    segments=("country",),
)
LAYOUT = layout(SCHEMA)
FEATURES = len(LAYOUT.names)
OUTPUTS = np.isin(LAYOUT.names, ("__prediction__", "__score__"))

STEPS, REACH = 512, 8
POSITIONS = 2 * REACH * STEPS
_Z = (np.arange(POSITIONS) + 0.5) / STEPS - REACH
NORMAL = ndtri((np.arange(65_536) + 0.5) / 65_536).astype(np.float32)
_MISSING = np.uint16(65_535)
_GOLDEN, _STREAM = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1342543DE82EF95)

_PEAK_ROWS = 1_000
_BY_HOUR = np.interp(np.arange(24), [0, 2, 5, 8, 11, 19, 23], [0.3, 0.1, 0.1, 0.6, 1.0, 1.0, 0.45])
_WEEKEND = 0.7


@dataclass(frozen=True, slots=True)
class Traffic:
    """A model's traffic, hour by hour: `rows` [H], and `mean`, `scale` and the number of `missing` values [H, F].

    The first `reference_hours` are what the model was trained on.

    `numbers` [A, P] and `codes` [C, P] are the values by position of z, `tables` the names of the codes.
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    missing: NDArray[np.int32]
    rows: NDArray[np.int64]
    numbers: NDArray[np.float64]
    codes: NDArray[np.uint16]
    tables: tuple[tuple[str, ...], ...]
    seeds: NDArray[np.uint64]
    reference_hours: int

    def at(self, hour: int) -> tuple[np.uint64, NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
        """Give what decides the rows of an hour: seed, mean, scale and number of missing values."""
        return self.seeds[hour], self.mean[hour], self.scale[hour], self.missing[hour]


def make_traffic(rng: Generator, reference_hours: int, further_hours: int) -> Traffic:
    """Make the traffic of one model."""
    hours = reference_hours + further_hours
    hour = np.arange(hours)
    weekend = (hour // 24 % 7 >= 5).astype(float)
    daily = np.abs(rng.normal(0, 0.15, FEATURES))
    weekly = rng.normal(0, 0.08, FEATURES)
    wander = np.abs(rng.normal(0, 0.08, FEATURES))
    spread = rng.normal(0, 0.05, FEATURES)
    shared = rng.uniform(-0.7, 0.7, FEATURES)
    wave = np.cos(2 * np.pi * (hour[:, None] - rng.uniform(0, 24, FEATURES)) / 24)
    weather = shared * _wander(rng, hours, np.array([24.0]))
    weather += np.sqrt(1 - shared**2) * _wander(rng, hours, np.exp(rng.uniform(np.log(2), np.log(48), FEATURES)))
    missing = np.where(np.arange(FEATURES) % 2, rng.exponential(0.03, FEATURES), 0) * ~OUTPUTS
    busy = (
        _BY_HOUR[hour % 24]
        * np.where(weekend, _WEEKEND, 1)
        * np.exp(0.2 * _wander(rng, hours, np.array([12.0])))[:, 0]
    )
    rows = rng.poisson(_PEAK_ROWS * busy)
    codes, tables = _make_categories(rng)
    return Traffic(
        (daily * wave + weekly * weekend[:, None] + wander * weather).astype(np.float32),
        np.exp(spread * wave).astype(np.float32),
        rng.binomial(rows[:, None], np.minimum(missing * (1 + 0.5 * wave), 0.5)).astype(np.int32),
        rows,
        np.array([_to_wire(f, SHAPES[f % len(SHAPES)](_Z)) for f in range(NUMERIC)] + [expit(_Z)]),
        codes,
        tables,
        rng.integers(0, 2**63, hours).astype(np.uint64),
        reference_hours,
    )


def draw_columns(traffic: Traffic, hours: range, rng: Generator) -> Columns:
    """Draw the rows of some hours, as values; segments are drawn at random."""
    ends = np.cumsum(traffic.rows[hours])
    positions = np.empty((FEATURES, ends[-1]), np.uint16)
    for hour, end in zip(hours, ends, strict=True):
        _draw_rows(*traffic.at(hour), NORMAL, positions[:, end - traffic.rows[hour] : end])
    float32, float64 = np.empty((NUMERIC, ends[-1]), np.float32), np.empty((1, ends[-1]))
    codes = np.empty((CATEGORICAL + 2, ends[-1]), np.uint16)
    sizes = np.array([len(table) for table in traffic.tables], np.uint16)
    split = NUMERIC + 1
    _look_up(positions[:NUMERIC], traffic.numbers[:NUMERIC], np.full(NUMERIC, np.nan), float32)
    _look_up(positions[NUMERIC:split], traffic.numbers[NUMERIC:], np.full(1, np.nan), float64)
    _look_up(positions[split:], traffic.codes, sizes, codes)
    codes[-1] = rng.integers(0, SEGMENTS, ends[-1])
    return Columns(float32.T, float64.T, codes.T, (*traffic.tables, tuple(f"c{i}" for i in range(SEGMENTS))))


def build_seasonal_reference(traffic: Traffic) -> Reference:
    """Build the reference, a day at a time."""

    def chunks() -> Iterator[tuple[Columns, NDArray[np.int64]]]:
        rng = np.random.default_rng(int(traffic.seeds[0]))
        for start in range(0, traffic.reference_hours, 24):
            day = range(start, start + 24)
            yield draw_columns(traffic, day, rng), np.repeat(MONDAY + np.array(day) * HOUR, traffic.rows[day])

    return build_reference(chunks, SCHEMA, window_length=HOUR)


def locate_positions(traffic: Traffic, grid: Grid) -> NDArray[np.uint16]:
    """Find the cell of every position of z [F, P]."""
    cells = np.empty((FEATURES, POSITIONS), np.uint16)
    for f, edges in enumerate([*grid.edges32, *grid.edges64]):
        cells[f] = np.searchsorted(edges, traffic.numbers[f].astype(edges.dtype), "right")
    empty = Columns(
        np.empty((0, NUMERIC), np.float32),
        np.empty((0, 1)),
        np.empty((0, CATEGORICAL + 1), np.uint16),
        traffic.tables,
    )
    located = locate_columns(grid, empty)
    for c in range(CATEGORICAL + 1):
        cells[NUMERIC + 1 + c] = located.of_column(c)[traffic.codes[c]]
    return cells


def _to_wire(f: int, values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values.astype(np.float32).astype(np.float64)


def _wander(rng: Generator, hours: int, memory: NDArray[np.float64]) -> NDArray[np.float64]:
    """AR(1) of variance 1 [H, len(memory)] whose correlation falls to 1/e within `memory` hours."""
    keep = np.exp(-1 / memory)
    noise = rng.standard_normal((hours, len(memory))) * np.sqrt(1 - keep**2)
    noise[0] = rng.standard_normal(len(memory))
    return np.stack([lfilter([1], [1, -k], noise[:, i]) for i, k in enumerate(keep)], axis=1)


def _make_categories(rng: Generator) -> tuple[NDArray[np.uint16], tuple[tuple[str, ...], ...]]:
    codes = np.empty((CATEGORICAL + 1, POSITIONS), np.uint16)
    tables = []
    for c in range(CATEGORICAL + 1):
        size = CATEGORIES[c % len(CATEGORIES)] if c < CATEGORICAL else 2
        share = rng.permutation(1 / np.arange(1, size + 1))
        codes[c] = np.searchsorted(ndtri(np.cumsum(share)[:-1] / share.sum()), _Z)
        tables.append(tuple(f"v{code}" for code in range(size)))
    return codes, tuple(tables)


@njit(nogil=True, cache=True, inline="always")
def _mix(state: np.uint64) -> np.uint64:
    """Give 64 random bits (SplitMix64, Steele et al. 2014)."""
    bits = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


@njit(nogil=True, cache=True)
def _draw_positions(
    rows: int,
    seed: np.uint64,
    mean: float,
    scale: float,
    normal: NDArray[np.float32],
    positions: NDArray[np.int32],
) -> None:
    """Draw z of so many rows of one feature; 64 random bits are enough for four."""
    mean, scale, last = np.float32((mean + REACH) * STEPS), np.float32(scale * STEPS), np.float32(POSITIONS - 1)
    state = _mix(seed)
    for row in range(0, rows, 4):
        state += _GOLDEN
        bits = _mix(state)
        for part in range(4):
            positions[row + part] = np.int32(bits & np.uint64(0xFFFF))
            bits >>= np.uint64(16)
    for row in range(rows):
        z = mean + scale * normal[positions[row]]
        positions[row] = np.int32(min(max(z, np.float32(0)), last))


@njit(nogil=True, cache=True)
def _draw_rows(
    seed: np.uint64,
    mean: NDArray[np.float32],
    scale: NDArray[np.float32],
    missing: NDArray[np.int32],
    normal: NDArray[np.float32],
    positions: NDArray[np.uint16],
) -> None:
    rows = positions.shape[1]
    drawn = np.empty(rows + 4, np.int32)
    for f in range(positions.shape[0]):
        present = rows - missing[f]
        _draw_positions(present, seed + np.uint64(f) * _STREAM, mean[f], scale[f], normal, drawn)
        for row in range(rows):
            positions[f, row] = drawn[row] if row < present else _MISSING


@njit(nogil=True, cache=True)
def _look_up(
    positions: NDArray[np.uint16],
    of_position: NDArray[np.generic],
    missing: NDArray[np.generic],
    values: NDArray[np.generic],
) -> None:
    for f in range(positions.shape[0]):
        for row in range(positions.shape[1]):
            position = positions[f, row]
            values[f, row] = missing[f] if position == _MISSING else of_position[f, position]


@njit(nogil=True, cache=True)
def count_rows(
    rows: int,
    seed: np.uint64,
    mean: NDArray[np.float32],
    scale: NDArray[np.float32],
    missing: NDArray[np.int32],
    normal: NDArray[np.float32],
    cells: NDArray[np.uint16],
    missing_cell: int,
    counts: NDArray[np.int64],
) -> None:
    """Add the rows that `_draw_rows` draws to the counts [F, width] of their cells."""
    drawn = np.empty(rows + 4, np.int32)
    for f in range(counts.shape[0]):
        present = rows - missing[f]
        _draw_positions(present, seed + np.uint64(f) * _STREAM, mean[f], scale[f], normal, drawn)
        of_position, count = cells[f], counts[f]
        count[missing_cell] += missing[f]
        for row in range(present):
            count[of_position[drawn[row]]] += 1
