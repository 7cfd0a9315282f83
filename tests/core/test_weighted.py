"""Sampled windows: profiles without bias while N changes with the traffic, and verdicts like the full stream's."""

import numpy as np
import pytest
from numpy.random import Generator
from numpy.typing import NDArray

from driftline.core.batch import keep_keys
from driftline.core.bins import Bins
from driftline.core.columns import Columns
from driftline.core.distance import measure_distances
from driftline.core.drift import Drift, Status, compute_drift
from driftline.core.grid import Grid
from driftline.core.profile import Profile, empty_profile, merge_profiles, profile_rows
from driftline.core.reference import Reference
from driftline.core.sampling import limit_of
from driftline.core.significance import chi2_pvalues, noise_floor, psi_pvalues
from driftline.core.slices import Reservoir
from tests.core.samples import SHAPES, make_columns, make_reference, make_schema

SLICES = 90
BASE_N = 10
SPIKE = 50
"""One of the slices brings so many times the rows of the others."""


def choose_slice_n(hashes: NDArray[np.uint64], n: int, max_rows: int) -> int:
    """Double N until at most so many rows are kept: what `Reservoir` does row by row."""
    ordered = np.sort(hashes)
    while np.searchsorted(ordered, np.uint64(limit_of(n)), side="right") > max_rows:
        n *= 2
    return n


def sample_slices(
    hashes: NDArray[np.uint64], slices: NDArray[np.int64], max_rows: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sample each slice by itself; gives the rows kept, and the weights [n] of all rows of their slices."""
    weights = np.ones(len(hashes), np.int64)
    for each in np.unique(slices):
        chosen = slices == each
        weights[chosen] = choose_slice_n(hashes[chosen], BASE_N, max_rows)
    limits = np.array([limit_of(n) for n in weights.tolist()], np.uint64)
    return np.flatnonzero(hashes <= limits), weights


def draw_stream(rng: Generator, rate: int, spike_shift: float) -> tuple[NDArray[np.int64], Columns]:
    """Draw a window whose spike brings other values: (slice of each row, values)."""
    rows = np.full(SLICES, rate)
    rows[40] *= SPIKE
    slices = np.repeat(np.arange(SLICES), rows)
    spike = slices == 40
    amounts = rng.standard_normal(len(slices)) + spike_shift * spike
    names = np.where(
        rng.random(len(slices)) < 0.2 + 0.1 * spike_shift * spike, "a", rng.choice(["b", "c"], len(slices))
    )
    return slices, make_columns([amounts, rng.lognormal(0, 1, len(slices))], categories=[names])


REFERENCE = make_reference(draw_stream(np.random.default_rng(1), 200, 0)[1], make_schema(2, 0, 1))


@pytest.mark.parametrize("max_rows", [60, 100, 10_000])
def test_a_spike_does_not_bias_the_profile(max_rows: int) -> None:
    """Of each cell the mean of many samples is the full stream's count, within its standard error."""
    rng = np.random.default_rng([2, max_rows])
    slices, columns = draw_stream(rng, 100, 2.0)
    full = profile_rows(REFERENCE.grid, columns).counts
    samples, total = 200, np.zeros((2, *full.shape))
    weight = np.zeros(samples)
    for i in range(samples):
        kept, weights = sample_slices(rng.integers(0, 2**64, len(slices), np.uint64), slices, max_rows)
        profile = profile_rows(REFERENCE.grid, columns, kept, weights)
        weight[i] = profile.weight
        total += profile.counts, profile.counts**2
    mean, square = total / samples
    error = np.sqrt((square - mean**2) / (samples - 1))
    common = full >= 300  # cells that most samples have rows of, so that their means are normal
    z = (mean - full)[common] / error[common]
    assert np.abs(z).max() < 4.5
    assert (z**2).mean() < 1.5
    assert abs(weight.mean() - len(slices)) < 4 * weight.std() / np.sqrt(samples)


def test_the_sampler_chooses_the_same_n() -> None:
    rng = np.random.default_rng(3)
    for rows in (0, 1, 59, 60, 61, 700, 5_000):
        hashes = rng.integers(0, 2**64, rows, np.uint64)
        reservoir = Reservoir[int](BASE_N, max_rows=60, max_bytes=10**9)
        for place, hashed in enumerate(hashes.tolist()):
            if hashed <= reservoir.limit:
                reservoir.offer(hashed, place, place, 1)
        n = choose_slice_n(hashes, BASE_N, 60)
        assert reservoir.n == n
        assert reservoir.rows() == np.flatnonzero(hashes <= np.uint64(limit_of(n))).tolist()


def test_effective_rows_of_a_spike_are_those_of_kish_however_the_rows_are_split() -> None:
    rng = np.random.default_rng(4)
    slices, columns = draw_stream(rng, 100, 0)
    kept, weights = sample_slices(rng.integers(0, 2**64, len(slices), np.uint64), slices, 60)
    parts = [profile_rows(REFERENCE.grid, columns, kept[i::3], weights) for i in range(3)]
    w = weights[kept].astype(float)
    assert len(set(w)) == 2
    assert merge_profiles(parts).effective_rows == pytest.approx(w.sum() ** 2 / (w**2).sum())
    assert merge_profiles(parts).skew == pytest.approx(w.sum() * (w**3).sum() / (w**2).sum() ** 2)


def test_a_window_keeps_at_least_as_many_effective_rows_as_half_of_what_a_slice_may_have() -> None:
    """However large the spike is: so a slice should have room for twice the rows that a verdict needs."""
    rng = np.random.default_rng(5)
    for spike in (2, 10, 50, 1_000):
        hashes = rng.integers(0, 2**64, 4_000 * spike, np.uint64)
        n = choose_slice_n(hashes, BASE_N, 1_000)
        rows = np.array([1_000, (hashes <= np.uint64(limit_of(n))).sum()])
        weights = np.array([BASE_N, n])
        assert (rows * weights).sum() ** 2 / (rows * weights**2).sum() > 450


ALL = make_schema(len(SHAPES), 0, 2)


def draw_all(rng: Generator, rows: int) -> Columns:
    """Every shape of number, and categories: few of them, and many by a power law."""
    block = [make(rng, rows) for make in SHAPES.values()]
    return make_columns(
        block, categories=[rng.choice(["a", "b", "c"], rows), (rng.zipf(1.5, rows) % 60).astype(str)]
    )


@pytest.fixture(scope="module")
def everything() -> Reference:
    return make_reference(draw_all(np.random.default_rng(6), 20_000), ALL)


def judge(reference: Reference, profile: Profile) -> Drift:
    return compute_drift(reference.grid, reference.bins, reference.profile, profile, outputs=reference.outputs)


@pytest.mark.parametrize(
    ("light", "heavy", "weight"), [(1_500, 300, 4), (3_000, 100, 12), (20_000, 60, 100), (600, 600, 16)]
)
def test_mixed_weights_alarm_no_more_often_than_equal_ones(
    everything: Reference, light: int, heavy: int, weight: int
) -> None:
    small = 0
    windows = 25
    for seed in range(windows):
        rng = np.random.default_rng([7, light, seed])
        weights = rng.permutation(np.repeat([1, weight], [light, heavy]))
        drift = judge(everything, profile_rows(everything.grid, draw_all(rng, light + heavy), weights=weights))
        judged = drift.status == Status.OK
        assert judged.sum() == len(SHAPES) + 2
        assert not (drift.level > 0).any()
        small += (drift.pvalue[judged] < 0.01).sum()
    assert small <= 0.01 * windows * (len(SHAPES) + 2) * 2


NAMES = tuple(f"v{i}" for i in range(50))
WINDOWS = 20_000


@pytest.mark.parametrize(
    ("rows", "weights", "share"),
    [([979, 69], [1, 8], 0.01), ([2_000, 100], [1, 16], 0.01), ([100_000, 5], [1, 1_000], 0.05)],
)
def test_tests_of_mixed_weights_are_calibrated_or_cautious(
    rows: list[int], weights: list[int], share: float
) -> None:
    """Fifty categories by a power law: where a few heavy rows meet rare categories, chance looks like a change.

    A row of 1 % of all weight is too much for the p-value of PSI, though never for PSI itself.
    """
    rng = np.random.default_rng([8, *rows])
    shares = 1 / np.arange(1, 51) ** 1.5
    shares /= shares.sum()
    grid = Grid(
        np.empty((0, 63), np.float32),
        np.empty((0, 63)),
        np.zeros((WINDOWS, 2), np.int16),
        (NAMES,) * WINDOWS,
        (None,) * WINDOWS,
        np.empty(0),
        grid_id="one feature a window",
    )
    bins = Bins(50, np.tile(np.arange(grid.width, dtype=np.uint8) % 52, (WINDOWS, 1)))
    expected, actual = (_draw_counts(rng, grid, shares, *side) for side in (([50_000], [1]), (rows, weights)))
    drawn = measure_distances(grid, bins, expected, actual)
    pvalues = psi_pvalues(drawn.psi_raw, drawn.bins_used, drawn.expected_rows, drawn.actual_rows)
    assert (pvalues < 0.01).mean() <= share
    assert (drawn.psi_raw - noise_floor(drawn.bins_used, drawn.expected_rows, drawn.actual_rows)).max() < 0.2
    pvalues = chi2_pvalues(drawn.chi2, drawn.freedom)
    assert (pvalues < 0.01).mean() <= 0.013
    assert (pvalues < 0.001).mean() <= 0.002


def _draw_counts(
    rng: Generator, grid: Grid, shares: NDArray[np.float64], rows: list[int], weights: list[int]
) -> Profile:
    counts = np.zeros((WINDOWS, grid.width), np.int64)
    for size, weight in zip(rows, weights, strict=True):
        counts[:, : len(shares)] += weight * rng.multinomial(size, shares, WINDOWS)
    size, weight = np.array(rows), np.array(weights)
    empty = empty_profile(grid)
    return Profile(
        grid.grid_id,
        sum(rows),
        int((size * weight).sum()),
        int((size * weight**2).sum()),
        counts,
        empty.sums,
        empty.extremes,
        weight_cubes=float((size * weight**3).sum()),
    )


SHIFTS = {"nothing": 0.0, "a little": 0.1, "much": 0.8}


@pytest.mark.parametrize("change", SHIFTS)
def test_a_sample_of_one_in_a_hundred_has_the_full_streams_verdicts(everything: Reference, change: str) -> None:
    """Away from the thresholds they agree in every feature; numbers are moved by parts of their deviation."""
    for window in range(3):
        rng = np.random.default_rng([9, window])
        full, sample = [], []
        for chunk in range(5):
            columns = draw_all(rng, 20_000)
            columns.float32[:, 0] += np.float32(SHIFTS[change])
            columns.float32[:, 3] *= np.float32(1 + SHIFTS[change])
            kept = np.flatnonzero(keep_keys(tuple(f"{window}-{chunk}-{row}" for row in range(columns.rows)), 100))
            full.append(profile_rows(everything.grid, columns))
            sample.append(profile_rows(everything.grid, columns, kept, 100))
        one, other = (judge(everything, merge_profiles(parts)) for parts in (full, sample))
        assert one.effective_rows == 100_000
        assert 900 < other.effective_rows < 1_100
        np.testing.assert_array_equal(one.status, other.status)
        np.testing.assert_array_equal(one.level, other.level)
        assert np.flatnonzero(one.drifted).tolist() == ([0, 3] if change == "much" else [])
