"""Calibration: how likely each class is, given the model's score, learned from a reference with labels.

Per class one curve: the log-odds of the class as a continuous function of the score, straight between knots.
Scores that are probabilities are first turned into log-odds, so a straight curve is Platt scaling (Platt 1999)
and one of slope 1 through 0 says that the scores are right as they are. Deviations from a straight curve are
shrunk (P-splines, Eilers & Marx 1996): with few labels little more than a line is left. Nothing makes curves
rise: scores that rank the wrong way round are calibrated, too.

The curve is the mode of its posterior, the covariance its inverse Hessian (Laplace's approximation). The curves of
several classes are fitted one against the rest and scaled to add up to 1 (Zadrozny & Elkan 2002).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

MAX_KNOTS = 20
ROWS_PER_KNOT = 15
"""Effective rows of the rarer side that a knot needs."""

_BENDS = 4.0  # prior precision: knots lie some half a unit of log-odds off the line between their neighbours
_SPAN = 1e-3  # and the ends some thirty units apart: classes that scores separate wholly have no steepest curve
_LEAST = 1e-7
"""Probabilities nearer to 0 or 1 count as this near."""


@dataclass(frozen=True, slots=True)
class Curve:
    """The log-odds of one class by the score.

    `knots` [K] are scores in ascending order, as log-odds where `probability` says that scores are between 0 and
    1; `logits` [K] the log-odds of the class there, straight in between and constant beyond; `covariance` [K, K]
    that of their estimation.
    """

    knots: NDArray[np.float64]
    logits: NDArray[np.float64]
    covariance: NDArray[np.float64]
    probability: bool

    def place(self, scores: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Find the knot at or before each score, and how far it is on the way to the next one, 0 to 1."""
        return _place(self.knots, _transform(scores, probability=self.probability))

    def read(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the probability of the class by score."""
        knot, way = self.place(scores)
        return np.asarray(expit(self.logits[knot] * (1 - way) + self.logits[knot + 1] * way), np.float64)

    def beyond(self, scores: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell which scores are lower or higher than any of the reference."""
        transformed = _transform(scores, probability=self.probability)
        return np.asarray((transformed < self.knots[0]) | (transformed > self.knots[-1]))


def fit_curve(scores: NDArray[np.float64], hits: NDArray[np.bool_], weights: NDArray[np.float64]) -> Curve:
    """Fit the curve of one class to finite, not constant `scores` [n] and whether each row was of it, `hits` [n].

    `weights` [n] add up to the number of independent rows; some must be hits, and some not.

    >>> rng = np.random.default_rng(1)
    >>> scores = rng.random(5_000)
    >>> curve = fit_curve(scores, rng.random(5_000) < scores**2, np.ones(5_000))
    >>> curve.read(np.array([0.2, 0.5, 0.9])).round(2).tolist()
    [0.03, 0.24, 0.81]
    """
    probability = bool(scores.min() >= 0 and scores.max() <= 1)
    transformed = _transform(scores, probability=probability)
    knots = _choose_knots(transformed, hits, weights)
    design = _place(knots, transformed)
    logits, covariance = _fit_logits(design, hits, weights, _penalty(knots))
    return Curve(knots, logits, covariance, probability)


def calibrate(curves: tuple[Curve, ...], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the probability of each class [n, C] by its score [n, C]; rows add up to 1."""
    shares = np.column_stack([curve.read(scores[:, k]) for k, curve in enumerate(curves)])
    return np.asarray(shares / shares.sum(axis=1, keepdims=True), np.float64)


def calibration_variance(
    curves: tuple[Curve, ...],
    scores: NDArray[np.float64],
    chances: NDArray[np.float64],
    slopes: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Give the variances [m] that the curves' uncertainty leaves in m numbers.

    `chances` [n, C] are those of `calibrate`, `slopes` [m, n, C] the derivatives of the numbers with respect to
    them. Curve k, were it by itself, would move a number by (1 - c_ik) c_ik (g_ik - Σ_y c_iy g_iy) in row i per
    unit of its log-odds. But a row of one class is missing from all others, so curves are not independent: c (1
    - c) is the variance of each, c what each adds to that of a contrast of them. That makes a root of the factor
    1 - c.
    """
    centred = slopes - (slopes * chances).sum(axis=2, keepdims=True)
    moves = centred * chances * np.sqrt(np.maximum(1 - chances, 0))
    variance = np.zeros(len(slopes))
    for k, curve in enumerate(curves):
        knot, way = curve.place(scores[:, k])
        gradient = np.stack([_add_up((knot, way), move, len(curve.knots)) for move in moves[:, :, k]])
        variance += np.einsum("mj,jl,ml->m", gradient, curve.covariance, gradient)
    return variance


Design = tuple[NDArray[np.intp], NDArray[np.float64]]


def _transform(scores: NDArray[np.float64], *, probability: bool) -> NDArray[np.float64]:
    return np.asarray(logit(np.clip(scores, _LEAST, 1 - _LEAST)) if probability else scores, np.float64)


def _place(knots: NDArray[np.float64], scores: NDArray[np.float64]) -> Design:
    knot = np.clip(np.searchsorted(knots, scores, side="right") - 1, 0, len(knots) - 2)
    way = (scores - knots[knot]) / (knots[knot + 1] - knots[knot])
    return knot, np.clip(way, 0.0, 1.0)


def _choose_knots(
    scores: NDArray[np.float64], hits: NDArray[np.bool_], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Take quantiles of the scores, hits and misses having half of the mass each, as hits may be rare."""
    both = np.array([weights[~hits].sum(), weights[hits].sum()])
    count = int(np.clip(both.min() // ROWS_PER_KNOT, 2, MAX_KNOTS))
    order = np.argsort(scores, kind="stable")
    mass = np.cumsum((weights / both[hits.astype(np.intp)])[order])
    at = np.searchsorted(mass, np.linspace(0, mass[-1], count))
    return np.unique(np.r_[scores[order[0]], scores[order[np.minimum(at, len(order) - 1)]], scores[order[-1]]])


def _penalty(knots: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the prior's precision matrix: that of each knot's distance from the line between its neighbours."""
    count = len(knots)
    ends = np.zeros(count)
    ends[0], ends[-1] = -1, 1
    precision = _SPAN * np.outer(ends, ends)
    before, after = np.diff(knots)[:-1], np.diff(knots)[1:]
    bends = np.zeros((count - 2, count))
    inner = np.arange(count - 2)
    bends[inner, inner] = -after / (before + after)
    bends[inner, inner + 1] = 1
    bends[inner, inner + 2] = -before / (before + after)
    return np.asarray(precision + _BENDS * bends.T @ bends, np.float64)


def _fit_logits(
    design: Design, hits: NDArray[np.bool_], weights: NDArray[np.float64], penalty: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Maximise the penalised likelihood by Newton steps, halved while they make it worse."""
    knot, way = design
    count = len(penalty)
    logits = np.full(count, logit(weights[hits].sum() / weights.sum()))

    def loss(at: NDArray[np.float64]) -> float:
        odds = at[knot] * (1 - way) + at[knot + 1] * way
        return float(weights @ (np.logaddexp(0, odds) - hits * odds) + at @ penalty @ at / 2)

    current = loss(logits)
    for _ in range(50):
        chance = expit(logits[knot] * (1 - way) + logits[knot + 1] * way)
        gradient = _add_up(design, weights * (chance - hits), count) + penalty @ logits
        hessian = _information(design, weights * chance * (1 - chance), count) + penalty
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while (trial := loss(logits - size * step)) > current and size > 1e-6:
            size /= 2
        logits = logits - size * step
        settled, current = current - trial < 1e-9 * abs(current), trial
        if settled:
            break
    return logits, np.asarray(np.linalg.inv(hessian), np.float64)


def _add_up(design: Design, values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    knot, way = design
    return np.asarray(
        np.bincount(knot, values * (1 - way), count) + np.bincount(knot + 1, values * way, count), np.float64
    )


def _information(design: Design, values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    knot, way = design
    information = np.diag(
        np.bincount(knot, values * (1 - way) ** 2, count) + np.bincount(knot + 1, values * way**2, count)
    )
    across = np.bincount(knot, values * way * (1 - way), count)[:-1]
    inner = np.arange(count - 1)
    information[inner, inner + 1] = information[inner + 1, inner] = across
    return np.asarray(information, np.float64)
