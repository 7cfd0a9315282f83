"""Binary metrics: those of scikit-learn, and a status where there is none."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from driftline.core.binary_metrics import BINARY_METRICS
from driftline.core.outcomes import Outcomes
from driftline.core.performance import measure_performance
from driftline.core.schema import Task
from tests.core.outcome_samples import by_name, column, draw_binary, make_outcomes, status_of, tied_score, weight

ROWS = 40


def expect_calibration_error(outcomes: Outcomes) -> float:
    """The definition, in words: sort, cut by weight, compare."""
    scores, weights = outcomes.scores, outcomes.weights
    assert scores is not None
    bins = [
        min(int(10 * (weights[scores > s].sum() + weights[scores == s].sum() / 2) / weights.sum()), 9)
        for s in scores
    ]
    gaps = weights * (scores - outcomes.truth)
    return sum(abs(gaps[np.equal(bins, b)].sum()) for b in range(10)) / float(weights.sum())


def expect_ks(outcomes: Outcomes) -> float:
    scores, truth, weights = outcomes.scores, outcomes.truth, outcomes.weights
    assert scores is not None
    shares = [[np.average(scores[truth == c] <= s, weights=weights[truth == c]) for s in scores] for c in (0, 1)]
    return float(np.abs(np.subtract(*shares)).max())


def of_classes(metric: Callable[..., float], **options: Any) -> Callable[[Outcomes], float]:
    return lambda o: metric(o.truth, o.prediction, sample_weight=o.weights, **options)


def of_scores(metric: Callable[..., float], **options: Any) -> Callable[[Outcomes], float]:
    return lambda o: metric(o.truth, o.scores, sample_weight=o.weights, **options)


EXPECTED: dict[str, Callable[[Outcomes], float]] = {
    "accuracy": of_classes(metrics.accuracy_score),
    "balanced_accuracy": of_classes(metrics.balanced_accuracy_score),
    "precision": of_classes(metrics.precision_score),
    "recall": of_classes(metrics.recall_score),
    "f1": of_classes(metrics.f1_score),
    "roc_auc": of_scores(metrics.roc_auc_score),
    "pr_auc": of_scores(metrics.average_precision_score),
    "log_loss": of_scores(metrics.log_loss, labels=[0, 1]),
    "brier": of_scores(metrics.brier_score_loss, pos_label=1),
    "calibration_error": expect_calibration_error,
    "ks": expect_ks,
}


@st.composite
def outcomes_of_both_classes(draw: st.DrawFn) -> Outcomes:
    codes = column(ROWS, st.integers(0, 1), np.intp)
    truth = draw(codes)
    truth[:4] = [0, 1, 0, 1]
    weights = draw(st.one_of(st.just(np.ones(ROWS)), column(ROWS, weight)))
    weights[:4] = weights[4:].max()
    return make_outcomes(
        truth, draw(codes), draw(column(ROWS, tied_score)), weights=weights, classes=("no", "yes")
    )


@settings(deadline=None, max_examples=50)
@given(outcomes_of_both_classes())
def test_values_are_those_of_scikit_learn(outcomes: Outcomes) -> None:
    found = measure_performance(Task.BINARY, outcomes)
    assert found.names == BINARY_METRICS
    for name, value, lower, upper, status in zip(
        found.names, found.values, found.lower, found.upper, found.status, strict=True
    ):
        if status == "ok":
            assert value == pytest.approx(EXPECTED[name](outcomes), abs=1e-9), name
            assert 0 <= lower <= value <= upper, name
        else:
            assert np.isnan([value, lower, upper]).all()
            assert status == {"precision": "no_predicted_positives"}.get(name, "too_few")


def test_ks_is_that_of_scipy() -> None:
    outcomes = draw_binary(np.random.default_rng(1), 500)
    assert outcomes.scores is not None
    expected = stats.ks_2samp(*(outcomes.scores[outcomes.truth == code] for code in (0, 1))).statistic
    assert by_name(measure_performance(Task.BINARY, outcomes))["ks"] == pytest.approx(expected, abs=1e-12)


def test_nothing_depends_on_the_order_of_rows() -> None:
    outcomes = draw_binary(np.random.default_rng(2), 300)
    outcomes = replace(outcomes, groups=np.arange(300) // 3)
    found = measure_performance(Task.BINARY, outcomes)
    shuffled = measure_performance(Task.BINARY, outcomes.take(np.random.default_rng(3).permutation(300)))
    for name in ("values", "lower", "upper"):
        assert getattr(shuffled, name) == pytest.approx(getattr(found, name), abs=1e-12)


@settings(deadline=None, max_examples=30)
@given(column(ROWS, st.integers(1, 3), np.intp))
def test_an_integer_weight_is_that_many_rows(copies: Any) -> None:
    outcomes = draw_binary(np.random.default_rng(4), ROWS)
    weighted = measure_performance(Task.BINARY, replace(outcomes, weights=copies.astype(np.float64)))
    repeated = outcomes.take(np.repeat(np.arange(ROWS), copies))
    repeated = replace(repeated, groups=np.repeat(np.arange(ROWS), copies))
    found = measure_performance(Task.BINARY, repeated)
    assert weighted.n_eff == pytest.approx(found.n_eff)
    assert weighted.values == pytest.approx(found.values, nan_ok=True)
    others = [i for i, name in enumerate(found.names) if name != "ks"]
    assert weighted.lower[others] == pytest.approx(found.lower[others], nan_ok=True)
    assert weighted.upper[others] == pytest.approx(found.upper[others], nan_ok=True)


def test_rows_of_weight_0_are_as_if_they_were_not_there() -> None:
    outcomes = draw_binary(np.random.default_rng(5), 100)
    none = replace(outcomes, weights=np.where(np.arange(100) < 60, 1.0, 0.0))
    found = measure_performance(Task.BINARY, none)
    expected = measure_performance(Task.BINARY, outcomes.take(np.arange(60)))
    assert found.n == 60
    assert found.values.tolist() == expected.values.tolist()
    assert found.upper.tolist() == expected.upper.tolist()


THRESHOLD = ("accuracy", "balanced_accuracy", "precision", "recall", "f1")
ORDER = ("roc_auc", "pr_auc", "ks")
PROBABILITY = ("log_loss", "brier", "calibration_error")
GOOD = draw_binary(np.random.default_rng(6), 50)
SCORES = GOOD.scores
assert SCORES is not None
ZEROS, ONES = np.zeros(50, np.intp), np.ones(50, np.intp)
NAN = np.where(np.arange(50) == 7, np.nan, SCORES)
ONE_POSITIVE = np.arange(50) // 49

DEGENERATE: dict[str, tuple[Outcomes, dict[str, str]]] = {
    "nothing wrong": (GOOD, {}),
    "no row": (GOOD.take(np.empty(0, np.intp)), dict.fromkeys(BINARY_METRICS, "too_few")),
    "nine rows": (GOOD.take(np.arange(9)), dict.fromkeys(BINARY_METRICS, "too_few")),
    "nine entities": (replace(GOOD, groups=np.arange(50) % 9), dict.fromkeys(BINARY_METRICS, "too_few")),
    "one heavy row": (
        replace(GOOD, weights=np.where(np.arange(50) == 1, 1e6, 1.0)),
        dict.fromkeys(BINARY_METRICS, "too_few"),
    ),
    "no positives": (
        replace(GOOD, truth=ZEROS),
        dict.fromkeys(("balanced_accuracy", "roc_auc", "ks"), "one_class")
        | dict.fromkeys(("recall", "f1", "pr_auc"), "no_positives"),
    ),
    "only positives": (
        replace(GOOD, truth=ONES),
        dict.fromkeys(("balanced_accuracy", "roc_auc", "pr_auc", "ks"), "one_class"),
    ),
    "one positive": (replace(GOOD, truth=ONE_POSITIVE), dict.fromkeys(ORDER, "too_few")),
    "no predicted positives": (replace(GOOD, prediction=ZEROS), {"precision": "no_predicted_positives"}),
    "no scores": (replace(GOOD, scores=None), dict.fromkeys((*ORDER, *PROBABILITY), "no_scores")),
    "a NaN score": (replace(GOOD, scores=NAN), dict.fromkeys((*ORDER, *PROBABILITY), "invalid_scores")),
    "a score per class": (
        replace(GOOD, scores=np.stack([1 - SCORES, SCORES], axis=1)),
        dict.fromkeys((*ORDER, *PROBABILITY), "invalid_scores"),
    ),
    "margins": (replace(GOOD, scores=SCORES * 3), dict.fromkeys(PROBABILITY, "not_probabilities")),
    "an unknown label": (
        replace(GOOD, truth=np.where(np.arange(50) == 3, 2, GOOD.truth)),
        dict.fromkeys(BINARY_METRICS, "invalid_truth"),
    ),
    "an unknown prediction": (
        replace(GOOD, prediction=np.where(np.arange(50) == 3, -1, GOOD.prediction)),
        dict.fromkeys(THRESHOLD, "invalid_predictions"),
    ),
}


@pytest.mark.parametrize("case", DEGENERATE)
def test_what_cannot_be_measured_has_a_status(case: str) -> None:
    outcomes, expected = DEGENERATE[case]
    found = measure_performance(Task.BINARY, outcomes)
    assert status_of(found) == dict.fromkeys(BINARY_METRICS, "ok") | expected
    for numbers in (found.values, found.lower, found.upper):
        assert [bool(np.isnan(x)) for x in numbers] == [status != "ok" for status in found.status]


def test_perfect_scores_are_not_certain() -> None:
    truth = (np.arange(50) % 5 == 0).astype(np.intp)
    perfect = make_outcomes(truth, truth, truth.astype(np.float64), classes=("no", "yes"))
    found = measure_performance(Task.BINARY, perfect)
    numbers = {name: (low, value) for name, low, value in zip(found.names, found.lower, found.values, strict=True)}
    for name in (*THRESHOLD, *ORDER):
        lower, value = numbers[name]
        assert value == 1, name
        assert 0.6 < lower < 0.95, name
    assert numbers["brier"] == (0, 0)


def test_a_calibrated_model_may_have_no_calibration_error() -> None:
    outcomes = draw_binary(np.random.default_rng(7), 2_000)
    assert outcomes.scores is not None
    sure = replace(outcomes, scores=outcomes.scores**3 / (outcomes.scores**3 + (1 - outcomes.scores) ** 3))
    at = BINARY_METRICS.index("calibration_error")
    found, too_sure = (measure_performance(Task.BINARY, o) for o in (outcomes, sure))
    assert found.lower[at] == 0 < found.values[at] < 0.05
    assert 0.05 < too_sure.lower[at] < too_sure.values[at]
