"""Cells are grouped into bins of equal reference mass, and what the reference never had stays apart."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from driftline.core.bins import CHOICES, SELDOM, choose_bins, group_cells
from driftline.core.profile import profile_rows
from tests.core.samples import SHAPES, make_columns, make_reference, make_schema


def bin_of(values: NDArray[np.float64], probes: list[float], count: int = 10) -> list[int]:
    """The bins into which probes fall, for a reference of these values."""
    schema = make_schema(narrow=1)
    reference = make_reference(make_columns([values]), schema)
    bins = group_cells(reference.grid, reference.profile.counts, count)
    found = [profile_rows(reference.grid, make_columns([[probe]])) for probe in probes]
    return [int(bins.of_cell[0, np.argmax(profile.counts[0])]) for profile in found]


@pytest.mark.parametrize(
    ("rows", "count"), [(np.inf, 50), (900, 50), (500, 50), (499.9, 20), (200, 20), (199, 10), (0, 10)]
)
def test_as_many_bins_as_have_ten_rows_each(rows: float, count: int) -> None:
    assert choose_bins(rows) == count


@pytest.mark.parametrize("count", CHOICES)
@pytest.mark.parametrize("rows", [100, 749, 20_000])
def test_bins_are_ranges_of_about_equal_mass(rows: int, count: int) -> None:
    rng = np.random.default_rng(rows)
    columns = make_columns([make(rng, rows) for make in SHAPES.values()])
    reference = make_reference(columns, make_schema(narrow=len(SHAPES)))
    bins = group_cells(reference.grid, reference.profile.counts, count)
    assert bins.min_samples == 10 * count
    for f, shape in enumerate(SHAPES):
        counts, of_cell = reference.profile.counts[f], bins.of_cell[f]
        mass = np.bincount(of_cell, counts, count + 2) / rows
        used = of_cell[counts > 0].astype(int)
        assert (np.diff(used) >= 0).all(), shape
        assert mass[count:].sum() == 0, shape
        filled = mass[mass > 0]
        assert (np.flatnonzero(mass) == np.arange(len(filled))).all(), shape
        assert filled.min() >= 0.5 / count or len(filled) == 1, shape
        if shape in ("normal", "lognormal", "cauchy", "exponential", "uniform", "bimodal"):
            assert len(filled) == count, shape
            assert abs(filled * count - 1).max() <= 0.25, shape


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40), st.sampled_from(CHOICES))
def test_categories_fill_bins_the_heavy_ones_first(weights: list[int], count: int) -> None:
    values = [f"v{i:02}" for i, weight in enumerate(weights) for _ in range(weight)] or ["v"]
    reference = make_reference(make_columns(categories=[values]), make_schema(categories=1))
    bins = group_cells(reference.grid, reference.profile.counts, count)
    counts, of_cell = reference.profile.counts[-1], bins.of_cell[-1].astype(int)
    often = counts >= SELDOM
    mass = np.bincount(of_cell[often], counts[often], count)
    filled = mass[mass > 0]
    heavy = counts[often] * count >= counts[often].sum()
    assert (np.diff(of_cell[often][heavy]) >= 0).all()
    assert len(filled) <= count
    assert len(filled) <= 1 or filled.min() * 2 * count >= counts[often].sum()
    assert (of_cell[: reference.grid.cells][~often[: reference.grid.cells]] == count).all()


def test_values_seen_seldom_are_expected_as_often_as_another_sample_has_them() -> None:
    rng = np.random.default_rng(3)
    rare = []
    for _ in range(200):
        values = [f"v{code}" for code in rng.integers(0, 300, 1000)]
        reference = make_reference(make_columns(categories=[values]), make_schema(categories=1))
        bins = group_cells(reference.grid, reference.profile.counts, 10)
        assert bins.correction is not None
        assert bins.correction[-1].sum() == pytest.approx(0)
        expected = np.bincount(bins.of_cell[-1], reference.profile.counts[-1], 12) + bins.correction[-1]
        assert (expected >= 0).all()
        again = [f"v{code}" for code in rng.integers(0, 300, 1000)]
        profile = profile_rows(reference.grid, make_columns(categories=[again]))
        seen = np.bincount(bins.of_cell[-1], profile.counts[-1], 12)
        rare.append((expected[10], seen[10]))
    expected_share, seen_share = np.mean(rare, axis=0)
    assert expected_share == pytest.approx(seen_share, rel=0.02)


def test_what_is_missing_or_infinite_has_a_bin_of_its_own() -> None:
    values = np.random.default_rng(1).standard_normal(1000)
    assert bin_of(values, [np.nan, np.inf, -np.inf]) == [11, 11, 11]


def test_a_continuous_range_goes_on_beyond_its_ends() -> None:
    values = np.random.default_rng(1).standard_normal(1000)
    assert bin_of(values, [-100, -1e9, 100, 1e9]) == [0, 0, 9, 9]


def test_between_and_beside_integers_lies_what_was_never_seen() -> None:
    values = np.repeat([0.0, 1.0, 2.0, 5.0], 100)
    assert bin_of(values, [0, 1, 2, 5]) == [0, 1, 2, 3]
    assert bin_of(values, [-1, 0.5, 3, 4.99, 6, 1e9]) == [10] * 6


def test_the_gap_between_an_atom_and_a_continuum_belongs_to_the_continuum() -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate([np.zeros(1000), rng.uniform(1, 2, 1000)])
    atom, gap, first, below = bin_of(values, [0, 0.5, 1.01, -1])
    assert gap == first == atom + 1
    assert below == 10


def test_values_seen_a_few_times_are_draws_from_a_continuum() -> None:
    assert bin_of(np.repeat(np.arange(20.0), 9), [0.0, 0.5, 19.5, 30]) == [0, 0, 9, 9]


def test_a_share_that_is_nearly_empty_joins_its_lighter_neighbour() -> None:
    values = np.concatenate([np.zeros(3000), np.ones(40), np.full(4000, 2), np.full(2960, 3)])
    assert bin_of(values, [0, 1, 2, 3]) == [0, 0, 1, 2]


def test_a_feature_without_values_has_no_bins() -> None:
    reference = make_reference(make_columns([np.full(50, np.nan)]), make_schema(narrow=1))
    assert (reference.bins.of_cell[0, : reference.grid.cells] == reference.bins.count).all()
