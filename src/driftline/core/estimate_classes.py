"""Confidence-based estimation: metrics of a classifier whose labels have not come, from calibrated scores.

Row i is of class y with probability c_iy, so it adds c_iy to the cell (y, predicted class) of the expected
confusion matrix, and a metric's estimate is that metric of expected counts (Guillory et al. 2021; NannyML's
CBPE). That holds as long as scores mean what they meant in the reference, whatever has become of their
distribution.

What the metric will be differs from its estimate for two reasons. Labels are drawn: with g_iy the derivative of
the metric with respect to c_iy, that has the variance Σ_i Var(g_iy), y being drawn with the probabilities c_iy.
And the calibration is itself an estimate: `calibration_variance`. Both are the delta method. All rows of an
entity are taken to have the same label, which errs to wide intervals.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from driftline.core.calibration import Curve, calibrate, calibration_variance
from driftline.core.intervals import LEVEL, Clusters
from driftline.core.metric import Measured, MetricStatus, unmeasured
from driftline.core.schema import Task
from driftline.core.score_curve import area_under_roc, sort_scores

BINARY_ESTIMATES = ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc")
MULTICLASS_ESTIMATES = ("accuracy", "f1_macro", "f1_weighted", "roc_auc_ovr")
LEAST_EXPECTED = 5.0
"""Independent rows that a class must be expected to have: with fewer, often there are none."""

_ROUNDING = 1e-12  # what cannot vary is computed in another way when it is measured
HALF_WIDTH = float(ndtri((1 + LEVEL) / 2))

Sloped = tuple[float, NDArray[np.float64]]
"""An estimate, and its derivatives with respect to the chances [n, C] of each row and class."""


def estimate_classes(
    task: Task,
    curves: tuple[Curve, ...],
    prediction: NDArray[np.intp],
    scores: NDArray[np.float64],
    weights: NDArray[np.float64],
    clusters: Clusters,
) -> dict[str, Measured]:
    """Estimate the task's BINARY_ESTIMATES or MULTICLASS_ESTIMATES from scores [n, C]."""
    chances = calibrate(curves, scores)
    expected = clusters.effective(weights) * (weights @ chances) / weights.sum()
    rare = bool(expected.min() < LEAST_EXPECTED)
    counts = _Counts(prediction, weights, chances)
    found: dict[str, Sloped | MetricStatus]
    if task is Task.BINARY:
        found = _estimate_binary(counts, scores, rare=rare)
    else:
        found = {
            "accuracy": counts.accuracy(),
            **counts.average_f1(expected),
            "roc_auc_ovr": MetricStatus.TOO_FEW if rare else _average_area(scores, weights, chances),
        }
    sloped = {name: number for name, number in found.items() if not isinstance(number, MetricStatus)}
    slopes = np.stack([slope for _, slope in sloped.values()])
    variance = label_variance(chances, slopes, clusters) + calibration_variance(curves, scores, chances, slopes)
    measured = {
        name: Measured(value, max(value - half, 0.0), min(value + half, 1.0))
        for (name, (value, _)), half in zip(
            sloped.items(), (HALF_WIDTH * np.sqrt(variance) + _ROUNDING).tolist(), strict=True
        )
    }
    return {
        name: unmeasured(number) if isinstance(number, MetricStatus) else measured[name]
        for name, number in found.items()
    }


def label_variance(
    chances: NDArray[np.float64], slopes: NDArray[np.float64], clusters: Clusters
) -> NDArray[np.float64]:
    """Give the variances [m] that the drawing of labels leaves in m numbers with `slopes` [m, n, C].

    >>> even = np.full((100, 2), 0.5)
    >>> accuracy = np.zeros((1, 100, 2))
    >>> accuracy[0, :, 1] = 1 / 100
    >>> label_variance(even, accuracy, Clusters(None, 100)).round(6).tolist()  # 0.5 · 0.5 / 100
    [0.0025]
    """
    if clusters.place is not None:
        order = np.argsort(clusters.place, kind="stable")
        first = np.searchsorted(clusters.place[order], np.arange(clusters.count))
        slopes = np.add.reduceat(slopes[:, order], first, axis=1)
        chances = np.add.reduceat(chances[order], first, axis=0)
        chances = chances / chances.sum(axis=1, keepdims=True)
    means = (slopes * chances).sum(axis=2, keepdims=True)
    return np.asarray(((slopes - means) ** 2 * chances).sum(axis=(1, 2)), np.float64)


class _Counts:
    """The expected confusion matrix, as far as metrics of predicted classes need it."""

    def __init__(
        self, prediction: NDArray[np.intp], weights: NDArray[np.float64], chances: NDArray[np.float64]
    ) -> None:
        self.weights = weights[:, None]
        self.chances = chances
        self.predicted = self.weights * (prediction[:, None] == np.arange(chances.shape[1]))
        self.right = (self.predicted * chances).sum(axis=0)
        self.claimed = self.predicted.sum(axis=0)
        self.support = weights @ chances

    def accuracy(self) -> Sloped:
        total = self.weights.sum()
        return float(self.right.sum() / total), self.predicted / total

    def precision(self, code: int) -> Sloped:
        return self._of(code, self.right / self.claimed[code], self.predicted / self.claimed[code])

    def recall(self, code: int) -> Sloped:
        recall = self.right / self.support
        return self._of(code, recall, (self.predicted - recall * self.weights) / self.support)

    def f1(self, code: int) -> Sloped:
        return self._of(code, *self._f1())

    def average_f1(self, expected: NDArray[np.float64]) -> dict[str, Sloped]:
        """Average over the classes that are predicted, or rather true somewhere than not; or by their support."""
        f1, slopes = self._f1()
        there = (self.claimed > 0) | (expected > np.log(2))  # none of them has the probability exp(-expected)
        shares = self.support / self.support.sum()
        value = float(shares @ f1)
        return {
            "f1_macro": (float(f1[there].mean()), slopes * there / there.sum()),
            "f1_weighted": (value, slopes * shares + self.weights * (f1 - value) / self.support.sum()),
        }

    def _f1(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        size = self.support + self.claimed
        f1 = 2 * self.right / size
        return f1, (2 * self.predicted - f1 * self.weights) / size

    @staticmethod
    def _of(code: int, values: NDArray[np.float64], slopes: NDArray[np.float64]) -> Sloped:
        only = np.zeros_like(slopes)
        only[:, code] = slopes[:, code]
        return float(values[code]), only


def _estimate_binary(
    counts: _Counts, scores: NDArray[np.float64], *, rare: bool
) -> dict[str, Sloped | MetricStatus]:
    found: dict[str, Sloped | MetricStatus] = dict.fromkeys(BINARY_ESTIMATES, MetricStatus.TOO_FEW)
    found["accuracy"] = counts.accuracy()
    found["precision"] = counts.precision(1) if counts.claimed[1] else MetricStatus.NO_PREDICTED_POSITIVES
    if not rare:
        negative, positive = counts.recall(0), counts.recall(1)
        found["balanced_accuracy"] = (negative[0] + positive[0]) / 2, (negative[1] + positive[1]) / 2
        found["recall"] = positive
        found["f1"] = counts.f1(1)
        found["roc_auc"] = _estimate_area(scores[:, 1], counts.weights[:, 0], counts.chances, 1)
    return found


def _average_area(
    scores: NDArray[np.float64], weights: NDArray[np.float64], chances: NDArray[np.float64]
) -> Sloped:
    areas = [_estimate_area(scores[:, k], weights, chances, k) for k in range(chances.shape[1])]
    return float(np.mean([area for area, _ in areas])), np.mean([slopes for _, slopes in areas], axis=0)


def _estimate_area(
    scores: NDArray[np.float64], weights: NDArray[np.float64], chances: NDArray[np.float64], code: int
) -> Sloped:
    """Estimate AUC of one class: every row is twice in it, once as the class and once as none of it.

    A row is never compared with itself, so those pairs are taken out again.
    """
    hit = chances[:, code]
    both = np.concatenate([weights * hit, weights * (1 - hit)])
    as_class = np.repeat([True, False], len(hit))
    curve = sort_scores(np.tile(scores, 2), as_class, both, Clusters(None, len(both)))
    area, influence = area_under_roc(curve)
    pairs = (weights @ hit) * (weights @ (1 - hit))
    own = (weights**2) @ (hit * (1 - hit))
    slopes = np.zeros_like(chances)
    slopes[:, code] = influence[: len(hit)] / hit - influence[len(hit) :] / (1 - hit)
    return float((area * pairs - own / 2) / (pairs - own)), slopes
