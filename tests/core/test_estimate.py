"""Estimates hold what is measured later while scores mean what they meant, and say why when there is none."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.special import expit, softmax

from driftline.core.errors import InvalidInput
from driftline.core.estimate import (
    MIN_REFERENCE,
    Estimator,
    Outputs,
    estimate_performance,
    estimated_names,
    fit_estimator,
    outputs_of,
)
from driftline.core.outcomes import Outcomes
from driftline.core.performance import Performance, measure_performance, metric_names
from driftline.core.schema import Task

Array = NDArray[np.float64]


def draw_binary(
    rng: Generator, rows: int, shift: float = 0, widen: float | None = None, flipped: float = 0
) -> Outcomes:
    """One feature decides; the scores rank rightly, but are too sure and too high.

    Where the feature has shifted, its spread has changed, too.
    """
    if widen is None:
        widen = rng.uniform(0.7, 1.2) if shift else 1.0
    feature = rng.normal(shift, widen, rows)
    truth = (rng.random(rows) < expit(1.5 * feature)) ^ (rng.random(rows) < flipped)
    scores = expit(2.3 * feature + 0.5)
    return Outcomes(truth.astype(int), (scores > 0.6).astype(int), scores, np.ones(rows), None, ("no", "yes"))


def draw_multiclass(rng: Generator, rows: int, shift: float = 0) -> Outcomes:
    features = rng.normal((shift, 0, 0), 1, (rows, 3))
    effects = np.array([[1.5, -1, 0.3, 0], [0, 1.2, -1, 0.5], [0.5, 0, 1, -1.5]])
    odds = features @ effects + [0.5, 0, -0.3, -0.6]
    truth = (rng.random((rows, 1)) > softmax(odds, axis=1).cumsum(axis=1)[:, :-1]).sum(axis=1)
    scores = softmax(1.5 * odds, axis=1)
    return Outcomes(truth, scores.argmax(axis=1), scores, np.ones(rows), None, ("a", "b", "c", "d"))


def draw_regression(rng: Generator, rows: int, shift: float = 0) -> tuple[Outcomes, Array]:
    """The model misses a square, and noise grows with a feature."""
    features = rng.normal((shift, 0, 0), 1, (rows, 3))
    noise = rng.standard_normal(rows) * np.exp(0.4 * features[:, 0])
    truth = 2 * features[:, 0] + features[:, 1] ** 2 + noise
    return Outcomes(truth, 2 * features[:, 0] + 1, None, np.ones(rows), None), features


def pick(performance: Performance, names: tuple[str, ...]) -> Array:
    return np.array([performance.values[performance.names.index(name)] for name in names])


def held(estimate: Performance, realised: Performance) -> NDArray[np.bool_]:
    values = pick(realised, estimate.names)
    assert set(estimate.status) == {"ok"}
    return np.asarray((estimate.lower <= values) & (values <= estimate.upper))


def simulate(
    task: Task, draw: Callable[[Generator, int, float], Outcomes], references: int, windows: int
) -> tuple[Array, Array]:
    """Shares of the windows whose realised values the intervals hold [k], and median half widths [k]."""
    inside, widths = [], []
    for seed in range(references):
        rng = np.random.default_rng(seed)
        estimator = fit_estimator(task, draw(rng, 5_000, 0), rng)
        for _ in range(windows):
            window = draw(rng, 1_000, rng.uniform(-0.8, 0.8))
            estimate = estimate_performance(estimator, outputs_of(window))
            inside.append(held(estimate, measure_performance(task, window)))
            widths.append((estimate.upper - estimate.lower) / 2)
    return np.mean(inside, axis=0), np.median(widths, axis=0)


def test_intervals_hold_what_comes_while_scores_stay_calibrated() -> None:
    share, width = simulate(Task.BINARY, draw_binary, 10, 30)
    assert share.min() >= 0.9
    assert width[estimated_names(Task.BINARY).index("roc_auc")] <= 0.05
    assert width.max() <= 0.06


def test_intervals_hold_what_comes_of_several_classes() -> None:
    share, width = simulate(Task.MULTICLASS, draw_multiclass, 8, 20)
    assert share.min() >= 0.9
    assert width.max() <= 0.05


def test_intervals_hold_the_errors_that_come() -> None:
    inside, widths = [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        reference, features = draw_regression(rng, 5_000)
        estimator = fit_estimator(Task.REGRESSION, reference, rng, features)
        for _ in range(20):
            window, features = draw_regression(rng, 1_000, rng.uniform(-0.5, 0.5))
            estimate = estimate_performance(estimator, outputs_of(window, features))
            inside.append(held(estimate, measure_performance(Task.REGRESSION, window)))
            widths.append((estimate.upper - estimate.lower) / 2 / estimate.values)
    assert np.mean(inside, axis=0).min() >= 0.9
    assert np.median(widths, axis=0).max() <= 0.1


BINARY = fit_estimator(Task.BINARY, draw_binary(np.random.default_rng(1), 5_000), np.random.default_rng(1))


def test_harder_cases_are_seen() -> None:
    easy = draw_binary(np.random.default_rng(2), 2_000, widen=1.5)
    hard = draw_binary(np.random.default_rng(2), 2_000, widen=0.3)
    seen = [estimate_performance(BINARY, outputs_of(window)) for window in (easy, hard)]
    assert (seen[0].lower > seen[1].upper).sum() >= 4
    assert held(seen[0], measure_performance(Task.BINARY, easy)).all()
    assert held(seen[1], measure_performance(Task.BINARY, hard)).all()


def test_concept_drift_is_not_seen() -> None:
    """Labels flip and nothing that the model sees or says changes: no estimate without labels can tell."""
    inside = []
    for seed in range(20):
        usual, flipped = (draw_binary(np.random.default_rng(seed), 1_000, flipped=share) for share in (0, 0.3))
        estimates = [estimate_performance(BINARY, outputs_of(window)) for window in (usual, flipped)]
        np.testing.assert_array_equal(estimates[0].values, estimates[1].values)
        inside.append(held(estimates[0], measure_performance(Task.BINARY, usual)))
        assert not held(estimates[1], measure_performance(Task.BINARY, flipped)).any()
    assert np.mean(inside) > 0.85


@pytest.mark.parametrize("task", list(Task))
def test_names_are_those_of_the_measured_metrics(task: Task) -> None:
    assert set(estimated_names(task)) <= set(metric_names(task, ("a", "b", "c")))


def test_an_estimate_is_the_metric_of_expected_labels() -> None:
    """Rows whose labels come in exactly the expected shares measure what was estimated."""
    rng = np.random.default_rng(4)
    levels = np.array([0.1, 0.3, 0.5, 0.8])
    scores = np.repeat(levels, 1_000)
    truth = (np.tile(np.arange(1_000), 4) < 1_000 * scores).astype(int)
    outcomes = Outcomes(truth, rng.integers(0, 2, 4_000), scores, np.ones(4_000), None, ("no", "yes"))
    outcomes = replace(outcomes, prediction=(scores > 0.4).astype(int))
    estimate = estimate_performance(fit_estimator(Task.BINARY, outcomes, rng), outputs_of(outcomes))
    realised = measure_performance(Task.BINARY, outcomes)
    np.testing.assert_allclose(estimate.values, pick(realised, estimate.names), atol=1e-3)


def test_weights_count_as_rows() -> None:
    window = draw_binary(np.random.default_rng(5), 500)
    weights = np.random.default_rng(5).integers(1, 4, 500)
    often = window.take(np.repeat(np.arange(500), weights))
    weighted = estimate_performance(BINARY, replace(outputs_of(window), weights=weights.astype(float)))
    repeated = estimate_performance(BINARY, outputs_of(often))
    np.testing.assert_allclose(weighted.values, repeated.values, atol=1e-3)
    assert weighted.n_eff < 500 < repeated.n_eff
    assert (weighted.upper - weighted.lower > repeated.upper - repeated.lower).all()


def test_rows_of_one_entity_count_once() -> None:
    """Five rows a entity, all with its score and its label, are worth what one of them is."""
    single = draw_binary(np.random.default_rng(6), 400)
    five = single.take(np.repeat(np.arange(400), 5))
    alone = estimate_performance(BINARY, outputs_of(single))
    grouped = estimate_performance(
        BINARY, replace(outputs_of(five), groups=np.repeat(np.arange(400), 5).astype(np.int64))
    )
    assert grouped.n_eff == pytest.approx(400)
    np.testing.assert_allclose(grouped.values, alone.values, atol=2e-3)
    np.testing.assert_allclose(grouped.upper - grouped.lower, alone.upper - alone.lower, rtol=0.02)


def test_entities_of_a_reference_make_the_estimate_less_sure() -> None:
    single = draw_binary(np.random.default_rng(7), 400)
    five = replace(single.take(np.repeat(np.arange(400), 5)), groups=np.repeat(np.arange(400), 5).astype(np.int64))
    window = outputs_of(draw_binary(np.random.default_rng(8), 1_000))
    widths = [
        np.ptp([estimate.lower, estimate.upper], axis=0)
        for reference in (single, five)
        for estimate in (estimate_performance(fit_estimator(Task.BINARY, reference, RNG), window),)
    ]
    np.testing.assert_allclose(widths[0], widths[1], rtol=0.05)


RNG = np.random.default_rng(0)
GOOD = draw_binary(np.random.default_rng(9), 300)


def test_three_hundred_rows_are_enough() -> None:
    estimate = estimate_performance(fit_estimator(Task.BINARY, GOOD, RNG), outputs_of(GOOD))
    assert set(estimate.status) == {"ok"}


@pytest.mark.parametrize(
    ("reference", "status"),
    [
        (GOOD.take(np.arange(MIN_REFERENCE - 1)), "too_few"),
        (GOOD.take(np.arange(0)), "too_few"),
        (replace(GOOD, scores=None), "no_scores"),
        (replace(GOOD, scores=np.full(300, 0.4)), "constant_score"),
        (replace(GOOD, scores=np.full(300, np.nan)), "too_few"),
        (replace(GOOD, scores=np.ones((300, 3))), "invalid_scores"),
        (replace(GOOD, truth=np.zeros(300, int)), "one_class"),
        (replace(GOOD, truth=np.full(300, -1)), "too_few"),
        (replace(GOOD, truth=(np.arange(300) < 5).astype(int)), "too_few"),
    ],
)
def test_a_reference_that_teaches_nothing_has_a_status(reference: Outcomes, status: str) -> None:
    estimator = fit_estimator(Task.BINARY, reference, RNG)
    assert estimator.status == status
    estimate = estimate_performance(estimator, outputs_of(GOOD))
    assert set(estimate.status) == {status}
    assert np.isnan([estimate.values, estimate.lower, estimate.upper]).all()


def test_a_class_that_the_reference_does_not_have_is_a_status() -> None:
    reference = draw_multiclass(np.random.default_rng(10), 1_000)
    reference = reference.take(reference.truth != 2)
    assert fit_estimator(Task.MULTICLASS, reference, RNG).status == "missing_class"


def test_a_multiclass_model_of_two_classes_needs_a_score_for_each() -> None:
    by_class = replace(GOOD, scores=np.column_stack([1 - GOOD.scores, GOOD.scores]))
    estimator = fit_estimator(Task.MULTICLASS, by_class, RNG)
    estimate = estimate_performance(estimator, outputs_of(by_class))
    assert estimate.names == estimated_names(Task.MULTICLASS)
    assert set(estimate.status) == {"ok"}
    assert fit_estimator(Task.MULTICLASS, GOOD, RNG).status == "invalid_scores"
    assert set(estimate_performance(estimator, outputs_of(GOOD)).status) == {"invalid_scores"}


@pytest.mark.parametrize(
    ("window", "status"),
    [
        (GOOD.take(np.arange(9)), "too_few"),
        (GOOD.take(np.arange(0)), "too_few"),
        (replace(GOOD, weights=np.zeros(300)), "too_few"),
        (replace(GOOD, scores=None), "no_scores"),
        (replace(GOOD, scores=np.where(np.arange(300) < 30, np.nan, GOOD.scores)), "invalid_scores"),
        (replace(GOOD, scores=np.column_stack([GOOD.scores] * 3)), "invalid_scores"),
        (replace(GOOD, scores=GOOD.scores + 2), "unseen_scores"),
        (replace(GOOD, prediction=np.full(300, 7)), "invalid_scores"),
    ],
)
def test_a_window_that_cannot_be_estimated_has_a_status(window: Outcomes, status: str) -> None:
    estimate = estimate_performance(BINARY, outputs_of(window))
    assert set(estimate.status) == {status}
    assert np.isnan(estimate.values).all()


def test_a_few_missing_scores_are_left_out() -> None:
    scores = np.where(np.arange(300) < 10, np.nan, GOOD.scores)
    estimate = estimate_performance(BINARY, outputs_of(replace(GOOD, scores=scores)))
    assert set(estimate.status) == {"ok"}
    assert estimate.n == 290


def test_metrics_that_a_window_has_no_rows_for_have_a_status_of_their_own() -> None:
    low = Outputs(np.zeros(300, int), np.full(300, 0.001), np.ones(300))
    low = replace(low, scores=np.full(300, GOOD.scores.min()))  # type: ignore[union-attr]
    estimate = estimate_performance(BINARY, low)
    status = dict(zip(estimate.names, estimate.status, strict=True))
    assert status["accuracy"] == "ok"
    assert status["precision"] == "no_predicted_positives"
    rare = estimate_performance(BINARY, low.take(np.arange(20)))
    assert dict(zip(rare.names, rare.status, strict=True))["roc_auc"] == "too_few"


def test_a_constant_score_in_a_window_ranks_nothing() -> None:
    window = Outputs(np.ones(300, int), np.full(300, 0.7), np.ones(300))
    estimate = estimate_performance(BINARY, window)
    assert estimate.values[estimate.names.index("roc_auc")] == pytest.approx(0.5)


def test_scores_need_not_be_probabilities() -> None:
    def margins(outcomes: Outcomes) -> Outcomes:
        assert outcomes.scores is not None
        return replace(outcomes, scores=10 * outcomes.scores - 3)

    reference, window = (draw_binary(np.random.default_rng(seed), 3_000) for seed in (11, 12))
    usual = estimate_performance(fit_estimator(Task.BINARY, reference, RNG), outputs_of(window))
    other = estimate_performance(fit_estimator(Task.BINARY, margins(reference), RNG), outputs_of(margins(window)))
    np.testing.assert_allclose(usual.values, other.values, atol=0.01)


def test_rankings_are_not_estimated() -> None:
    ranking = Outcomes(np.ones(300), np.ones(300), np.ones(300), np.ones(300), np.arange(300))
    estimator = fit_estimator(Task.RANKING, ranking, RNG)
    assert estimator.status == "not_estimated"
    assert estimate_performance(estimator, outputs_of(ranking)).names == ()


def test_regression_without_usable_predictions_has_a_status() -> None:
    reference, features = draw_regression(RNG, 500)
    estimator = fit_estimator(Task.REGRESSION, reference, RNG, features)
    nothing = replace(outputs_of(reference, features), prediction=np.full(500, np.nan))
    assert set(estimate_performance(estimator, nothing).status) == {"invalid_predictions"}
    few = fit_estimator(Task.REGRESSION, reference.take(np.arange(50)), RNG, features[:50])
    assert set(estimate_performance(few, outputs_of(reference, features)).status) == {"too_few"}


def test_a_perfect_regression_has_no_error() -> None:
    reference, _ = draw_regression(RNG, 500)
    perfect = replace(reference, prediction=reference.truth)
    estimate = estimate_performance(fit_estimator(Task.REGRESSION, perfect, RNG), outputs_of(perfect))
    assert estimate.values.tolist() == estimate.upper.tolist() == [0, 0]


def test_other_features_than_the_references_are_refused() -> None:
    reference, features = draw_regression(RNG, 300)
    estimator = fit_estimator(Task.REGRESSION, reference, RNG, features)
    with pytest.raises(InvalidInput, match=r"give 3 columns and 300 rows") as refused:
        estimate_performance(estimator, outputs_of(reference, features[:, :2]))
    assert refused.value.field == "features"
    with pytest.raises(InvalidInput, match=r"give 3 columns and 300 rows"):
        estimate_performance(estimator, outputs_of(reference))


@given(
    scores=st.lists(st.sampled_from([np.nan, np.inf, -1.0, 0.0, 0.2, 0.5, 1.0, 3.0]), min_size=0, max_size=40),
    codes=st.lists(st.integers(-1, 2), min_size=40, max_size=40),
    estimator=st.sampled_from([BINARY, fit_estimator(Task.BINARY, replace(GOOD, scores=GOOD.scores * 3), RNG)]),  # type: ignore[operator]
)
def test_whatever_comes_there_is_a_number_or_a_status(
    scores: list[float], codes: list[int], estimator: Estimator
) -> None:
    window = Outputs(np.array(codes[: len(scores)], int), np.array(scores), np.ones(len(scores)))
    estimate = estimate_performance(estimator, window)
    for value, lower, upper, status in zip(
        estimate.values, estimate.lower, estimate.upper, estimate.status, strict=True
    ):
        assert (status == "ok") == (0 <= lower <= value <= upper <= 1)
        assert np.isnan(value) == (status != "ok")
