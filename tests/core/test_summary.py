"""What a profile says about a feature by itself, against NumPy on the values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from driftline.core.profile import empty_profile, profile_rows
from driftline.core.reference import Reference
from driftline.core.summary import (
    PERCENTILES,
    Summary,
    cell_bounds,
    estimate_quantiles,
    summarize,
)
from tests.core.samples import SHAPES, make_columns, make_reference, make_schema

RNG = np.random.default_rng(11)
BLOCK = np.array([make(RNG, 5000) for make in SHAPES.values()])
REFERENCE = make_reference(make_columns(BLOCK, BLOCK), make_schema(len(SHAPES), len(SHAPES)))
FEATURES = [*SHAPES, *(f"{shape} in float64" for shape in SHAPES)]


def summary_of(reference: Reference, values: NDArray[np.float64]) -> Summary:
    return summarize(reference.grid, profile_rows(reference.grid, make_columns([values])))


@pytest.mark.parametrize("rows", [1, 2, 100, 900, 20_000])
@pytest.mark.parametrize("shift", [0.0, 0.5, 10.0])
def test_moments_are_exact_and_percentiles_within_their_cell(rows: int, shift: float) -> None:
    rng = np.random.default_rng(rows)
    drawn = np.array([make(rng, rows) + shift for make in SHAPES.values()])
    drawn[rng.random(drawn.shape) < 0.05] = np.nan
    columns = make_columns(drawn, drawn)
    profile = profile_rows(REFERENCE.grid, columns)
    summary = summarize(REFERENCE.grid, profile)
    bounds = cell_bounds(REFERENCE.grid, profile.extremes)
    blocks = [*columns.float32.T, *columns.float64.T[: len(SHAPES)]]
    for f, (name, column) in enumerate(zip(FEATURES, blocks, strict=True)):
        values = column[~np.isnan(column)].astype(np.float64)
        assert summary.missing_rate[f] == pytest.approx(1 - len(values) / rows), name
        assert summary.value_count[f] == len(values), name
        if not len(values):
            assert np.isnan([summary.mean[f], summary.std[f], *summary.percentiles[f]]).all(), name
            continue
        assert summary.mean[f] == pytest.approx(values.mean(), rel=1e-12, abs=1e-9), name
        assert summary.std[f] == pytest.approx(values.std(), rel=1e-9, abs=1e-7), name
        assert tuple(profile.extremes[:, f]) == (values.min(), values.max()), name
        exact = np.quantile(values, np.array(PERCENTILES) / 100, method="inverted_cdf")
        assert (np.diff(summary.percentiles[f]) >= 0).all(), name
        for estimate, true in zip(summary.percentiles[f], exact, strict=True):
            cell = np.searchsorted(REFERENCE.grid.edges()[f], true, "right")
            assert bounds[f, cell] <= estimate <= bounds[f, cell + 1], name


def test_a_percentile_is_off_in_rank_by_at_most_the_share_of_its_cell() -> None:
    drawn = np.array([make(np.random.default_rng(5), 5000) for make in SHAPES.values()])
    profile = profile_rows(REFERENCE.grid, make_columns(drawn, drawn))
    probabilities = np.linspace(0.005, 0.995, 100)
    quantiles = estimate_quantiles(REFERENCE.grid, profile, probabilities)
    for f, shape in enumerate(SHAPES):
        values = np.sort(drawn[f].astype(np.float32)).astype(np.float64)
        cells = np.searchsorted(REFERENCE.grid.edges()[f], quantiles[f], "right")
        # A quantile at the upper end of its cell lies, as a number, at the beginning of the next.
        share = np.maximum(profile.counts[f, cells], profile.counts[f, np.maximum(cells - 1, 0)]) / 5000
        low = np.searchsorted(values, quantiles[f], "left") / 5000
        high = np.searchsorted(values, quantiles[f], "right") / 5000
        assert (low - share - 1e-9 <= probabilities).all(), shape
        assert (probabilities <= high + share + 1e-9).all(), shape


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=40), st.lists(st.floats(0, 1), min_size=1))
def test_quantiles_ascend_within_the_extremes(values: list[float], wanted: list[float]) -> None:
    reference = make_reference(make_columns([BLOCK[0]]), make_schema(1))
    profile = profile_rows(reference.grid, make_columns([values]))
    quantiles = estimate_quantiles(reference.grid, profile, np.sort(wanted))[0]
    low, high = np.float32(values).min(), np.float32(values).max()
    assert (np.diff(quantiles) >= -1e-9 * max(abs(low), abs(high))).all()
    assert ((quantiles >= low) & (quantiles <= high)).all()


def test_the_ends_of_the_quantiles_are_the_extremes() -> None:
    profile = profile_rows(REFERENCE.grid, make_columns(BLOCK, BLOCK))
    ends = estimate_quantiles(REFERENCE.grid, profile, np.array([0.0, 1.0]))
    np.testing.assert_allclose(ends[: 2 * len(SHAPES)].T, profile.extremes[:, : 2 * len(SHAPES)], rtol=1e-6)


def test_rates_are_shares_of_the_rows_or_of_the_values() -> None:
    columns = make_columns(
        [[np.nan, np.inf, -np.inf, -50, 50, 50, 0, 0, 0, 0]],
        categories=[["a", "b", "new", "new", None, "rare", "a", "a", "a", "a"]],
    )
    reference = make_reference(
        make_columns(
            [RNG.uniform(-1, 1, 500)],
            categories=[["a"] * 100 + ["b"] * 100 + [f"v{i:03}" for i in range(299)] + ["rare"]],
        ),
        make_schema(1, 0, 1),
    )
    summary = summarize(reference.grid, profile_rows(reference.grid, columns, weights=7))
    assert summary.missing_rate[[0, -1]] == pytest.approx([0.1, 0.1])
    assert summary.infinite_rate[[0, -1]] == pytest.approx([0.2, 0])
    assert summary.out_of_range_rate[0] == pytest.approx(3 / 7)
    assert summary.never_seen_rate[-1] == pytest.approx(2 / 9)
    assert np.isnan([summary.never_seen_rate[0], summary.out_of_range_rate[-1], summary.mean[-1]]).all()
    assert summary.value_count[[0, -1]] == pytest.approx([7, 9])
    assert summary.missing_rate[1] == 1  # the prediction that is not there
    assert summary.value_count[1] == 0


def test_the_reference_itself_is_within_its_range() -> None:
    summary = summarize(REFERENCE.grid, REFERENCE.profile)
    coarse = summarize(REFERENCE.coarse, REFERENCE.segment_profiles[""])
    measured = slice(0, 2 * len(SHAPES))
    assert (summary.out_of_range_rate[measured] == 0).all()
    assert (coarse.out_of_range_rate[measured] == 0).all()
    np.testing.assert_array_equal(coarse.mean, summary.mean)


def test_mass_that_left_the_range_stays_visible() -> None:
    reference = make_reference(make_columns([RNG.uniform(0, 1, 1000)]), make_schema(1))
    for distance in (1.5, 3.0, 30.0, 1e6):
        away = summary_of(reference, RNG.uniform(0, 1, 1000) + distance)
        assert away.out_of_range_rate[0] == 1
        assert away.mean[0] == pytest.approx(distance + 0.5, rel=0.05)
        assert distance <= away.percentiles[0, 0] <= away.percentiles[0, -1] <= (distance + 1) * (1 + 1e-6)


def test_new_categories_are_unknown_where_too_many_were_known() -> None:
    reference = make_reference(make_columns(categories=[[f"v{i}" for i in range(10_500)]]), make_schema(0, 0, 1))
    profile = profile_rows(reference.grid, make_columns(categories=[["new", "v1"]]))
    assert np.isnan(summarize(reference.grid, profile).never_seen_rate[-1])


def test_nothing_is_known_of_no_rows() -> None:
    summary = summarize(REFERENCE.grid, empty_profile(REFERENCE.grid))
    assert np.isnan([summary.mean, summary.std, summary.missing_rate, summary.out_of_range_rate]).all()
    assert (summary.value_count == 0).all()


def test_numbers_too_large_to_add_are_counted() -> None:
    largest = np.finfo(np.float64).max
    values = np.array([-largest, largest, largest, 0.0])
    reference = make_reference(make_columns(wide=[values]), make_schema(0, 1))
    profile = profile_rows(reference.grid, make_columns(wide=[values]))
    summary = summarize(reference.grid, profile)
    assert summary.value_count[0] == 4
    assert summary.infinite_rate[0] == summary.out_of_range_rate[0] == 0
    assert tuple(profile.extremes[:, 0]) == (-largest, largest)
