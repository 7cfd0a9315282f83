"""Histograms drawn from cells, against NumPy on the values."""

import numpy as np
import pytest

from driftline.core.histogram import choose_edges, count_bars
from driftline.core.profile import empty_profile, profile_rows
from driftline.core.side import take_feature
from tests.core.samples import SHAPES, make_columns, make_reference, make_schema

RNG = np.random.default_rng(11)
BLOCK = np.array([make(RNG, 5000) for make in SHAPES.values()])
REFERENCE = make_reference(make_columns(BLOCK, BLOCK), make_schema(len(SHAPES), len(SHAPES)))


# A single value may lie on an edge between bars; float32 near a million has steps as wide as a bar.
@pytest.mark.parametrize("f", [f for f, shape in enumerate(SHAPES) if shape not in ("constant", "far from zero")])
def test_a_histogram_is_that_of_the_values_within_the_cells(f: int) -> None:
    side = take_feature(REFERENCE.grid, profile_rows(REFERENCE.grid, make_columns(BLOCK, BLOCK)), f)
    edges = choose_edges(side)
    bars = count_bars(side, edges)
    values = BLOCK[f].astype(np.float32).astype(np.float64)
    exact = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / len(values)
    assert len(bars) == 50
    assert (np.diff(edges) > 0).all()
    assert (bars >= 0).all()
    assert bars.sum() == pytest.approx(1)
    # Each end of a bar cuts through one cell of different values at most.
    assert np.abs(bars - exact).max() <= 2 * 0.006 + 1e-9


def test_a_histogram_of_nothing_is_flat() -> None:
    nothing = take_feature(REFERENCE.grid, empty_profile(REFERENCE.grid), 0)
    edges = choose_edges(nothing)
    assert (edges[0], edges[-1]) == (0, 1)
    assert count_bars(nothing, edges).tolist() == [0] * 50


@pytest.mark.parametrize("value", [0.0, 7.0, -1e-12, 1e9])
def test_a_histogram_of_one_value_is_one_bar(value: float) -> None:
    reference = make_reference(make_columns([np.full(30, value)]), make_schema(1))
    side = take_feature(reference.grid, reference.profile, 0)
    edges = choose_edges(side)
    bars = count_bars(side, edges)
    assert bars.max() == 1
    assert edges[bars.argmax()] <= np.float32(value) <= edges[bars.argmax() + 1]
