"""References that do not fit in memory: cells, distinct values and memory stay within their bounds."""

import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from driftline.core import sketch
from driftline.core.bins import group_cells
from driftline.core.columns import Columns
from driftline.core.distance import measure_distances
from driftline.core.grid import Grid
from driftline.core.profile import profile_rows
from driftline.core.sketch import ReferenceSketch
from tests.core.samples import SHAPES, make_columns, make_schema

ROWS = 200_000
SCHEMA = make_schema(len(SHAPES), len(SHAPES))
RNG = np.random.default_rng(3)
BLOCK = np.array([make(RNG, ROWS) for make in SHAPES.values()])
BLOCK[:, ::50] = np.nan
BLOCK[:, 1::1000] = np.inf
COLUMNS = make_columns(BLOCK, BLOCK)


def run(exact_values: int, chunk: int = 10_000) -> tuple[Grid, NDArray[np.int64]]:
    """Sketch the columns chunk by chunk."""
    sketched = ReferenceSketch(SCHEMA, exact_values)
    for start in range(0, ROWS, chunk):
        sketched.update(COLUMNS.take(np.arange(start, start + chunk)))
    return sketched.build_grid()


GRID, DISTINCT = run(exact_values=0)
EXACT_GRID, EXACT_DISTINCT = run(exact_values=10**9)


def test_cells_of_the_sketch_are_nearly_as_light_as_those_of_all_values() -> None:
    profile = profile_rows(GRID, COLUMNS)
    present = np.isfinite(COLUMNS.float32[:, 0]).sum()
    edges = GRID.edges()
    after = np.concatenate(
        [np.nextafter(GRID.edges32, np.float32(np.inf)).astype(np.float64), np.nextafter(GRID.edges64, np.inf)]
    )
    for f, shape in enumerate([*SHAPES, *SHAPES]):
        closed = np.concatenate([[False], edges[f, 1:] == after[f, :-1], [False]])
        share = profile.counts[f, : GRID.cells] / present
        assert share[~closed].max() <= 0.01, shape
        first, last = GRID.inside[f]
        assert share[first:last].sum() == pytest.approx(1), shape


def test_ks_on_cells_of_the_sketch_is_low_by_a_hundredth_at_most() -> None:
    profile = profile_rows(GRID, COLUMNS)
    bins = group_cells(GRID, profile.counts, 50)
    rng = np.random.default_rng(4)
    drawn = np.array([make(rng, 900) for make in SHAPES.values()])
    drawn += 0.1 * drawn.std(axis=1, keepdims=True)
    actual = make_columns(drawn, drawn)
    measured = measure_distances(GRID, bins, profile, profile_rows(GRID, actual))
    for f in range(len(SHAPES)):
        values = COLUMNS.float32[:, f]
        exact = ks_2samp(values[np.isfinite(values)], actual.float32[:, f], method="asymp").statistic
        assert exact - 0.01 <= measured.ks[f] <= exact + 1e-12


def test_heavy_values_are_atoms_in_the_sketch_too() -> None:
    zero = np.float32(0)
    row = GRID.edges32[list(SHAPES).index("zero-inflated")]
    cell = np.searchsorted(row, zero, "right")
    assert row[cell - 1] == 0
    assert row[cell] == np.nextafter(zero, np.float32(1))


def test_means_and_the_range_are_those_of_all_values() -> None:
    np.testing.assert_allclose(GRID.shift, EXACT_GRID.shift, rtol=1e-6, atol=1e-9)
    for f in range(2 * len(SHAPES)):
        ends = [
            (grid.edges()[f][grid.inside[f, 0] - 1], grid.edges()[f][grid.inside[f, 1] - 1])
            for grid in (GRID, EXACT_GRID)
        ]
        assert ends[0] == ends[1]


def test_distinct_values_are_estimated_within_a_twentieth() -> None:
    for f in range(2 * len(SHAPES)):
        values = COLUMNS.float32[:, f] if f < len(SHAPES) else COLUMNS.float64[:, f - len(SHAPES)]
        exact = len(np.unique(values[np.isfinite(values)]))
        assert EXACT_DISTINCT[f] == exact
        assert DISTINCT[f] == pytest.approx(exact, rel=0.05)
        if exact < sketch.HASHES:
            assert DISTINCT[f] == exact


def test_equal_data_in_other_chunks_has_the_same_grid_where_all_fits() -> None:
    again, _ = run(exact_values=10**9, chunk=40_000)
    assert again.grid_id == EXACT_GRID.grid_id


def test_values_are_kept_only_up_to_the_bound() -> None:
    """What is there before the bound is reached counts as much as what comes after."""
    grid, distinct = run(exact_values=COLUMNS.float32.size // 2)
    np.testing.assert_allclose(grid.shift, EXACT_GRID.shift, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(distinct, EXACT_DISTINCT, rtol=0.05)


def peak_memory(chunks: int) -> int:
    sketched = ReferenceSketch(make_schema(5, 0, 1), exact_values=1000)
    tracemalloc.start()
    try:
        for seed in range(chunks):
            rng = np.random.default_rng(seed)
            sketched.update(
                Columns(
                    rng.standard_normal((5000, 5)).astype(np.float32),
                    rng.standard_normal((5000, 2)),
                    rng.integers(0, 100, (5000, 1)),
                    (tuple(f"v{i}" for i in range(100)),),
                )
            )
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_rows() -> None:
    peak_memory(2)
    assert peak_memory(60) < 1.2 * peak_memory(10)


def draw_categories(first: int, count: int) -> Columns:
    names = [f"id {i}" for i in range(first, first + count)]
    return make_columns(categories=[["common"] * count + names])


def test_categories_beyond_memory_are_forgotten_rarest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sketch, "MAX_VALUES", 20_000)
    sketched = ReferenceSketch(make_schema(categories=1))
    for chunk in range(20):
        sketched.update(draw_categories(3000 * chunk, 3000))
    grid, distinct = sketched.build_grid()
    assert grid.categories[0][0] == "common"
    assert sketched.count_segment("c0")["common"] == 60_000
    assert len(sketched.count_segment("c0")) <= 23_000
    assert grid.known[0] is None
    assert distinct[-1] == pytest.approx(60_001, rel=0.05)


def test_ten_thousand_categories_are_counted_exactly() -> None:
    sketched = ReferenceSketch(make_schema(categories=1))
    sketched.update(draw_categories(0, 10_000))
    grid, distinct = sketched.build_grid()
    assert distinct[-1] == 10_001
    assert len(grid.categories[0]) == 200
    assert grid.known[0] is not None
    assert len(grid.known[0]) == 9801


def test_nothing_makes_a_grid_of_nothing() -> None:
    grid, distinct = ReferenceSketch(make_schema(1, 1, 1)).build_grid()
    assert distinct.tolist() == [0] * 5
    assert np.isinf(grid.edges()).all()
    assert grid.categories == ((),)


def test_minus_zero_is_zero() -> None:
    values = np.tile([0.0, -0.0, 1.0], 2000)
    for exact_values in (0, 10**6):
        sketched = ReferenceSketch(make_schema(1), exact_values)
        sketched.update(make_columns([values]))
        _, distinct = sketched.build_grid()
        assert distinct[0] == 2
