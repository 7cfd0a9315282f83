"""Natural variation: a reference does not call its own nights drift, and a real change is still seen."""

from zoneinfo import ZoneInfo

import numpy as np
import pytest
from numpy.typing import NDArray

from driftline.core.columns import Columns
from driftline.core.drift import Drift, NaturalVariation, compute_drift
from driftline.core.moment import NO_TIME
from driftline.core.natural import (
    HOURS_OF_WEEK,
    QUANTILE,
    WINDOWS_PER_HOUR,
    hour_of_week,
    learn_natural_variation,
    measure_natural_variation,
)
from driftline.core.profile import profile_rows
from driftline.core.reference import Reference
from driftline.core.window import DAY
from tests.core.samples import make_columns, make_reference, make_schema

HOUR = 3_600_000_000
MONDAY = 4 * DAY  # 5 January 1970
SCHEMA = make_schema(2)


def draw_hours(
    hours: NDArray[np.int64], rows: int, seed: int, change: float = 0
) -> tuple[Columns, NDArray[np.int64]]:
    """x0 is two standard deviations higher by night than by day; x1 never changes."""
    rng = np.random.default_rng(seed)
    hour = np.repeat(hours, rows)
    night = hour % 24 < 8
    times = MONDAY + hour * HOUR + rng.integers(0, HOUR, len(hour))
    values = rng.standard_normal((2, len(hour)))
    return make_columns([values[0] + 2 * night + change, values[1]]), times


def make(weeks: int, rows: int, **options: str) -> Reference:
    columns, times = draw_hours(np.arange(weeks * 168), rows, seed=weeks)
    return make_reference(columns, make_schema(2, **options), times, window_length=HOUR)


def judge(reference: Reference, hour: int, change: float = 0, *, seasonal: bool = True) -> Drift:
    columns, times = draw_hours(np.array([hour]), 600, seed=hour + 10_000, change=change)
    profile = profile_rows(reference.grid, columns)
    natural = reference.natural.at(hour_of_week(int(times[0]), ZoneInfo("UTC"))) if reference.natural else None
    return compute_drift(
        reference.grid,
        reference.bins,
        reference.profile,
        profile,
        natural=natural if seasonal else None,
        outputs=reference.outputs,
    )


WEEKS = make(2, 550)


def test_nights_like_those_of_the_reference_are_no_drift() -> None:
    for hour in range(0, 168, 5):
        assert not judge(WEEKS, hour).drifted.any()
    assert judge(WEEKS, 3, seasonal=False).drifted[0]  # it is natural variation that knows


def test_a_night_unlike_any_other_is_drift() -> None:
    assert judge(WEEKS, 3, change=3).drifted.tolist()[:2] == [True, False]


def test_a_feature_that_does_not_vary_keeps_the_general_thresholds() -> None:
    assert WEEKS.natural is not None
    assert (WEEKS.natural.psi[:, 1] < 0.1).all()
    assert (WEEKS.natural.ks[:, 1] < 0.125).all()
    assert (WEEKS.natural.psi[:, 0] > 0.5).all()


def test_two_weeks_are_too_few_for_hours_of_their_own() -> None:
    assert WEEKS.natural is not None
    assert WEEKS.natural.psi.shape == (1, 4)


def test_with_twelve_windows_an_hour_each_hour_has_thresholds_of_its_own() -> None:
    reference = make(WINDOWS_PER_HOUR, 110)
    assert reference.natural is not None
    assert reference.natural.fits(4)
    assert reference.natural.psi.shape == (HOURS_OF_WEEK, 4)
    days = np.arange(HOURS_OF_WEEK) % 24 >= 8
    assert reference.natural.psi[~days, 0].mean() > 1.5 * reference.natural.psi[days, 0].mean()
    assert (reference.natural.highest().psi == reference.natural.psi.max(axis=0)).all()


def test_hours_are_those_of_the_models_time_zone() -> None:
    assert hour_of_week(MONDAY, ZoneInfo("UTC")) == 0
    assert hour_of_week(MONDAY, ZoneInfo("Europe/Berlin")) == 1
    assert hour_of_week(MONDAY, ZoneInfo("America/New_York")) == 163
    reference = make(WINDOWS_PER_HOUR, 110, time_zone="America/New_York")
    assert reference.natural is not None
    night = reference.natural.psi[:, 0] > reference.natural.psi[:, 0].mean()
    utc_midnight_in_new_york = 163
    assert night[[utc_midnight_in_new_york, (utc_midnight_in_new_york + 7) % 168]].all()
    assert not night[[(utc_midnight_in_new_york + 8) % 168, (utc_midnight_in_new_york + 23) % 168]].any()


def test_days_of_summer_and_winter_time_are_days_all_the_same() -> None:
    rng = np.random.default_rng(1)
    times = rng.integers(0, 200 * DAY, 40_000)
    columns = make_columns(rng.standard_normal((2, 40_000)))
    reference = make_reference(columns, make_schema(2, time_zone="Europe/Berlin"), times, window_length=DAY)
    assert reference.natural is not None
    assert len(reference.natural.psi) == 1


def test_windows_whose_pools_have_too_few_rows_say_nothing() -> None:
    columns, times = draw_hours(np.arange(50), 4, seed=1)
    few = make_reference(columns, SCHEMA, times, window_length=HOUR)
    assert few.bins.min_samples == 100  # more than a day brings
    assert few.natural is None
    columns, times = draw_hours(np.arange(50), 90, seed=1)
    assert make_reference(columns, SCHEMA, times, window_length=HOUR, window_rows=90).natural is not None


def test_nights_with_few_rows_are_pooled_as_in_production() -> None:
    """By night there are a fifth of the rows, and x0 is two standard deviations higher."""
    hours = np.repeat(np.arange(14 * 24), [120 if hour % 24 < 8 else 600 for hour in range(14 * 24)])
    rng = np.random.default_rng(7)
    times = MONDAY + hours * HOUR + rng.integers(0, HOUR, len(hours))
    columns = make_columns(
        [rng.standard_normal(len(hours)) + 2 * (hours % 24 < 8), rng.standard_normal(len(hours))]
    )
    reference = make_reference(columns, SCHEMA, times, window_length=HOUR, window_rows=600)
    nights, _ = draw_hours(np.arange(5), 120, seed=8)
    pool = profile_rows(reference.grid, nights)
    assert pool.effective_rows > reference.bins.min_samples > 120
    drift = compute_drift(reference.grid, reference.bins, reference.profile, pool, natural=reference.natural)
    assert drift.psi_score[0] > 1
    assert not drift.drifted[:2].any()


def test_windows_far_apart_are_not_pooled() -> None:
    columns, times = draw_hours(np.arange(0, 50 * 24, 25), 90, seed=1)
    reference = make_reference(columns, SCHEMA, times, window_length=HOUR)
    assert reference.bins.min_samples == 100
    assert reference.natural is None


@pytest.mark.parametrize("windows", [0, 1])
def test_of_one_window_nothing_is_learned(windows: int) -> None:
    parts = [(0, WEEKS.profile)] * windows
    zone = ZoneInfo("UTC")
    assert measure_natural_variation(WEEKS.grid, WEEKS.bins, WEEKS.profile, parts, HOUR, zone) is None


def test_without_timestamps_there_is_no_natural_variation() -> None:
    columns, times = draw_hours(np.arange(50), 600, seed=1)
    assert make_reference(columns, SCHEMA, window_length=HOUR).natural is None
    assert make_reference(columns, SCHEMA, np.full_like(times, NO_TIME), window_length=HOUR).natural is None


def test_rows_without_a_usable_time_belong_to_no_window() -> None:
    columns, times = draw_hours(np.arange(50), 600, seed=1)
    usual = make_reference(columns, SCHEMA, times, window_length=HOUR).natural
    odd = np.tile([NO_TIME, np.iinfo(np.int64).max], len(times) // 2)
    both = columns.take(np.tile(np.arange(columns.rows), 2))
    with_odd = make_reference(both, SCHEMA, np.concatenate([times, odd]), window_length=HOUR).natural
    assert usual is not None
    assert with_odd is not None
    np.testing.assert_allclose(with_odd.psi, usual.psi, rtol=0.02)  # twice the rows have half the noise


def draw_verdicts(windows: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    return rng.exponential(0.05, (windows, 400)), rng.exponential(0.02, (windows, 400))


def test_thresholds_are_exceeded_as_rarely_as_stated() -> None:
    """Of windows to come about one in a thousand lies above what three hundred windows taught."""
    psi, ks = draw_verdicts(300, seed=1)
    learned = learn_natural_variation(psi, ks, np.zeros(psi.shape, bool))
    later, _ = draw_verdicts(20_000, seed=2)
    assert (later > learned.psi).mean() < 3 * (1 - QUANTILE)
    assert (later > learned.psi).mean() > (1 - QUANTILE) / 10


def test_learned_thresholds_are_never_raised_far() -> None:
    psi, ks = draw_verdicts(50, seed=1)
    learned = learn_natural_variation(psi * 100, ks * 100, np.zeros(psi.shape, bool))
    assert learned.psi.max() == pytest.approx(0.5)
    assert learned.ks.max() == pytest.approx(0.45)


def test_a_change_that_stays_is_not_learned() -> None:
    psi, ks = (np.full((20, 1), value) for value in (0.05, 0.02))
    drifted = np.zeros((20, 1), bool)
    psi[10:], drifted[10:] = 3.0, True
    learned = learn_natural_variation(psi, ks, drifted)
    assert learned.psi[0, 0] < 0.1
    single = learn_natural_variation(psi[:11], ks[:11], drifted[:11])
    assert single.psi[0, 0] == pytest.approx(0.5)


def test_nothing_is_learned_of_a_few_windows() -> None:
    learned = learn_natural_variation(np.ones((6, 3)), np.ones((6, 3)), np.zeros((6, 3), bool))
    np.testing.assert_array_equal(learned.psi, NaturalVariation(np.zeros((1, 3)), np.zeros((1, 3))).psi)
