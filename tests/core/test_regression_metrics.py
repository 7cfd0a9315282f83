"""Regression metrics: those of scikit-learn, and a status where there is none."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from driftline.core.outcomes import Outcomes
from driftline.core.performance import measure_performance, metric_names
from driftline.core.regression_metrics import REGRESSION_METRICS
from driftline.core.schema import Task
from tests.core.outcome_samples import by_name, column, draw_regression, make_outcomes, status_of, weight

ROWS = 30


def of_numbers(metric: Callable[..., float]) -> Callable[[Outcomes], float]:
    return lambda o: metric(o.truth, o.prediction, sample_weight=o.weights)


EXPECTED: dict[str, Callable[[Outcomes], float]] = {
    "rmse": of_numbers(metrics.root_mean_squared_error),
    "mae": of_numbers(metrics.mean_absolute_error),
    "median_ae": of_numbers(metrics.median_absolute_error),
    "mape": of_numbers(metrics.mean_absolute_percentage_error),
    "r2": of_numbers(metrics.r2_score),
    "bias": lambda o: float(np.average(o.prediction - o.truth, weights=o.weights)),
}
number = st.one_of(st.integers(-4, 4).map(float), st.floats(-100, 100).map(lambda x: round(x, 3)))


@st.composite
def any_numbers(draw: st.DrawFn) -> Outcomes:
    numbers = column(ROWS, number)
    weights = draw(st.one_of(st.just(np.ones(ROWS)), column(ROWS, weight)))
    return make_outcomes(draw(numbers), draw(numbers), None, weights=weights)


@settings(deadline=None, max_examples=100)
@given(any_numbers())
def test_values_are_those_of_scikit_learn(outcomes: Outcomes) -> None:
    found = measure_performance(Task.REGRESSION, outcomes)
    for name, value, lower, upper, status in zip(
        found.names, found.values, found.lower, found.upper, found.status, strict=True
    ):
        if status == "ok":
            assert value == pytest.approx(EXPECTED[name](outcomes), rel=1e-9, abs=1e-9), name
            assert lower <= value <= upper, name
        elif found.n_eff >= 10:
            assert status == {"mape": "zero_truth", "r2": "constant_truth"}[name]


GOOD = draw_regression(np.random.default_rng(1), 50)
NAN, INFINITE = (np.where(np.arange(50) == 7, bad, GOOD.truth) for bad in (np.nan, np.inf))

DEGENERATE: dict[str, tuple[Outcomes, dict[str, str]]] = {
    "nothing wrong": (GOOD, {}),
    "no row": (GOOD.take(np.empty(0, np.intp)), dict.fromkeys(REGRESSION_METRICS, "too_few")),
    "nine rows": (GOOD.take(np.arange(9)), dict.fromkeys(REGRESSION_METRICS, "too_few")),
    "a NaN label": (replace(GOOD, truth=NAN), dict.fromkeys(REGRESSION_METRICS, "invalid_truth")),
    "an infinite label": (replace(GOOD, truth=INFINITE), dict.fromkeys(REGRESSION_METRICS, "invalid_truth")),
    "a NaN prediction": (
        replace(GOOD, prediction=NAN),
        dict.fromkeys(REGRESSION_METRICS, "invalid_predictions"),
    ),
    "constant truth": (replace(GOOD, truth=np.full(50, 0.1)), {"r2": "constant_truth"}),
    "a truth of 0": (replace(GOOD, truth=GOOD.truth * (np.arange(50) != 3)), {"mape": "zero_truth"}),
    "numbers whose squares overflow": (
        replace(GOOD, prediction=GOOD.prediction * 1e200),
        dict.fromkeys(("rmse", "mae", "mape", "r2", "bias"), "undefined"),
    ),
    "a truth whose squares underflow": (
        replace(GOOD, truth=GOOD.truth * 1e-200),
        {"mape": "undefined", "r2": "undefined"},
    ),
}


@pytest.mark.parametrize("case", DEGENERATE)
def test_what_cannot_be_measured_has_a_status(case: str) -> None:
    outcomes, expected = DEGENERATE[case]
    found = measure_performance(Task.REGRESSION, outcomes)
    assert status_of(found) == dict.fromkeys(REGRESSION_METRICS, "ok") | expected
    for numbers in (found.values, found.lower, found.upper):
        assert [bool(np.isnan(x)) for x in numbers] == [status != "ok" for status in found.status]


def test_perfect_predictions_have_no_error() -> None:
    found = by_name(measure_performance(Task.REGRESSION, replace(GOOD, prediction=GOOD.truth)))
    assert found == dict.fromkeys(metric_names(Task.REGRESSION), 0.0) | {"r2": 1.0}


def test_bias_is_positive_when_predictions_are_too_high() -> None:
    higher: Any = GOOD.truth + 2
    assert by_name(measure_performance(Task.REGRESSION, replace(GOOD, prediction=higher)))["bias"] == 2
