"""Distances against SciPy and against plain NumPy on the same bins."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2_contingency, ks_2samp, wasserstein_distance

from driftline.core.bins import CHOICES, Bins, group_cells
from driftline.core.columns import Columns
from driftline.core.distance import Distances, measure_distances
from driftline.core.profile import Profile, empty_profile, profile_rows
from driftline.core.reference import Reference
from driftline.core.summary import cell_bounds
from tests.core.samples import SHAPES, make_columns, make_reference, make_schema

NUMERIC = make_schema(len(SHAPES), len(SHAPES))

SHIFTS = {
    "none": lambda values: values,
    "little": lambda values: values + 0.2 * values.std(),
    "far": lambda values: values + 3 * values.std(),
    "wider": lambda values: values * 1.3,
    "mirrored": lambda values: -values,
    "rounded": lambda values: np.round(values, 1),
}

# Reference and window rows: where a few rows weigh much, where the number of cells changes, and many.
SIZES = [
    (100, 100),
    (100, 3000),
    (130, 1000),
    (200, 100),
    (300, 500),
    (400, 1000),
    (600, 100),
    (749, 200),
    (750, 100),
    (1000, 900),
    (5000, 20_000),
    (20_000, 900),
]


def draw(seed: int, rows: int, shift: str = "none") -> Columns:
    """Every shape as float32 and as float64, one value of twenty missing."""
    rng = np.random.default_rng(seed)
    block = np.array([SHIFTS[shift](make(rng, rows)) for make in SHAPES.values()])
    block[rng.random(block.shape) < 0.05] = np.nan
    return make_columns(block, block)


def present(columns: Columns, f: int) -> NDArray[np.floating]:
    narrow = columns.float32.shape[1]
    values: NDArray[np.floating] = columns.float32[:, f] if f < narrow else columns.float64[:, f - narrow]
    return values[np.isfinite(values)]


def measure(reference: Reference, columns: Columns, count: int = 50) -> tuple[Distances, Bins, Profile]:
    bins = group_cells(reference.grid, reference.profile.counts, count)
    profile = profile_rows(reference.grid, columns)
    return measure_distances(reference.grid, bins, reference.profile, profile), bins, profile


def assert_ks_is_exact_within(bound: float, reference_rows: int, rows: int, shift: str) -> None:
    expected, actual = draw(reference_rows, reference_rows), draw(rows + 1, rows, shift)
    measured, *_ = measure(make_reference(expected, NUMERIC), actual)
    for f in range(2 * len(SHAPES)):
        exact = ks_2samp(present(expected, f), present(actual, f), method="asymp").statistic
        assert exact - bound - 1e-12 <= measured.ks[f] <= exact + 1e-12, (f, exact, measured.ks[f])


@pytest.mark.filterwarnings("ignore:ks_2samp")
@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize(("reference_rows", "rows"), SIZES)
def test_ks_is_that_of_scipy_or_up_to_six_thousandths_below(reference_rows: int, rows: int, shift: str) -> None:
    assert_ks_is_exact_within(0.006, reference_rows, rows, shift)


def test_ks_of_a_hundred_thousand_rows() -> None:
    assert_ks_is_exact_within(0.006, 100_000, 100_000, "little")


@given(
    expected=st.lists(st.integers(0, 400), min_size=1, max_size=900),
    actual=st.lists(st.integers(-5, 410), min_size=1, max_size=50),
    step=st.sampled_from([1.0, 0.5]),
)
def test_ks_is_low_by_at_most_the_heaviest_cell_of_different_values(
    expected: list[int], actual: list[int], step: float
) -> None:
    one, other = np.array(expected, np.float32), np.array(actual, np.float32) * np.float32(step)
    reference = make_reference(make_columns([one]), make_schema(1))
    measured, *_ = measure(reference, make_columns([other]))
    places = np.union1d(one, other)
    cdfs = [np.searchsorted(np.sort(values), places, "right") / len(values) for values in (one, other)]
    exact = np.abs(cdfs[0] - cdfs[1]).max()
    edges = reference.grid.edges32[0]
    closed = np.concatenate([[False], edges[1:] == np.nextafter(edges[:-1], np.float32(np.inf)), [False]])
    open_mass = (reference.profile.counts[0, : reference.grid.cells] * ~closed).max() / len(one)
    assert exact - open_mass - 1e-12 <= measured.ks[0] <= exact + 1e-12
    assert open_mass <= 2 / 240


def plain_shares(
    reference: Reference, bins: Bins, columns: Columns, f: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows per bin, counted from the values."""
    narrow, numeric = columns.float32.shape[1], reference.grid.numeric
    grid = reference.grid
    if f < numeric:
        values = columns.float32[:, f] if f < narrow else columns.float64[:, f - narrow]
        edges = grid.edges32[f] if f < narrow else grid.edges64[f - narrow]
        cells = np.searchsorted(edges, values, "right")
        cells[np.isnan(values)], cells[np.isinf(values)] = grid.missing, grid.infinite
    else:
        own = {value: cell for cell, value in enumerate(grid.categories[f - numeric])}
        table = columns.tables[f - numeric]
        cell_of = np.array([*(own.get(value, grid.unseen) for value in table), grid.missing])
        cells = cell_of[columns.codes[:, f - numeric]]
    per_cell = np.bincount(cells, minlength=grid.width)
    return np.bincount(bins.of_cell[f][cells], minlength=bins.count + 2), per_cell


MIXED = make_schema(len(SHAPES), 1, 3)


def draw_mixed(seed: int, rows: int, shift: str = "none") -> Columns:
    rng = np.random.default_rng(seed)
    block = np.array([SHIFTS[shift](make(rng, rows)) for make in SHAPES.values()])
    block[rng.random(block.shape) < 0.05] = np.nan
    block[rng.random(block.shape) < 0.01] = np.inf
    skew = 1.2 if shift == "none" else 1.6
    return make_columns(
        block,
        [2.0**24 + rng.integers(0, 300, rows)],
        [[None if code == 1 else f"v{code}" for code in rng.zipf(skew, rows) % limit] for limit in (3, 30, 170)],
    )


@pytest.mark.parametrize("shift", ["none", "little", "far"])
@pytest.mark.parametrize("count", CHOICES)
@pytest.mark.parametrize(("reference_rows", "rows"), [(150, 100), (5000, 900), (20_000, 20_000)])
def test_distances_over_bins_equal_plain_numpy(reference_rows: int, rows: int, count: int, shift: str) -> None:
    expected, actual = draw_mixed(1, reference_rows), draw_mixed(2, rows, shift)
    reference = make_reference(expected, MIXED)
    measured, bins, _ = measure(reference, actual, count)
    score = reference.names.index("__score__")
    for f in range(reference.grid.features):
        if f in (score - 1, score):  # neither side has any value
            assert measured.psi_raw[f] == 0
            assert measured.bins_used[f] == 1
            continue
        e, expected_cells = plain_shares(reference, bins, expected, f)
        a, actual_cells = plain_shares(reference, bins, actual, f)
        assert bins.correction is not None
        e = e + bins.correction[f]
        used = (e + a) > 0
        e, a = e[used], a[used]
        p, q = ((side + 0.5) / (side.sum() + 0.5 * len(e)) for side in (e, a))
        assert measured.bins_used[f] == len(e)
        np.testing.assert_allclose(measured.psi_raw[f], ((q - p) * np.log(q / p)).sum(), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(measured.kl[f], (q * np.log(q / p)).sum(), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(measured.js[f], jensenshannon(e, a, base=2), rtol=1e-9, atol=1e-7)
        if f < reference.grid.numeric:
            assert np.isnan([measured.chi2[f], measured.linf[f]]).all()
            continue
        difference = expected_cells / expected_cells.sum() - actual_cells / actual_cells.sum()
        np.testing.assert_allclose(measured.linf[f], np.abs(difference).max(), rtol=1e-9, atol=1e-12)
        assert np.isnan([measured.ks[f], measured.wasserstein[f]]).all()


def chi2_of(expected: list[int], actual: list[int], reference_share: float = 1) -> tuple[float, int]:
    """χ² and its degrees of freedom for category counts, the weights of the reference being scaled."""
    names = [f"v{i}" for i in range(len(expected))]
    columns = [make_columns(categories=[np.repeat(names, counts)]) for counts in (expected, actual)]
    reference = make_reference(columns[0], make_schema(categories=1))
    scaled = replace(reference.profile, weight_squares=int(reference.profile.weight / reference_share))
    bins = replace(reference.bins, of_cell=np.tile(np.arange(reference.grid.width, dtype=np.uint8) % 50, (3, 1)))
    bins = bins.uncorrected()
    measured = measure_distances(reference.grid, bins, scaled, profile_rows(reference.grid, columns[1]))
    return float(measured.chi2[-1]), int(measured.freedom[-1])


def test_chi2_is_that_of_a_contingency_table() -> None:
    expected, actual = [500, 300, 200, 100, 90], [40, 35, 10, 11, 12]
    statistic, freedom = chi2_of(expected, actual)
    table = chi2_contingency([expected, actual], correction=False)
    assert statistic == pytest.approx(table.statistic, rel=1e-9)
    assert freedom == table.dof == 4


def test_chi2_takes_rare_categories_together() -> None:
    expected, actual = [500, 400, 30, 20, 10, 20], [50, 30, 1, 4, 2, 1]
    statistic, freedom = chi2_of(expected, actual)
    together = chi2_contingency([[500, 400, 80], [50, 30, 8]], correction=False)
    assert statistic == pytest.approx(together.statistic, rel=1e-9)
    assert freedom == together.dof


def test_chi2_adds_the_rare_to_the_lightest_of_the_others_when_too_few_in_all() -> None:
    expected, actual = [500, 100, 400, 10], [50, 12, 30, 1]
    statistic, freedom = chi2_of(expected, actual)
    together = chi2_contingency([[500, 110, 400], [50, 13, 30]], correction=False)
    assert statistic == pytest.approx(together.statistic, rel=1e-9)
    assert freedom == together.dof


@pytest.mark.parametrize(("expected", "actual"), [([1000], [50]), ([1000, 1], [50, 0]), ([3, 2], [1, 1])])
def test_chi2_of_one_category_has_no_freedom(expected: list[int], actual: list[int]) -> None:
    statistic, freedom = chi2_of(expected, actual)
    assert (statistic, freedom) == (pytest.approx(0, abs=1e-12), 0)


def test_chi2_uses_effective_rows() -> None:
    halved, _ = chi2_of([600, 400], [60, 80], reference_share=0.5)
    table = chi2_contingency([[300, 200], [60, 80]], correction=False)
    assert halved == pytest.approx(table.statistic, rel=1e-9)


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize(("reference_rows", "rows"), [(300, 200), (5000, 900), (20_000, 1000)])
def test_wasserstein_is_off_by_at_most_what_the_cells_hide(reference_rows: int, rows: int, shift: str) -> None:
    expected, actual = draw(1, reference_rows), draw(2, rows, shift)
    reference = make_reference(expected, NUMERIC)
    measured, _, profile = measure(reference, actual)
    low = np.minimum(reference.profile.extremes[0], profile.extremes[0])
    high = np.maximum(reference.profile.extremes[1], profile.extremes[1])
    widths = np.diff(cell_bounds(reference.grid, np.stack([low, high])), axis=1)
    for f, shape in enumerate([*SHAPES, *SHAPES]):
        one, other = present(expected, f).astype(np.float64), present(actual, f).astype(np.float64)
        if shape == "constant":
            assert np.isnan(measured.wasserstein[f])  # there is no standard deviation to measure it by
            continue
        exact = wasserstein_distance(one, other) / one.std()
        masses = [
            counts[f, : reference.grid.cells] / len(values)
            for counts, values in ((reference.profile.counts, one), (profile.counts, other))
        ]
        hidden = (widths[f] * (masses[0] + masses[1])).sum() / one.std()
        assert abs(measured.wasserstein[f] - exact) <= hidden + 1e-9, shape
        if shape in ("normal", "uniform", "bimodal"):
            assert measured.wasserstein[f] == pytest.approx(exact, rel=0.05, abs=0.02), shape


def test_equal_samples_have_no_distance() -> None:
    columns = draw_mixed(1, 1000)
    reference = make_reference(columns, MIXED)
    bins = group_cells(reference.grid, reference.profile.counts, 50).uncorrected()
    measured = measure_distances(reference.grid, bins, reference.profile, reference.profile)
    for distance in (measured.psi_raw, measured.kl, measured.js, measured.chi2, measured.linf, measured.ks):
        np.testing.assert_allclose(distance[np.isfinite(distance)], 0, atol=1e-12)


def test_distances_are_finite_where_one_side_has_nothing_in_a_bin() -> None:
    reference = make_reference(make_columns([np.zeros(100)], categories=[["a"] * 100]), make_schema(1, 0, 1))
    measured, *_ = measure(reference, make_columns([np.ones(100)], categories=[["b"] * 100]))
    assert measured.js[[0, -1]] == pytest.approx([1, 1])
    assert (measured.psi_raw[[0, -1]] > 5).all()
    assert measured.ks[0] == measured.linf[-1] == 1


def test_a_surge_of_missing_or_infinite_values_is_a_distance() -> None:
    values = np.random.default_rng(1).standard_normal(1000)
    reference = make_reference(make_columns([values]), make_schema(1))
    for hole in (np.nan, np.inf):
        holes = np.where(np.arange(1000) % 2, values, hole)
        measured, *_ = measure(reference, make_columns([holes]))
        assert measured.psi_raw[0] > 1
        assert measured.ks[0] < 0.05  # the values that are there did not change
        assert measured.actual_values[0] == 500


def test_without_rows_or_values_nothing_is_measured() -> None:
    reference = make_reference(draw_mixed(1, 300), MIXED)
    bins = reference.bins
    nothing = measure_distances(reference.grid, bins, reference.profile, empty_profile(reference.grid))
    assert np.isnan([nothing.psi_raw, nothing.js, nothing.ks, nothing.wasserstein]).all()
    assert (nothing.bins_used == 0).all()
    assert nothing.actual_rows == 0
    missing = make_columns(np.full((len(SHAPES), 9), np.nan), [np.full(9, np.nan)], [[None] * 9] * 3)
    measured, *_ = measure(reference, missing)
    assert np.isnan(measured.ks).all()
    assert (measured.actual_values == 0).all()


def test_weights_count_as_rows_but_not_as_evidence() -> None:
    expected, actual = draw_mixed(1, 2000), draw_mixed(2, 500, "little")
    reference = make_reference(expected, MIXED)
    rng = np.random.default_rng(3)
    weights = rng.integers(1, 9, 500)
    repeated = np.repeat(np.arange(500), weights)
    measure_of = {
        name: measure_distances(reference.grid, reference.bins, reference.profile, profile)
        for name, profile in {
            "weighted": profile_rows(reference.grid, actual, weights=weights),
            "repeated": profile_rows(reference.grid, actual.take(repeated)),
            "tenfold": profile_rows(reference.grid, actual, weights=10),
            "once": profile_rows(reference.grid, actual),
        }.items()
    }
    for field in ("js", "linf", "ks", "wasserstein"):
        weighted, plain = getattr(measure_of["weighted"], field), getattr(measure_of["repeated"], field)
        np.testing.assert_allclose(weighted, plain, rtol=1e-9)
    assert measure_of["weighted"].actual_rows == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    for field in ("psi_raw", "kl", "js", "chi2", "linf", "ks", "wasserstein", "actual_values"):
        tenfold, once = getattr(measure_of["tenfold"], field), getattr(measure_of["once"], field)
        np.testing.assert_allclose(tenfold, once, rtol=1e-9)
