"""The cells of a grid: where they lie, what falls into them, and which grids are refused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from driftline.core.errors import InvalidPayload
from driftline.core.grid import (
    EDGES,
    MAX_CATEGORIES,
    MAX_KNOWN,
    Grid,
    build_categories,
    build_edges,
    check_grid,
    choose_edges,
    locate_categories,
)
from driftline.core.schema import layout
from tests.core.samples import SHAPES, make_columns, make_reference, make_schema

DTYPES = (np.float32, np.float64)


def place(values: NDArray[np.floating], edges: int = EDGES) -> tuple[NDArray[np.floating], tuple[int, int]]:
    return build_edges(*np.unique(values, return_counts=True), edges)


def cells_of(row: NDArray[np.floating], values: NDArray[np.floating]) -> NDArray[np.intp]:
    return np.searchsorted(row, values, side="right")


def is_closed(row: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which cells hold a single value."""
    closed = np.zeros(len(row) + 1, bool)
    closed[1:-1] = row[1:] == np.nextafter(row[:-1], row.dtype.type(np.inf))
    return closed


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_cells_are_light_and_cover_the_range(shape: str, dtype: type[np.floating]) -> None:
    values = SHAPES[shape](np.random.default_rng(1), 20_000).astype(dtype)
    row, (first, last) = place(values)
    finite = row[np.isfinite(row)]
    assert len(row) == EDGES
    assert (np.diff(finite) > 0).all()
    assert finite[first - 1] == values.min()
    assert finite[last - 1] == np.nextafter(values.max(), dtype(np.inf))
    mass = np.bincount(cells_of(row, values), minlength=EDGES + 1) / len(values)
    assert mass[first:last].sum() == pytest.approx(1)
    assert mass[~is_closed(row)].max() <= 0.006


@pytest.mark.parametrize("rows", [1, 2, 100, 248, 749, 750, 999, 1000, 5000])
def test_no_cell_of_different_values_holds_more_than_six_thousandths(rows: int) -> None:
    values = np.random.default_rng(2).standard_normal(rows).astype(np.float32)
    row, _ = place(values, choose_edges(rows))
    mass = np.bincount(cells_of(row, values), minlength=len(row) + 1) / rows
    assert mass[~is_closed(row)].max() <= 0.0055


def test_an_atom_has_a_cell_in_which_nothing_else_can_hide() -> None:
    rng = np.random.default_rng(3)
    values = np.where(rng.random(10_000) < 0.3, 0, rng.exponential(1, 10_000)).astype(np.float32)
    row, _ = place(values)
    near = np.array([np.nextafter(np.float32(0), np.float32(-1)), 0, np.nextafter(np.float32(0), np.float32(1))])
    before, at, after = cells_of(row, near.astype(np.float32))
    assert (before + 1, at, after - 1) == (at, at, at)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [0.0, -0.0, 7.0, -1e-30, 1e30, 16_777_217.0])
def test_a_constant_has_cells_on_either_side_at_its_own_scale(value: float, dtype: type[np.floating]) -> None:
    constant = dtype(value)
    row, inside = place(np.full(50, constant))
    (cell,) = cells_of(row, np.array([constant]))
    assert inside == (cell, cell + 1)
    step = abs(value) / 32 or 1.0
    outside = np.array([constant - step / 2, constant + step / 2, constant + 4 * step], dtype)
    assert len({int(cell), *map(int, cells_of(row, outside))}) == 4


@pytest.mark.parametrize("dtype", DTYPES)
def test_beyond_the_range_cells_double_in_width(dtype: type[np.floating]) -> None:
    padded, (first, last) = place(np.linspace(0, 32, 1000).astype(dtype))
    row = padded[np.isfinite(padded)]
    np.testing.assert_allclose(np.diff(row[last - 1 :]), 2.0 ** np.arange(7), rtol=1e-5)
    np.testing.assert_allclose(np.diff(row[:first]), 2.0 ** np.arange(7)[::-1], rtol=1e-5)
    assert list(cells_of(row, np.array([-1e9, 1e9], dtype))) == [0, len(row)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_largest_numbers_have_cells_too(dtype: type[np.floating]) -> None:
    largest = np.finfo(dtype).max
    values = np.array([-largest, 0, largest], dtype)
    row, (first, last) = place(values)
    cells = cells_of(row, values)
    assert (np.diff(row[np.isfinite(row)]) > 0).all()
    assert len(set(cells.tolist())) == 3
    assert first <= cells.min()
    assert cells.max() < last


def test_without_values_there_is_one_cell() -> None:
    row, inside = build_edges(np.empty(0, np.float32), np.empty(0, np.int64))
    assert np.isinf(row).all()
    assert inside == (0, 1)


def test_integers_that_float32_cannot_hold_stay_apart_in_float64() -> None:
    ids = 2.0**24 + np.arange(100)
    row, _ = place(np.repeat(ids, 3))
    assert len(set(cells_of(row, ids).tolist())) == 100
    assert is_closed(row)[cells_of(row, ids)].all()


@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=300),
    st.sampled_from([EDGES, 511]),
)
def test_any_values_give_ascending_edges_around_them(values: list[float], edges: int) -> None:
    array = np.array(values, np.float32)
    row, (first, last) = place(array, edges)
    finite = row[np.isfinite(row)]
    cells = cells_of(row, array)
    assert len(row) == edges
    assert (np.diff(finite) > 0).all()
    assert ((cells >= first) & (cells < last)).all()


def test_categories_are_ranked_by_frequency_then_name() -> None:
    own, known = build_categories([("b", 5), ("a", 5), ("rare", 1), ("top", 9)], limit=3)
    assert own == ("top", "a", "b")
    assert known is not None
    assert len(known) == 1


def test_values_beyond_memory_are_never_called_new() -> None:
    own, known = build_categories([(f"v{i:06}", 1) for i in range(MAX_CATEGORIES + MAX_KNOWN + 1)])
    assert len(own) == MAX_CATEGORIES
    assert known is None


def category_grid(values: list[str]) -> Grid:
    return make_reference(make_columns(categories=[values]), make_schema(categories=1)).grid


def test_a_category_is_its_own_cell_or_other_or_unseen() -> None:
    grid = category_grid([f"v{i}" for i in range(300) for _ in range(300 - i)])
    assert locate_categories(grid, 0, ["v0", "v199", "v200", "v299", "v300", ""]) == [
        0,
        199,
        grid.other,
        grid.other,
        grid.unseen,
        grid.unseen,
    ]


def test_equal_content_has_an_equal_id() -> None:
    values = ["a", "a", "b"]
    grid = category_grid(values)
    assert category_grid(values[::-1]).grid_id == grid.grid_id
    assert category_grid(["a", "b", "b"]).grid_id != grid.grid_id
    assert replace(grid, shift=grid.shift + 1, grid_id="").grid_id != grid.grid_id


def test_names_cannot_be_shifted_from_one_category_to_the_next() -> None:
    schema = make_schema(categories=2)
    ids = {
        make_reference(make_columns(categories=pair), schema).grid.grid_id
        for pair in (
            [["a", "b"], ["c", "c"]],
            [["a", "a"], ["b", "c"]],
            [["a\x00b", "a\x00b"], ["c", "c"]],
            [["a\x01", "b"], ["c", "c"]],
        )
    }
    assert len(ids) == 4


@pytest.mark.parametrize(
    "change",
    [
        {"edges32": np.zeros((2, EDGES), np.float32)},
        {"edges32": np.zeros((1, 100), np.float32)},
        {"edges64": np.zeros((2, 511))},
        {"inside": np.zeros((1, 2), np.int16)},
        {"inside": np.full((4, 2), 1000, np.int16)},
        {"inside": np.full((4, 2), -1, np.int16)},
        {"shift": np.zeros(1)},
        {"shift": np.full(3, np.nan)},
        {"categories": ()},
        {"known": ()},
        {"categories": (tuple(f"v{i}" for i in range(255)),)},
    ],
)
def test_a_grid_that_does_not_fit_its_schema_is_refused(change: dict[str, object]) -> None:
    schema = make_schema(narrow=1, categories=1)
    grid = make_reference(make_columns([np.arange(1000.0)], categories=[["a"] * 1000]), schema).grid
    check_grid(grid, layout(schema))
    with pytest.raises(InvalidPayload):
        check_grid(replace(grid, **change), layout(schema))  # type: ignore[arg-type]
