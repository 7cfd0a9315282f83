"""Performance: names, statuses and numbers of every task belong together."""

import numpy as np
import pytest

from driftline.core.errors import InvalidInput
from driftline.core.outcomes import Outcomes
from driftline.core.performance import better_is_lower, measure_performance, metric_names
from driftline.core.schema import Task


def make_regression(rows: int = 50) -> Outcomes:
    rng = np.random.default_rng(1)
    truth = rng.normal(5, 1, rows)
    return Outcomes(truth, truth + rng.normal(0, 1, rows), None, np.ones(rows), None)


def test_every_metric_has_a_value_within_its_interval() -> None:
    found = measure_performance(Task.REGRESSION, make_regression())
    assert found.names == metric_names(Task.REGRESSION)
    assert set(found.status) == {"ok"}
    assert (found.lower < found.values).all()
    assert (found.values < found.upper).all()
    assert found.n == found.n_eff == 50


def test_too_few_rows_have_no_number() -> None:
    found = measure_performance(Task.REGRESSION, make_regression(9))
    assert set(found.status) == {"too_few"}
    assert np.isnan(found.values).all()


def test_rows_of_one_entity_count_once() -> None:
    outcomes = make_regression(50)
    found = measure_performance(Task.REGRESSION, outcomes)
    five = outcomes.take(np.repeat(np.arange(50), 5))
    groups = np.repeat(np.arange(50), 5)
    clustered = measure_performance(
        Task.REGRESSION, Outcomes(five.truth, five.prediction, None, five.weights, groups)
    )
    assert clustered.n == 250
    assert clustered.n_eff == pytest.approx(50)
    assert clustered.lower == pytest.approx(found.lower)
    assert clustered.upper == pytest.approx(found.upper)


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(InvalidInput, match="weights has 2 rows, truth has 3"):
        Outcomes(np.zeros(3), np.zeros(3), None, np.ones(2), None)
    with pytest.raises(InvalidInput, match="not negative"):
        Outcomes(np.zeros(3), np.zeros(3), None, np.array([1.0, -1, 1]), None)


def test_errors_are_better_when_lower() -> None:
    assert {name for name in metric_names(Task.REGRESSION) if not better_is_lower(name)} == {"r2"}
