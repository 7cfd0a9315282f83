"""Calibration: how likely each class is, given the model's scores, learned from a reference with labels.

The probability of class k is proportional to exp(f_k(log s_k)), s_k being its score and f_k continuous and
straight between knots. Where scores are right as they are, every f is a line of slope 1 through 0. Lines of any
slope make beta calibration of two classes (Kull, Silva Filho & Flach 2017) and vector scaling of more (Guo et
al. 2017). Deviations from a line are shrunk (P-splines, Eilers & Marx 1996): with few labels little more than
lines are left. Nothing makes f rise: scores that rank the wrong way round are calibrated, too. Scores that are
no probabilities count as they are, without the logarithm.

The curves are the mode of their posterior, the covariance of each the inverse of its Hessian (Laplace's
approximation).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

MAX_KNOTS = 20
ROWS_PER_KNOT = 15
"""Effective rows of the rarer side that a knot needs."""

_BENDS = 4.0  # prior precision: at a knot f is some 0.5 off the line between its neighbours
_SPAN = 1e-3  # and its ends some 30 apart: classes that scores separate wholly have no steepest curve
_LEAST = 1e-7
"""Probabilities nearer to 0 count as this near."""
_LEAST_REST = 1e-12  # what is left of a difference of nearly equal sums is no smaller
_ROUNDS = 30
_SETTLED = 0.05  # so small a gain of the log-likelihood says nothing


@dataclass(frozen=True, slots=True)
class Curve:
    """What the score of one class says for it.

    `knots` [K] are scores in ascending order, as logarithms where `probability` says that they are between 0 and
    1; `odds` [K] the values of f there, straight in between and constant beyond; `covariance` [K, K] that of
    their estimation.
    """

    knots: NDArray[np.float64]
    odds: NDArray[np.float64]
    covariance: NDArray[np.float64]
    probability: bool

    def place(self, scores: NDArray[np.float64]) -> "Places":
        """Find the knot at or before each score, and how far it is on the way to the next one, 0 to 1."""
        return _place(self.knots, _transform(scores, probability=self.probability))

    def read(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give f by score."""
        return _interpolate(self.place(scores), self.odds)

    def beyond(self, scores: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell which scores are lower or higher than any of the reference."""
        transformed = _transform(scores, probability=self.probability)
        return np.asarray((transformed < self.knots[0]) | (transformed > self.knots[-1]))


def fit_curves(
    scores: NDArray[np.float64], truth: NDArray[np.intp], weights: NDArray[np.float64]
) -> tuple[Curve, ...]:
    """Fit the curve of each class to finite, varying scores [n, C] and the codes of the true classes [n].

    `weights` [n] add up to the number of independent rows; every class must be there, and not alone.

    >>> rng = np.random.default_rng(1)
    >>> scores = rng.random(5_000)
    >>> truth = (rng.random(5_000) < scores**2).astype(int)
    >>> curves = fit_curves(np.column_stack([1 - scores, scores]), truth, np.ones(5_000))
    >>> calibrate(curves, np.array([[0.8, 0.2], [0.5, 0.5], [0.1, 0.9]]))[:, 1].round(2).tolist()
    [0.04, 0.24, 0.81]
    """
    probability = bool(scores.min() >= 0 and scores.max() <= 1)
    transformed = _transform(scores, probability=probability)
    hits = truth[:, None] == np.arange(scores.shape[1])
    knots = [_choose_knots(of_class, hit, weights) for of_class, hit in zip(transformed.T, hits.T, strict=True)]
    places = [_place(of_class, values) for of_class, values in zip(knots, transformed.T, strict=True)]
    odds, covariances = _fit_odds(places, hits, weights, [_penalty(of_class) for of_class in knots])
    return tuple(Curve(*curve, probability) for curve in zip(knots, odds, covariances, strict=True))


def calibrate(curves: tuple[Curve, ...], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the probability of each class [n, C], by the scores [n, C] of all; never quite 0 or 1."""
    chances = softmax(np.column_stack([curve.read(scores[:, k]) for k, curve in enumerate(curves)]), axis=1)
    chances = np.clip(chances, _LEAST, 1)
    return np.asarray(chances / chances.sum(axis=1, keepdims=True), np.float64)


def calibration_variance(
    curves: tuple[Curve, ...],
    scores: NDArray[np.float64],
    chances: NDArray[np.float64],
    slopes: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Give the variances [m] that the curves' uncertainty leaves in m numbers.

    `chances` [n, C] are those of `calibrate`, `slopes` [m, n, C] the derivatives of the numbers with respect to
    them. By curve k a number moves in row i by c_ik (g_ik - Σ_y c_iy g_iy) per unit of f. The curves are not known
    independently, as only their differences matter: with the information diag(c) - c cᵀ of a label the variance of
    a number is that of independent curves, but for a factor 1 - c in each. That makes a root of it in the moves.
    """
    centred = slopes - (slopes * chances).sum(axis=2, keepdims=True)
    moves = centred * chances * np.sqrt(np.maximum(1 - chances, 0))
    variance = np.zeros(len(slopes))
    for k, curve in enumerate(curves):
        places = curve.place(scores[:, k])
        gradient = np.stack([_add_up(places, move, len(curve.knots)) for move in moves[:, :, k]])
        variance += np.einsum("mj,jl,ml->m", gradient, curve.covariance, gradient)
    return variance


Places = tuple[NDArray[np.intp], NDArray[np.float64]]


def _transform(scores: NDArray[np.float64], *, probability: bool) -> NDArray[np.float64]:
    return np.asarray(np.log(np.maximum(scores, _LEAST)) if probability else scores, np.float64)


def _place(knots: NDArray[np.float64], scores: NDArray[np.float64]) -> Places:
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


def _fit_odds(
    places: list[Places],
    hits: NDArray[np.bool_],
    weights: NDArray[np.float64],
    penalties: list[NDArray[np.float64]],
) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
    """Maximise the penalised likelihood curve by curve, given the others, until a round gains nothing."""
    starts = np.log(weights @ hits)
    odds = [np.repeat(start, len(penalty)) for penalty, start in zip(penalties, starts, strict=True)]
    hessians = list(penalties)
    for _ in range(_ROUNDS):
        values = np.column_stack([_interpolate(*curve) for curve in zip(places, odds, strict=True)])
        values -= values.max(axis=1, keepdims=True)
        parts = np.exp(values)
        total = parts.sum(axis=1)
        gained = 0.0
        for k, penalty in enumerate(penalties):
            others = np.maximum(total - parts[:, k], _LEAST_REST)
            base = values[:, k] - _interpolate(places[k], odds[k])
            rest = _Rest(places[k], hits[:, k], weights, others, base)
            odds[k], hessians[k], gain = _improve(odds[k], rest, penalty)
            total = others + np.exp(base + _interpolate(places[k], odds[k]))
            gained += gain
        if gained < _SETTLED:
            break
    return odds, [np.asarray(np.linalg.inv(hessian), np.float64) for hessian in hessians]


@dataclass(frozen=True, slots=True)
class _Rest:
    """What one curve is fitted to: the hits [n] of its class, and Σ exp f of the others, all times exp base."""

    places: Places
    hits: NDArray[np.bool_]
    weights: NDArray[np.float64]
    others: NDArray[np.float64]
    base: NDArray[np.float64]

    def loss(self, odds: NDArray[np.float64]) -> float:
        """Give the negative log-likelihood of the curve, but for a constant."""
        values = self.base + _interpolate(self.places, odds)
        return float(self.weights @ (np.log(self.others + np.exp(values)) - self.hits * values))


def _improve(
    odds: NDArray[np.float64], rest: _Rest, penalty: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Take a Newton step, halved while it makes things worse; give the Hessian before it, and what it gained."""
    part = np.exp(rest.base + _interpolate(rest.places, odds))
    chance = part / (rest.others + part)
    gradient = _add_up(rest.places, rest.weights * (chance - rest.hits), len(odds)) + penalty @ odds
    hessian = _information(rest.places, rest.weights * chance * (1 - chance), len(odds)) + penalty
    step = np.linalg.solve(hessian, gradient)
    before = rest.loss(odds) + odds @ penalty @ odds / 2
    for size in 0.5 ** np.arange(20):
        trial = odds - size * step
        after = rest.loss(trial) + trial @ penalty @ trial / 2
        if after <= before:
            return trial, hessian, float(before - after)
    return odds, hessian, 0.0


def _interpolate(places: Places, values: NDArray[np.float64]) -> NDArray[np.float64]:
    knot, way = places
    return np.asarray(values[knot] * (1 - way) + values[knot + 1] * way, np.float64)


def _add_up(places: Places, values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    knot, way = places
    return np.asarray(
        np.bincount(knot, values * (1 - way), count) + np.bincount(knot + 1, values * way, count), np.float64
    )


def _information(places: Places, values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    knot, way = places
    information = np.diag(
        np.bincount(knot, values * (1 - way) ** 2, count) + np.bincount(knot + 1, values * way**2, count)
    )
    across = np.bincount(knot, values * way * (1 - way), count)[:-1]
    inner = np.arange(count - 1)
    information[inner, inner + 1] = information[inner + 1, inner] = across
    return np.asarray(information, np.float64)
