"""Metrics of binary classification: of the predicted classes, of the order of scores, and of probabilities."""

import numpy as np
from numpy.typing import NDArray

from driftline.core.calibration_error import measure_calibration_error
from driftline.core.intervals import (
    Clusters,
    average,
    measure_positive,
    measure_ratio,
)
from driftline.core.metric import Measured, MetricStatus, unmeasured
from driftline.core.outcomes import Outcomes
from driftline.core.score_curve import CURVE_METRICS, measure_curve, sort_scores

_CLASS_METRICS = ("accuracy", "balanced_accuracy", "precision", "recall", "f1")
_PROBABILITY_METRICS = ("log_loss", "brier", "calibration_error")
BINARY_METRICS = (*_CLASS_METRICS, "roc_auc", "pr_auc", *_PROBABILITY_METRICS, "ks")
LEAST_PROBABILITY = float(np.finfo(np.float64).eps)
"""Log loss takes no probability for smaller than this, as scikit-learn does."""


def measure_binary(outcomes: Outcomes, clusters: Clusters) -> dict[str, Measured]:
    """Measure BINARY_METRICS; class 1 is the positive one."""
    if not np.isin(outcomes.truth, (0, 1)).all():
        return dict.fromkeys(BINARY_METRICS, unmeasured(MetricStatus.INVALID_TRUTH))
    truth = outcomes.truth == 1
    return _measure_classes(truth, outcomes, clusters) | _measure_scores(truth, outcomes, clusters)


def _measure_classes(truth: NDArray[np.bool_], outcomes: Outcomes, clusters: Clusters) -> dict[str, Measured]:
    if not np.isin(outcomes.prediction, (0, 1)).all():
        return dict.fromkeys(_CLASS_METRICS, unmeasured(MetricStatus.INVALID_PREDICTIONS))
    weights, predicted = outcomes.weights, outcomes.prediction == 1
    hits, positive = weights * (truth & predicted), weights * truth
    claimed = weights * predicted
    measured = {
        "accuracy": measure_ratio(weights * (truth == predicted), weights, clusters),
        "balanced_accuracy": unmeasured(MetricStatus.ONE_CLASS),
        "precision": unmeasured(MetricStatus.NO_PREDICTED_POSITIVES),
        "recall": unmeasured(MetricStatus.NO_POSITIVES),
        "f1": unmeasured(MetricStatus.NO_POSITIVES),
    }
    if predicted.any():
        measured["precision"] = measure_ratio(hits, claimed, clusters)
    if truth.any():
        measured["recall"] = measure_ratio(hits, positive, clusters)
        measured["f1"] = measure_ratio(2 * hits, positive + claimed, clusters)
        if not truth.all():
            measured["balanced_accuracy"] = _measure_balanced_accuracy(truth, predicted, weights, clusters)
    return measured


def _measure_balanced_accuracy(
    truth: NDArray[np.bool_], predicted: NDArray[np.bool_], weights: NDArray[np.float64], clusters: Clusters
) -> Measured:
    """Average the shares of right rows of both classes.

    Where one class is all right, or all wrong, its rows show no variance: so each share's interval is found first,
    and those are added (the method of variance estimates recovery: Zou & Donner, Statistics in Medicine 27, 2008).
    """
    right = weights * (truth == predicted)
    recall = measure_ratio(right * truth, weights * truth, clusters)
    specificity = measure_ratio(right * ~truth, weights * ~truth, clusters)
    value = (recall.value + specificity.value) / 2
    lower = np.hypot(recall.value - recall.lower, specificity.value - specificity.lower) / 2
    upper = np.hypot(recall.upper - recall.value, specificity.upper - specificity.value) / 2
    return Measured(value, float(max(value - lower, 0.0)), float(min(value + upper, 1.0)))


def _measure_scores(truth: NDArray[np.bool_], outcomes: Outcomes, clusters: Clusters) -> dict[str, Measured]:
    names = (*CURVE_METRICS, *_PROBABILITY_METRICS)
    scores = outcomes.scores
    if scores is None:
        return dict.fromkeys(names, unmeasured(MetricStatus.NO_SCORES))
    if scores.shape != truth.shape or not np.isfinite(scores).all():
        return dict.fromkeys(names, unmeasured(MetricStatus.INVALID_SCORES))
    curve = sort_scores(scores, truth, outcomes.weights, clusters)
    if truth.any() and not truth.all():
        measured = measure_curve(curve)
    else:
        measured = dict.fromkeys(CURVE_METRICS, unmeasured(MetricStatus.ONE_CLASS))
        if not truth.any():
            measured["pr_auc"] = unmeasured(MetricStatus.NO_POSITIVES)
    if scores.min() < 0 or scores.max() > 1:
        return measured | dict.fromkeys(_PROBABILITY_METRICS, unmeasured(MetricStatus.NOT_PROBABILITIES))
    shares = outcomes.weights / outcomes.weights.sum()
    likely = np.clip(np.where(truth, scores, 1 - scores), LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    return measured | {
        "log_loss": measure_positive(*average(-np.log(likely), shares), clusters),
        "brier": measure_positive(*average((scores - truth) ** 2, shares), clusters),
        "calibration_error": measure_calibration_error(curve, scores),
    }
