"""Maturity: the delay curve is right although slow labels of young predictions have not come yet."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import Generator
from numpy.typing import NDArray

from driftline.core.maturity import (
    DELAY_CELLS,
    DELAY_EDGES,
    MIN_LABELS,
    DelayCurve,
    DelayStatus,
    count_delays,
    expected_share,
    fit_delays,
    label_coverage,
    window_maturity,
)

HOUR = 3_600_000_000
DAY = 24 * HOUR

Draw = Callable[[Generator, int], NDArray[np.float64]]
DELAYS: dict[str, Draw] = {
    "exponential, a day": lambda rng, n: rng.exponential(DAY, n),
    "exponential, a minute": lambda rng, n: rng.exponential(HOUR / 60, n),
    "lognormal": lambda rng, n: rng.lognormal(np.log(6 * HOUR), 1.5, n),
    "pareto": lambda rng, n: HOUR * (1 + rng.pareto(1.1, n)),
    "fast and slow": lambda rng, n: np.where(
        rng.random(n) < 0.7, rng.exponential(HOUR, n), rng.normal(10 * DAY, DAY, n)
    ),
    "at once": lambda rng, n: np.zeros(n),
    "after 14 days": lambda rng, n: rng.uniform(14, 15, n) * DAY,
}
MAX_DELAY = 30 * DAY


def simulate(
    rng: Generator, draw: Draw, rows: NDArray[np.int64], ages: NDArray[np.int64], max_delay: int = MAX_DELAY
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Counts and labelled rows of windows of an hour; half of the predictions never get a label."""
    counts = np.zeros((len(rows), DELAY_CELLS), np.int64)
    for window, (size, age) in enumerate(zip(rows, ages, strict=True)):
        delays = draw(rng, int(size) // 2).astype(np.int64)
        older = (rng.random(len(delays)) * HOUR).astype(np.int64)
        come = delays[(delays <= age + older) & (delays <= max_delay)]
        counts[window] = count_delays(come, np.ones(len(come), np.int64), max_delay=max_delay)
    return counts, counts.sum(axis=1)


def true_share(draw: Draw, ages: NDArray[np.int64], max_delay: int = MAX_DELAY) -> NDArray[np.float64]:
    delays = draw(np.random.default_rng(0), 500_000)
    delays = np.sort(delays[delays <= max_delay])
    return np.searchsorted(delays, ages, side="right") / len(delays)


@pytest.mark.parametrize("growth", ["steady", "growing", "shrinking"])
@pytest.mark.parametrize("name", DELAYS)
def test_the_curve_is_that_of_all_labels(name: str, growth: str) -> None:
    ages = np.arange(0, 40 * 24) * HOUR
    rate = {"steady": 0.0, "growing": -0.08, "shrinking": 0.03}[growth]
    rows = np.rint(100 * np.exp(rate * ages / DAY)).astype(np.int64) + 10
    counts, labelled = simulate(np.random.default_rng(1), DELAYS[name], rows, ages)
    curve = fit_delays(counts, labelled, ages, max_delay=MAX_DELAY)
    assert curve.status == "ok"
    asked = np.array([1, 2, 6, 12, 24, 48, 120, 240, 384, 480, 720]) * HOUR
    assert expected_share(curve, asked) == pytest.approx(true_share(DELAYS[name], asked), abs=0.03)
    assert (np.diff(curve.shares) >= 0).all()


def test_a_plain_histogram_would_say_that_labels_are_fast() -> None:
    ages = np.arange(0, 14 * 24) * HOUR
    draw: Draw = lambda rng, n: rng.exponential(2 * DAY, n)  # noqa: E731
    counts, labelled = simulate(np.random.default_rng(2), draw, np.full(len(ages), 400), ages)
    curve = fit_delays(counts, labelled, ages, max_delay=MAX_DELAY)
    asked = np.array([DAY, 2 * DAY])
    true = true_share(draw, asked)
    plain = DelayCurve(DELAY_EDGES, counts.sum(axis=0).cumsum()[:-1] / counts.sum(), 14 * DAY, DelayStatus.OK)
    assert expected_share(curve, asked) == pytest.approx(true, abs=0.02)
    assert (expected_share(plain, asked) > true + 0.04).all()


def test_what_is_expected_of_a_window_comes() -> None:
    rng = np.random.default_rng(3)
    ages = np.arange(0, 20 * 24) * HOUR
    counts, labelled = simulate(rng, DELAYS["lognormal"], np.full(len(ages), 300), ages)
    curve = fit_delays(counts, labelled, ages, max_delay=MAX_DELAY)
    of_rows = rng.integers(2 * HOUR, 26 * HOUR, 20_000)
    come = DELAYS["lognormal"](rng, 20_000) <= of_rows
    assert window_maturity(curve, of_rows, np.ones(20_000)) == pytest.approx(come.mean(), abs=0.03)
    weights = np.where(of_rows > 13 * HOUR, 3.0, 1.0)
    assert window_maturity(curve, of_rows, weights) == pytest.approx(np.average(come, weights=weights), abs=0.03)


def test_with_too_little_history_maturity_is_unknown() -> None:
    ages = np.arange(0, 24) * HOUR
    counts, labelled = simulate(np.random.default_rng(4), DELAYS["exponential, a day"], np.full(24, 400), ages)
    young = fit_delays(counts, labelled, ages, max_delay=MAX_DELAY)
    assert young.status == "too_young"
    assert np.isnan(window_maturity(young, np.array([HOUR]), np.ones(1)))
    few = fit_delays(counts[:0], labelled[:0], ages[:0], max_delay=MAX_DELAY)
    assert few.status == "too_few"
    assert np.isnan(expected_share(few, np.array([0, DAY, 400 * DAY]))).all()


def test_one_old_label_does_not_decide() -> None:
    """The oldest window has one label, with the longest delay: alone it would say that all take so long."""
    ages = np.arange(0, 40 * 24) * HOUR
    counts, labelled = simulate(np.random.default_rng(5), DELAYS["exponential, a minute"], np.full(960, 20), ages)
    counts[-1], labelled[-1] = count_delays(np.array([29 * DAY]), np.ones(1, np.int64), max_delay=MAX_DELAY), 1
    curve = fit_delays(counts, labelled, ages, max_delay=MAX_DELAY)
    assert curve.status == "ok"
    assert expected_share(curve, np.array([HOUR]))[0] > 0.97


def test_all_has_come_by_the_longest_delay_that_counts() -> None:
    """Labels that take long are cut off by the join window; then a horizon beyond it is enough."""
    draw: Draw = lambda rng, n: rng.exponential(100 * DAY, n)  # noqa: E731
    ages = np.arange(0, 10 * 24) * HOUR
    counts, labelled = simulate(np.random.default_rng(6), draw, np.full(240, 5_000), ages, 7 * DAY)
    curve = fit_delays(counts, labelled, ages, max_delay=7 * DAY)
    assert curve.status == "ok"
    assert curve.horizon == 7 * DAY
    asked = np.array([DAY, 3 * DAY, 7 * DAY, 30 * DAY])
    assert expected_share(curve, asked) == pytest.approx(true_share(draw, asked, 7 * DAY), abs=0.03)


def test_an_open_window_and_weights_of_a_sample_change_nothing() -> None:
    rng = np.random.default_rng(7)
    ages = np.arange(-1, 20 * 24) * HOUR
    counts, labelled = simulate(rng, DELAYS["lognormal"], np.full(len(ages), 300), ages)
    curve = fit_delays(counts, labelled, ages, max_delay=MAX_DELAY)
    sampled = fit_delays(counts * 100, labelled, ages, max_delay=MAX_DELAY)
    closed = fit_delays(counts[1:], labelled[1:], ages[1:], max_delay=MAX_DELAY)
    assert sampled.shares == pytest.approx(curve.shares)
    assert closed.shares.tolist() == curve.shares.tolist()
    few = fit_delays(counts[:3] * 1_000, np.full(3, MIN_LABELS // 4), ages[:3] + DAY, max_delay=MAX_DELAY)
    assert few.status == "too_few"


def test_labels_on_expiry_come_at_once() -> None:
    """Few predictions get a label on the way; the others when the time is over, and not a day before."""
    rng = np.random.default_rng(8)

    def draw(rng: Generator, n: int) -> NDArray[np.float64]:
        return np.where(rng.random(n) < 0.03, np.minimum(rng.exponential(5 * DAY, n), MAX_DELAY), MAX_DELAY)

    ages = np.arange(0, 33 * 24) * HOUR
    counts, labelled = simulate(rng, draw, np.full(len(ages), 200), ages)
    curve = fit_delays(counts, labelled, ages, max_delay=MAX_DELAY, on_expiry=True)
    asked = np.array([DAY, 10 * DAY, MAX_DELAY - HOUR, MAX_DELAY, 60 * DAY])
    assert expected_share(curve, asked) == pytest.approx(true_share(draw, asked), abs=0.005)
    younger = fit_delays(counts[:600], labelled[:600], ages[:600], max_delay=MAX_DELAY, on_expiry=True)
    assert younger.status == "too_young"


delay = st.one_of(st.integers(-10, 10), st.integers(0, 2**62), st.sampled_from(DELAY_EDGES.tolist()))


@settings(deadline=None)
@given(st.lists(st.tuples(delay, st.integers(1, 1000)), max_size=20), st.integers(0, 20))
def test_counts_of_parts_add_up(labels: list[tuple[int, int]], cut: int) -> None:
    delays, weights = np.array(labels, np.int64).reshape(-1, 2).T
    parts = [count_delays(delays[i], weights[i], max_delay=MAX_DELAY) for i in (slice(cut), slice(cut, None))]
    whole = count_delays(delays, weights, max_delay=MAX_DELAY)
    assert whole.tolist() == (parts[0] + parts[1]).tolist()
    assert whole.sum() == weights.sum()
    for value in delays.tolist():
        alone = count_delays(np.array([value]), np.ones(1, np.int64), max_delay=MAX_DELAY)
        cell = int(np.flatnonzero(alone)[0])
        assert (cell == DELAY_CELLS - 1) == (value >= MAX_DELAY)
        if cell < DELAY_CELLS - 1:
            assert value < DELAY_EDGES[cell]
            assert cell == 0 or DELAY_EDGES[cell - 1] <= value


def test_coverage_counts_predictions_without_a_label() -> None:
    assert label_coverage(0, 10) == 0
    assert np.isnan(label_coverage(0, 0))
