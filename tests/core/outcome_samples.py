"""Outcomes to measure: drawn from known laws, or any at all."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.special import expit, softmax

from driftline.core.outcomes import Outcomes
from driftline.core.performance import Performance

CLASSES = ("ant", "bee", "cat")


def draw_binary(rng: Generator, rows: int, *, shift: float = -1.0, slope: float = 1.5) -> Outcomes:
    """A logistic model that knows the law: its scores are true probabilities."""
    scores = expit(rng.normal(shift, slope, rows))
    truth = (rng.random(rows) < scores).astype(np.intp)
    return make_outcomes(truth, (scores >= 0.5).astype(np.intp), scores, classes=("no", "yes"))


def draw_multiclass(rng: Generator, rows: int) -> Outcomes:
    """Three classes, the last one of a tenth; the scores are true probabilities."""
    scores = softmax(rng.normal([1.0, 0.5, -1.0], 1.5, (rows, 3)), axis=1)
    truth = (rng.random((rows, 1)) > scores.cumsum(axis=1)[:, :2]).sum(axis=1)
    return make_outcomes(truth, scores.argmax(axis=1), scores, classes=CLASSES)


def draw_regression(rng: Generator, rows: int) -> Outcomes:
    """Positive numbers with errors that grow with them."""
    truth = rng.gamma(4.0, 1.0, rows) + 1
    return make_outcomes(truth, truth + 0.1 + rng.normal(0, 0.3, rows) * truth, None)


def draw_ranking(rng: Generator, lists: int) -> Outcomes:
    """Lists of 3 to 20 rows, of which those with high scores are more often relevant."""
    groups = np.repeat(rng.permutation(lists), rng.integers(3, 21, lists)).astype(np.int64)
    scores = rng.normal(0, 1, len(groups)).round(1)
    relevance = rng.binomial(3, expit(1.5 * scores - 2)).astype(np.float64)
    return make_outcomes(relevance, scores, scores, groups=groups)


def make_outcomes(
    truth: NDArray[Any],
    prediction: NDArray[Any],
    scores: NDArray[np.float64] | None,
    *,
    weights: NDArray[np.float64] | None = None,
    groups: NDArray[np.int64] | None = None,
    classes: tuple[str, ...] = (),
) -> Outcomes:
    weights = np.ones(len(truth)) if weights is None else weights
    return Outcomes(truth, prediction, scores, weights, groups, classes)


def column(rows: int, elements: st.SearchStrategy[Any], dtype: Any = np.float64) -> st.SearchStrategy[Any]:
    return hnp.arrays(dtype, rows, elements=elements)


weight = st.one_of(st.integers(1, 4).map(float), st.floats(0.1, 50))
tied_score = st.one_of(st.integers(0, 8).map(lambda i: i / 8), st.floats(0, 1))


def by_name(found: Performance) -> dict[str, float]:
    return dict(zip(found.names, found.values.tolist(), strict=True))


def status_of(found: Performance) -> dict[str, str]:
    return dict(zip(found.names, found.status, strict=True))
