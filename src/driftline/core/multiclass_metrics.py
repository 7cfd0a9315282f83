"""Metrics of classification with any number of classes: each class against the rest, and all together."""

import numpy as np
from numpy.typing import NDArray

from driftline.core.binary_metrics import LEAST_PROBABILITY
from driftline.core.intervals import (
    Clusters,
    average,
    measure_positive,
    measure_ratio,
    measure_share,
)
from driftline.core.metric import Measured, MetricStatus, unmeasured
from driftline.core.outcomes import Outcomes
from driftline.core.score_curve import area_under_roc, sort_scores

_SUM_TOLERANCE = 0.05  # probabilities are often rounded


def name_multiclass(classes: tuple[str, ...]) -> tuple[str, ...]:
    """Name the metrics of such classes.

    >>> name_multiclass(("cat", "dog"))[-2:]
    ('recall[cat]', 'recall[dog]')
    """
    general = ("accuracy", "f1_macro", "f1_weighted", "log_loss", "roc_auc_ovr")
    return (*general, *(f"recall[{name}]" for name in classes))


def measure_multiclass(outcomes: Outcomes, clusters: Clusters) -> dict[str, Measured]:
    """Measure the metrics of `name_multiclass`."""
    if not _are_codes(outcomes.truth, outcomes.classes):
        return dict.fromkeys(name_multiclass(outcomes.classes), unmeasured(MetricStatus.INVALID_TRUTH))
    return _measure_classes(outcomes, clusters) | _measure_scores(outcomes, clusters)


def _measure_classes(outcomes: Outcomes, clusters: Clusters) -> dict[str, Measured]:
    truth, predicted, weights = outcomes.truth, outcomes.prediction, outcomes.weights
    recalls = tuple(f"recall[{name}]" for name in outcomes.classes)
    names = ("accuracy", "f1_macro", "f1_weighted", *recalls)
    if not _are_codes(predicted, outcomes.classes):
        return dict.fromkeys(names, unmeasured(MetricStatus.INVALID_PREDICTIONS))
    right = weights * (truth == predicted)
    measured = {"accuracy": measure_ratio(right, weights, clusters)}
    measured |= _measure_f1(outcomes, clusters)
    for code, name in enumerate(recalls):
        of_class = truth == code
        measured[name] = (
            measure_ratio(right * of_class, weights * of_class, clusters)
            if of_class.any()
            else unmeasured(MetricStatus.NO_POSITIVES)
        )
    return measured


def _measure_f1(outcomes: Outcomes, clusters: Clusters) -> dict[str, Measured]:
    """F1 of each class that is true or predicted, averaged: by class, and by the weight of the class's labels.

    A row changes F1 of the class it has and of the class it was given; and the weight of the class it has.
    """
    truth, predicted, weights = outcomes.truth, outcomes.prediction, outcomes.weights
    classes = len(outcomes.classes)
    right = weights * (truth == predicted)
    support = np.bincount(truth, weights, classes)
    size = support + np.bincount(predicted, weights, classes)
    there = size > 0
    size = np.where(there, size, 1.0)
    f1 = 2 * np.bincount(truth, right, classes) / size
    measured = {}
    for name, shares in (("f1_macro", there / there.sum()), ("f1_weighted", support / support.sum())):
        slope = shares / size
        value = float(shares @ f1)
        influence = 2 * right * slope[truth] - weights * ((slope * f1)[truth] + (slope * f1)[predicted])
        if name == "f1_weighted":
            influence += weights * (f1[truth] - value) / support.sum()
        measured[name] = measure_share(value, influence, clusters, clusters.effective(weights))
    return measured


def _measure_scores(outcomes: Outcomes, clusters: Clusters) -> dict[str, Measured]:
    scores = outcomes.scores
    if scores is None:
        return dict.fromkeys(("log_loss", "roc_auc_ovr"), unmeasured(MetricStatus.NO_SCORES))
    if scores.shape != (outcomes.rows, len(outcomes.classes)) or not np.isfinite(scores).all():
        return dict.fromkeys(("log_loss", "roc_auc_ovr"), unmeasured(MetricStatus.INVALID_SCORES))
    return {
        "log_loss": _measure_log_loss(outcomes.truth, scores, outcomes.weights, clusters),
        "roc_auc_ovr": _measure_area(outcomes.truth, scores, outcomes.weights, clusters),
    }


def _measure_log_loss(
    truth: NDArray[np.intp], scores: NDArray[np.float64], weights: NDArray[np.float64], clusters: Clusters
) -> Measured:
    sums = scores.sum(axis=1)
    if scores.min() < 0 or scores.max() > 1 or np.abs(sums - 1).max() > _SUM_TOLERANCE:
        return unmeasured(MetricStatus.NOT_PROBABILITIES)
    likely = np.clip(scores[np.arange(len(truth)), truth], LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    return measure_positive(*average(-np.log(likely), weights / weights.sum()), clusters)


def _measure_area(
    truth: NDArray[np.intp], scores: NDArray[np.float64], weights: NDArray[np.float64], clusters: Clusters
) -> Measured:
    """Average over the classes the AUC of each against the rest."""
    classes = scores.shape[1]
    present = np.bincount(truth, minlength=classes) > 0
    if not present.all():
        return unmeasured(MetricStatus.ONE_CLASS if present.sum() == 1 else MetricStatus.MISSING_CLASS)
    areas, influence, effective = [], np.zeros(len(truth)), []
    for code in range(classes):
        curve = sort_scores(scores[:, code], truth == code, weights, clusters)
        effective.append(min(curve.effective))
        area, of_class = area_under_roc(curve)
        areas.append(area)
        influence += of_class
    if min(effective) < 2:
        return unmeasured(MetricStatus.TOO_FEW)
    return measure_share(float(np.mean(areas)), influence / classes, clusters, min(effective))


def _are_codes(codes: NDArray[np.intp], classes: tuple[str, ...]) -> bool:
    return bool(codes.min() >= 0 and codes.max() < len(classes))
