"""Bands: what is usual in a reference, and which windows are not."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.random import Generator
from scipy.special import expit

from driftline.core.bands import DRAWN_WINDOWS, Bands, Verdict, judge_performance, measure_bands
from driftline.core.errors import InvalidPayload
from driftline.core.estimate import Estimator, estimate_performance, fit_estimator, outputs_of
from driftline.core.estimate_payload import decode_estimator, encode_estimator
from driftline.core.outcomes import Outcomes
from driftline.core.performance import Performance, measure_performance
from driftline.core.schema import Task


def draw(rng: Generator, rows: int, spread: float = 1.5) -> Outcomes:
    odds = rng.normal(0, spread, rows)
    truth = (rng.random(rows) < expit(odds)).astype(int)
    return Outcomes(truth, (odds > 0).astype(int), expit(odds), np.ones(rows), None, ("no", "yes"))


RNG = np.random.default_rng(1)
REFERENCE = draw(RNG, 12_000)
ESTIMATOR = fit_estimator(Task.BINARY, REFERENCE, RNG)
BANDS = measure_bands(ESTIMATOR, REFERENCE, RNG, window_rows=600)
BY_TIME = measure_bands(ESTIMATOR, REFERENCE, RNG, window_rows=600, windows=np.repeat(np.arange(20), 600))


def test_bands_are_those_of_windows_to_come() -> None:
    rng = np.random.default_rng(2)
    inside, values, estimated = 0, [], []
    for _ in range(100):
        window = draw(rng, 600)
        measured = measure_performance(Task.BINARY, window)
        inside += set(judge_performance(measured, BANDS)) == {Verdict.WITHIN}
        values.append([measured.values[measured.names.index(name)] for name in BANDS.names])
        estimated.append(estimate_performance(ESTIMATOR, outputs_of(window)).values)
    assert inside >= 95
    np.testing.assert_allclose(BANDS.deviations, np.std(values, axis=0), rtol=0.4)
    np.testing.assert_allclose(BANDS.estimated_deviations, np.std(estimated, axis=0), rtol=0.4)


def test_windows_of_time_are_used_where_there_are_enough() -> None:
    assert not BY_TIME.drawn
    assert BY_TIME.windows == 20
    assert BY_TIME.rows == BANDS.rows == 600
    np.testing.assert_allclose(BY_TIME.means, BANDS.means, atol=0.02)
    few = measure_bands(ESTIMATOR, REFERENCE, RNG, window_rows=600, windows=np.repeat(np.arange(4), 3_000))
    assert few.drawn
    assert few.windows == DRAWN_WINDOWS


def test_what_varies_with_time_widens_the_band() -> None:
    rng = np.random.default_rng(3)
    parts = [draw(rng, 600, spread=rng.uniform(0.5, 3)) for _ in range(20)]
    names = ("truth", "prediction", "scores", "weights")
    varying = replace(
        REFERENCE, **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    )
    options = {"window_rows": 600, "windows": np.repeat(np.arange(20), 600)}
    bands = measure_bands(ESTIMATOR, varying, rng, **options)  # type: ignore[arg-type]
    assert (bands.deviations > 2 * BY_TIME.deviations).all()
    assert (bands.estimated_deviations > 2 * BY_TIME.estimated_deviations).all()


def test_entities_are_drawn_as_a_whole() -> None:
    single = REFERENCE.take(np.arange(2_000))
    five = replace(
        single.take(np.repeat(np.arange(2_000), 5)), groups=np.repeat(np.arange(2_000), 5).astype(np.int64)
    )
    alone = measure_bands(ESTIMATOR, single, np.random.default_rng(4), window_rows=200)
    whole = measure_bands(ESTIMATOR, five, np.random.default_rng(4), window_rows=1_000)
    np.testing.assert_allclose(whole.deviations, alone.deviations, rtol=1e-6)


@pytest.mark.parametrize("spread", [0.3, 2.5])
def test_an_estimate_outside_of_the_band_says_on_which_side(spread: float) -> None:
    estimate = estimate_performance(ESTIMATOR, outputs_of(draw(np.random.default_rng(5), 600, spread)))
    verdicts = dict(zip(BANDS.names, judge_performance(estimate, BANDS), strict=True))
    assert verdicts["roc_auc"] is verdicts["accuracy"] is (Verdict.WORSE if spread < 1 else Verdict.BETTER)


def test_of_errors_the_larger_is_worse() -> None:
    rng = np.random.default_rng(6)
    reference = Outcomes(rng.normal(0, 1, 2_000), np.zeros(2_000), None, np.ones(2_000), None)
    estimator = fit_estimator(Task.REGRESSION, reference, rng)
    bands = measure_bands(estimator, reference, rng, window_rows=500)
    verdicts = [
        set(judge_performance(measure_performance(Task.REGRESSION, replace(reference, truth=truth)), bands))
        for truth in (reference.truth * 2, reference.truth / 2)
    ]
    assert verdicts == [{Verdict.WORSE}, {Verdict.BETTER}]


def test_small_windows_vary_more() -> None:
    rng = np.random.default_rng(7)
    outside = sum(
        verdict is not Verdict.WITHIN
        for _ in range(50)
        for verdict in judge_performance(measure_performance(Task.BINARY, draw(rng, 60)), BANDS)
    )
    assert outside <= 10  # of 300


def test_where_there_is_no_number_there_is_no_verdict() -> None:
    nothing = measure_performance(Task.BINARY, REFERENCE.take(np.arange(5)))
    assert set(judge_performance(nothing, BANDS)) == {Verdict.UNKNOWN}
    numbers = np.full(1, 0.8)
    other = Performance(("accuracy",), numbers, numbers, numbers, 600, 600.0, ("ok",))
    verdicts = dict(zip(BANDS.names, judge_performance(other, BANDS), strict=True))
    assert verdicts["accuracy"] is not Verdict.UNKNOWN
    assert verdicts["roc_auc"] is Verdict.UNKNOWN


@pytest.mark.parametrize("rows", [0, 50])
def test_a_reference_that_teaches_nothing_has_no_bands_of_estimates(rows: int) -> None:
    reference = REFERENCE.take(np.arange(rows))
    estimator = fit_estimator(Task.BINARY, reference, RNG)
    bands = measure_bands(estimator, reference, RNG, window_rows=600)
    assert np.isnan(bands.estimated_means).all()
    assert np.isnan(bands.means).all() == (rows == 0)


def test_a_ranking_has_no_bands() -> None:
    ranking = Outcomes(np.ones(300), np.ones(300), np.ones(300), np.ones(300), np.arange(300))
    assert measure_bands(fit_estimator(Task.RANKING, ranking, RNG), ranking, RNG, window_rows=100).names == ()


def test_what_is_stored_is_what_is_read() -> None:
    estimator, bands = decode_estimator(encode_estimator(ESTIMATOR, BANDS))
    window = outputs_of(draw(np.random.default_rng(8), 600))
    expected, found = estimate_performance(ESTIMATOR, window), estimate_performance(estimator, window)
    np.testing.assert_array_equal(found.values, expected.values)
    np.testing.assert_array_equal(found.upper, expected.upper)
    assert judge_performance(found, bands) == judge_performance(expected, BANDS)
    assert encode_estimator(estimator, bands) == encode_estimator(ESTIMATOR, BANDS)


def test_trees_are_stored_too() -> None:
    rng = np.random.default_rng(9)
    features = rng.random((1_000, 4))
    reference = Outcomes(rng.normal(0, 1 + features[:, 0]), np.zeros(1_000), None, np.ones(1_000), None)
    estimator = fit_estimator(Task.REGRESSION, reference, rng, features)
    bands = measure_bands(estimator, reference, rng, window_rows=300, features=features)
    restored, _ = decode_estimator(encode_estimator(estimator, bands))
    outputs = outputs_of(reference, features)
    np.testing.assert_array_equal(
        estimate_performance(restored, outputs).values, estimate_performance(estimator, outputs).values
    )


def make_odd() -> list[tuple[Estimator, Bands]]:
    curve = ESTIMATOR.curves[0]
    short = replace(curve, odds=curve.odds[:-1])
    turned = replace(curve, knots=curve.knots[::-1].copy())
    return [
        (replace(ESTIMATOR, curves=()), BANDS),
        (replace(ESTIMATOR, curves=(short, short)), BANDS),
        (replace(ESTIMATOR, curves=(turned, turned)), BANDS),
        (ESTIMATOR, replace(BANDS, names=("accuracy",))),
    ]


@pytest.mark.parametrize("case", range(4))
def test_what_does_not_fit_together_is_refused(case: int) -> None:
    with pytest.raises(InvalidPayload, match="not an estimator"):
        decode_estimator(encode_estimator(*make_odd()[case]))


def test_other_bytes_are_refused() -> None:
    with pytest.raises(InvalidPayload):
        decode_estimator(b"something else")
