"""P-values: calibrated when nothing changed, and false discoveries controlled."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from driftline.core.bins import Bins
from driftline.core.distance import Distances, measure_distances
from driftline.core.grid import Grid
from driftline.core.profile import empty_profile, profile_rows
from driftline.core.reference import Reference
from driftline.core.significance import adjust_pvalues, chi2_pvalues, ks_pvalues, noise_floor, psi_pvalues
from tests.core.samples import make_columns, make_reference, make_schema

DRAWS = 10_000


def few_values(*shares: float) -> NDArray[np.float64]:
    return np.array(shares)


def power_law(size: int, exponent: float) -> NDArray[np.float64]:
    shares = 1 / np.arange(1, size + 1) ** exponent
    return shares / shares.sum()


# Shares of the bins; the last ones are rare.
NULLS = {
    "50 equal": np.full(50, 1 / 50),
    "20 equal": np.full(20, 1 / 20),
    "10 equal": np.full(10, 1 / 10),
    "3 values": few_values(0.6, 0.3, 0.1),
    "flag of 1 %": few_values(0.99, 0.01),
    "flag of 1 in 1000": few_values(0.999, 0.001),
    "20 equal, 1 % missing": np.append(np.full(20, 0.99 / 20), 0.01),
    "20 by a power law": power_law(20, 1.5),
    "50 by a power law": power_law(50, 1.5),
    "one common, 49 rare": np.append(0.9, np.full(49, 0.1 / 49)),
}


NAMES = tuple(f"v{i}" for i in range(50))
WIDE = Grid(
    np.empty((0, 63), np.float32),
    np.empty((0, 63)),
    np.zeros((DRAWS, 2), np.int16),
    (NAMES,) * DRAWS,
    (None,) * DRAWS,
    np.empty(0),
    grid_id="one categorical feature a draw",
)


def simulate(shares: NDArray[np.float64], expected_rows: int, rows: int) -> Distances:
    """Distances of many pairs of samples of one distribution: each pair is a categorical feature."""
    rng = np.random.default_rng([len(shares), expected_rows, rows])
    profiles = []
    for size in (expected_rows, rows):
        counts = np.zeros((DRAWS, WIDE.width), np.int64)
        counts[:, : len(shares)] = rng.multinomial(size, shares, DRAWS)
        profiles.append(replace(empty_profile(WIDE), rows=size, weight=size, weight_squares=size, counts=counts))
    bins = Bins(50, np.tile(np.arange(WIDE.width, dtype=np.uint8) % 52, (DRAWS, 1)))
    return measure_distances(WIDE, bins, *profiles)


@pytest.mark.parametrize("expected_rows", [500, 100_000])
@pytest.mark.parametrize(
    ("null", "rows"),
    [
        (null, rows)
        for null in NULLS
        for rows in (100, 200, 400, 900, 20_000)
        if rows >= 10 * min(len(NULLS[null]), 50)
    ],
)
def test_psi_and_chi2_are_calibrated_when_nothing_changed(null: str, expected_rows: int, rows: int) -> None:
    shares = NULLS[null]
    measured = simulate(shares, expected_rows, rows)
    psi = psi_pvalues(measured.psi_raw, measured.bins_used, measured.expected_rows, measured.actual_rows)
    chi2 = chi2_pvalues(measured.chi2, measured.freedom)
    assert not np.isnan(psi).any()
    # Few outcomes are possible where a bin holds four rows: then a level is met up to two times too often.
    assert (psi < 0.01).mean() <= (0.014 if shares.min() * min(rows, expected_rows) > 10 else 0.025)
    assert (psi < 0.001).mean() <= 0.003
    assert (psi < 1e-5).mean() <= 3 / DRAWS
    assert (chi2 < 0.01).mean() <= 0.016
    assert (chi2 < 0.001).mean() <= 0.004
    if "equal" in null and "missing" not in null:
        assert (psi < 0.01).mean() >= 0.005
        assert (chi2 < 0.01).mean() >= 0.006
        floor = noise_floor(measured.bins_used, expected_rows, rows)
        assert measured.psi_raw.mean() == pytest.approx(floor.mean(), rel=0.1)


@pytest.mark.parametrize("rows", [100, 900, 5000])
@pytest.mark.parametrize("decimals", [0, 1, 9])
def test_ks_is_calibrated_or_cautious(rows: int, decimals: int) -> None:
    """Ties make KS cautious; no ties leave it calibrated, on the cells as on the values."""
    rng = np.random.default_rng(rows)
    expected = np.round(rng.standard_normal((2000, 300)), decimals)
    pvalues = []
    for start in range(0, 2000, 500):
        block = expected[start : start + 500]
        reference = make_reference(make_columns(block), make_schema(500))
        actual = np.round(rng.standard_normal((500, rows)), decimals)
        measured = _measure(reference, actual)
        pvalues.append(ks_pvalues(measured.ks, measured.expected_values, measured.actual_values)[:500])
    found = np.concatenate(pvalues)
    assert (found < 0.05).mean() <= 0.06
    assert (found < 0.01).mean() <= 0.015
    if decimals == 9:
        assert (found < 0.05).mean() >= 0.02


def _measure(reference: Reference, values: NDArray[np.float64]) -> Distances:
    profile = profile_rows(reference.grid, make_columns(values))
    return measure_distances(reference.grid, reference.bins, reference.profile, profile)


def test_pvalues_are_those_of_scipy() -> None:
    statistic, freedom = np.array([3.0, 30.0, 0.0, np.nan, 5.0]), np.array([2, 20, 5, 3, 0])
    np.testing.assert_allclose(
        chi2_pvalues(statistic, freedom), [*stats.chi2.sf(statistic[:3], freedom[:3]), np.nan, 1.0]
    )
    distance, rows = np.array([0.0, 0.05, 0.2, np.nan]), np.full(4, 500.0)
    np.testing.assert_allclose(ks_pvalues(distance, rows, rows), stats.kstwobign.sf(distance * np.sqrt(250)))
    assert np.isnan(ks_pvalues(np.array([np.nan]), np.zeros(1), np.zeros(1)))[0]


def test_with_many_rows_psi_is_chi_squared() -> None:
    psi, bins = np.array([0.0, 0.02, 0.05, 0.3, np.nan]), np.array([50, 50, 20, 1, 0])
    scaled = psi / (1 / 900 + 1 / 10_000)
    expected = [*stats.chi2.sf(scaled[:3], [49, 49, 19]), 1.0, np.nan]
    np.testing.assert_allclose(psi_pvalues(psi, bins, 10_000, 900), expected)
    np.testing.assert_allclose(psi_pvalues(psi, bins, 900, 10_000), expected)


def test_with_few_rows_psi_means_less() -> None:
    psi, bins = np.array([0.4, 0.4, 0.4, np.nan]), np.array([10, 2, 1, 0])
    few = psi_pvalues(psi, bins, 10_000, 120.0)
    assert few[0] > 3 * stats.chi2.sf(0.4 / (1 / 120 + 1e-4), 9)
    assert few[2] == 1
    assert np.isnan(few[3])
    np.testing.assert_array_equal(few, psi_pvalues(psi, bins, 120.0, 10_000))


@given(st.lists(st.floats(0, 1) | st.just(np.nan), min_size=1, max_size=60))
def test_adjusted_pvalues_are_those_of_scipy(values: list[float]) -> None:
    pvalues = np.array(values)
    adjusted = adjust_pvalues(pvalues)
    tested = ~np.isnan(pvalues)
    assert np.isnan(adjusted[~tested]).all()
    if tested.any():
        np.testing.assert_allclose(adjusted[tested], stats.false_discovery_control(pvalues[tested]))


def test_the_noise_floor_of_one_bin_is_nothing() -> None:
    assert noise_floor(np.array([0, 1, 2]), 100, 100).tolist() == [0, 0, 0.02]
