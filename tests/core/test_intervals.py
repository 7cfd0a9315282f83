"""Intervals: the influence of a row is what leaving it out does; rows of one entity are not independent."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from driftline.core.intervals import (
    Clusters,
    average,
    find_clusters,
    half_width,
    measure_median,
    measure_positive,
    measure_ratio,
)
from driftline.core.outcomes import Outcomes
from driftline.core.performance import measure_performance
from driftline.core.schema import Task
from driftline.core.score_curve import area_under_roc, sort_scores
from tests.core.outcome_samples import by_name, draw_binary, draw_multiclass, draw_ranking, draw_regression

# Not smooth in the weights, so leaving one row out says little of them.
ROUGH = ("ks", "calibration_error", "median_ae")
DRAWS: dict[Task, Callable[..., Outcomes]] = {
    Task.BINARY: draw_binary,
    Task.MULTICLASS: draw_multiclass,
    Task.REGRESSION: draw_regression,
    Task.RANKING: draw_ranking,
}


@pytest.mark.parametrize("entities", [False, True])
@pytest.mark.parametrize("task", DRAWS)
def test_intervals_are_as_wide_as_the_jackknife_says(task: Task, entities: bool) -> None:
    outcomes = DRAWS[task](np.random.default_rng(1), 300)
    outcomes = replace(outcomes, weights=np.random.default_rng(2).choice([1.0, 1.5], outcomes.rows))
    if entities and task is not Task.RANKING:
        outcomes = replace(outcomes, groups=np.arange(outcomes.rows) // 2)
    groups = np.arange(outcomes.rows) if outcomes.groups is None else outcomes.groups
    found = measure_performance(task, outcomes)
    without = np.array(
        [measure_performance(task, outcomes.take(groups != group)).values for group in np.unique(groups)]
    )
    count = len(without)
    error = np.sqrt((count - 1) / count * ((without - without.mean(axis=0)) ** 2).sum(axis=0))
    for name, lower, upper, expected in zip(found.names, found.lower, found.upper, error, strict=True):
        if name not in ROUGH:
            assert (upper - lower) / (2 * 1.96) == pytest.approx(expected, rel=0.12), name


def test_the_influence_on_auc_is_its_derivative_by_the_weight() -> None:
    outcomes = draw_binary(np.random.default_rng(3), 50)
    assert outcomes.scores is not None
    scores, weights = outcomes.scores.round(1), np.random.default_rng(4).random(50) + 0.5

    def area(weights: Any) -> float:
        return area_under_roc(sort_scores(scores, outcomes.truth == 1, weights, Clusters(None, 50)))[0]

    _, influence = area_under_roc(sort_scores(scores, outcomes.truth == 1, weights, Clusters(None, 50)))
    step = 1e-6 * np.eye(50)
    slope = [(area(weights + row) - area(weights - row)) / 2e-6 for row in step]
    assert influence == pytest.approx(weights * slope, abs=1e-8)
    assert influence.sum() == pytest.approx(0, abs=1e-12)


def test_a_mean_has_the_interval_of_student() -> None:
    values = np.random.default_rng(5).normal(3, 2, 12)
    expected = stats.t.ppf(0.975, 11) * stats.sem(values)
    found = half_width((values - values.mean()) / 12, Clusters(None, 12))
    assert found == pytest.approx(expected, rel=0.1)  # degrees of freedom are estimated


def test_a_share_has_the_interval_of_wilson() -> None:
    hits = (np.arange(400) < 88).astype(float)
    found = measure_ratio(hits, np.ones(400), Clusters(None, 400))
    expected = stats.binomtest(88, 400).proportion_ci(method="wilson")
    assert (found.lower, found.upper) == pytest.approx((expected.low, expected.high), abs=1e-3)


def test_one_row_that_decides_makes_a_wide_interval_and_no_absurd_one() -> None:
    errors = np.where(np.arange(50) == 7, 1e6, 1.0)
    mean, influence = average(errors, np.full(50, 1 / 50))
    found = measure_positive(mean, influence, Clusters(None, 50))
    assert 1 < found.lower < mean / 5
    assert 5 * mean < found.upper < 100 * mean


def test_a_median_has_the_interval_of_order_statistics() -> None:
    values = np.arange(1, 102, dtype=float)
    found = measure_median(values, np.ones(101), Clusters(None, 101))
    low, high = stats.binom.ppf([0.025, 0.975], 101, 0.5)
    assert found.value == 51
    assert (found.lower, found.upper) == pytest.approx((low, high + 1), abs=1)


def test_copies_of_a_row_are_no_evidence() -> None:
    outcomes = draw_binary(np.random.default_rng(6), 200)
    copies = outcomes.take(np.repeat(np.arange(200), 3))
    found, alone = (measure_performance(Task.BINARY, o) for o in (outcomes, copies))
    together = measure_performance(Task.BINARY, replace(copies, groups=np.repeat(np.arange(200), 3)))
    assert together.values == pytest.approx(found.values)
    assert together.n == alone.n_eff == 600
    assert together.n_eff == pytest.approx(200)
    smooth = [i for i, name in enumerate(found.names) if name != "ks"]  # the halves differ
    assert together.lower[smooth] == pytest.approx(found.lower[smooth])
    assert together.upper[smooth] == pytest.approx(found.upper[smooth])
    of_all = alone.upper - alone.lower < found.upper - found.lower
    assert {name for name, less in zip(found.names, of_all, strict=True) if not less} <= {"calibration_error"}


def test_clusters_number_the_groups() -> None:
    clusters = find_clusters(np.array([5, -3, 5, 9]), 4)
    assert clusters.add(np.array([1.0, 2, 3, 4])).tolist() == [2, 4, 4]
    assert clusters.effective(np.zeros(4)) == 0


def test_more_rows_make_narrower_intervals() -> None:
    small, large = (draw_binary(np.random.default_rng(7), rows) for rows in (200, 20_000))
    found, expected = (measure_performance(Task.BINARY, o) for o in (small, large))
    ratio = (found.upper - found.lower) / (expected.upper - expected.lower)
    smooth = [i for i, name in enumerate(found.names) if name != "calibration_error"]
    assert ratio[smooth] == pytest.approx(np.full(len(smooth), 10), rel=0.35)
    assert set(by_name(found)) == set(by_name(expected))
