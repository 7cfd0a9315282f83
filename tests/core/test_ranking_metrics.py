"""Ranking metrics: those of scikit-learn, ties averaged over all orders, and a status where there is none."""

from dataclasses import replace
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from sklearn import metrics

from driftline.core.outcomes import Outcomes
from driftline.core.performance import measure_performance, metric_names
from driftline.core.schema import Task
from tests.core.outcome_samples import by_name, draw_ranking, make_outcomes, status_of

NAMES = metric_names(Task.RANKING)


def score_order(relevance: NDArray[np.float64], k: int) -> tuple[float, float]:
    """AP@k and reciprocal rank of rows in this order."""
    relevant = relevance > 0
    if not relevant.any():
        return 0.0, 0.0
    precision = np.cumsum(relevant) / np.arange(1, len(relevant) + 1)
    return float((precision * relevant)[:k].sum() / min(k, relevant.sum())), 1 / (1 + int(relevant.argmax()))


def average_orders(relevance: NDArray[np.float64], scores: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Means over all orders of the rows that the scores allow."""
    orders = [
        score_order(relevance[list(order)], k)
        for order in permutations(range(len(scores)))
        if all(scores[a] >= scores[b] for a, b in pairwise(order))
    ]
    return np.mean(orders, axis=0)


@settings(deadline=None, max_examples=30)
@given(hnp.arrays(np.float64, (2, 12, 5), elements=st.integers(0, 2)), st.integers(1, 5), st.integers(1, 4))
def test_tied_rows_are_averaged_over_all_orders(rows: NDArray[np.float64], length: int, k: int) -> None:
    relevance, scores = rows[:, :, :length]
    groups = np.repeat(np.arange(12) * 7 % 97, length)
    outcomes = make_outcomes(relevance.ravel(), scores.ravel(), scores.ravel(), groups=groups)
    found = measure_performance(Task.RANKING, outcomes, k=k)
    if not relevance.any():
        assert set(found.status) == {"no_positives"}
        return
    each = [average_orders(*one, k) for one in zip(relevance, scores, strict=True)]
    assert found.values[1:] == pytest.approx(np.mean(each, axis=0), abs=1e-9)
    if length > 1:
        assert found.values[0] == pytest.approx(metrics.ndcg_score(relevance, scores, k=k), abs=1e-9)


def test_values_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    scores, relevance = rng.normal(size=(60, 30)), rng.integers(0, 4, (60, 30)).astype(float)
    weights = rng.random(60) + 0.5
    rows = rng.permutation(1800)
    outcomes = make_outcomes(
        relevance.ravel(),
        scores.ravel(),
        scores.ravel(),
        weights=np.repeat(weights, 30),
        groups=np.repeat(np.arange(60), 30),
    ).take(rows)
    found = measure_performance(Task.RANKING, outcomes)
    assert found.values[0] == pytest.approx(
        metrics.ndcg_score(relevance, scores, k=10, sample_weight=weights), abs=1e-9
    )
    everywhere = measure_performance(Task.RANKING, outcomes, k=30)
    expected = [metrics.average_precision_score(r > 0, s) for r, s in zip(relevance, scores, strict=True)]
    assert by_name(everywhere)["map@30"] == pytest.approx(np.average(expected, weights=weights), abs=1e-9)
    assert found.n == 1800
    assert found.n_eff == pytest.approx(weights.sum() ** 2 / (weights**2).sum())


def test_a_long_list_of_ties_is_averaged_exactly() -> None:
    rows = 5_000
    relevance = np.tile((np.arange(rows) == 17).astype(float), 10)
    outcomes = make_outcomes(relevance, relevance * 0, relevance * 0, groups=np.repeat(np.arange(10), rows))
    found = by_name(measure_performance(Task.RANKING, outcomes))
    expected = float((1 / np.arange(1, rows + 1)).mean())
    assert found["mrr"] == pytest.approx(expected, rel=1e-9)


GOOD = draw_ranking(np.random.default_rng(2), 40)
SCORES = GOOD.scores
assert SCORES is not None
FIRST = np.arange(GOOD.rows) == 0

DEGENERATE: dict[str, tuple[Outcomes, str]] = {
    "nothing wrong": (GOOD, "ok"),
    "no row": (GOOD.take(FIRST & False), "too_few"),
    "nine lists": (replace(GOOD, groups=np.arange(GOOD.rows) % 9), "too_few"),
    "no lists": (replace(GOOD, groups=None), "no_groups"),
    "no scores": (replace(GOOD, scores=None), "no_scores"),
    "a NaN score": (replace(GOOD, scores=np.where(FIRST, np.nan, SCORES)), "invalid_scores"),
    "negative relevance": (replace(GOOD, truth=np.where(FIRST, -1, GOOD.truth)), "invalid_truth"),
    "a NaN label": (replace(GOOD, truth=np.where(FIRST, np.nan, GOOD.truth)), "invalid_truth"),
    "nothing relevant": (replace(GOOD, truth=GOOD.truth * 0), "no_positives"),
}


@pytest.mark.parametrize("case", DEGENERATE)
def test_what_cannot_be_measured_has_a_status(case: str) -> None:
    outcomes, expected = DEGENERATE[case]
    found = measure_performance(Task.RANKING, outcomes)
    assert status_of(found) == dict.fromkeys(NAMES, expected)
    assert np.isnan(found.values).all() == (expected != "ok")
