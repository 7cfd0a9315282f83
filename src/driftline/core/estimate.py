"""Performance before the labels come: fitted once to a reference with labels, then read from outputs alone.

Classifiers have confidence-based estimation (`estimate_classes`), regression has direct loss estimation
(`loss_trees`). Both take for granted that truth depends on the score, or the error on prediction and features,
as it did in the reference: they see that the model meets harder cases, and not that the world has changed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from driftline.core.calibration import Curve, fit_curves
from driftline.core.errors import InvalidInput
from driftline.core.estimate_classes import (
    BINARY_ESTIMATES,
    HALF_WIDTH,
    MULTICLASS_ESTIMATES,
    estimate_classes,
)
from driftline.core.intervals import Clusters, find_clusters
from driftline.core.loss_trees import LossTrees, grow_loss_trees
from driftline.core.metric import Measured, MetricStatus, unmeasured
from driftline.core.outcomes import Outcomes
from driftline.core.performance import MIN_EFFECTIVE, Performance
from driftline.core.schema import Task

MIN_REFERENCE = 100
"""Independent labelled rows that a reference must have."""
MIN_OF_CLASS = 10
"""Independent labelled rows that it must have of every class, and of none of it."""
MOST_UNUSABLE = 0.05
"""Share of a window's weight that may have no usable score or prediction, or a score beyond the reference's."""

REGRESSION_ESTIMATES = ("rmse", "mae")

_NAMES: dict[Task, tuple[str, ...]] = {
    Task.BINARY: BINARY_ESTIMATES,
    Task.MULTICLASS: MULTICLASS_ESTIMATES,
    Task.REGRESSION: REGRESSION_ESTIMATES,
    Task.RANKING: (),
}


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a model said in n predictions of a window, without their labels; the columns are those of `Outcomes`.

    `features` [n, F] are what a regression model saw, as far as errors may depend on it: the same columns in the
    reference and in every window; missing values are NaN.
    """

    prediction: NDArray[np.intp] | NDArray[np.float64]
    scores: NDArray[np.float64] | None
    weights: NDArray[np.float64]
    groups: NDArray[np.int64] | None = None
    features: NDArray[np.float64] | None = None

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> "Outputs":
        """Select predictions by position, or by a mask."""
        return Outputs(
            self.prediction[rows],
            None if self.scores is None else self.scores[rows],
            self.weights[rows],
            None if self.groups is None else self.groups[rows],
            None if self.features is None else self.features[rows],
        )


@dataclass(frozen=True, slots=True)
class Estimator:
    """What a reference has taught: a curve per class, or trees of the loss.

    `status` says why there is neither, if so; `columns` is the number of features that came with the reference.
    """

    task: Task
    status: MetricStatus
    columns: int = 0
    curves: tuple[Curve, ...] = ()
    trees: LossTrees | None = None


def estimated_names(task: Task) -> tuple[str, ...]:
    """Name the metrics that are estimated; they are called like the measured ones.

    >>> estimated_names(Task.REGRESSION), estimated_names(Task.RANKING)
    (('rmse', 'mae'), ())
    """
    return _NAMES[task]


def outputs_of(outcomes: Outcomes, features: NDArray[np.float64] | None = None) -> Outputs:
    """Take the labels away."""
    return Outputs(outcomes.prediction, outcomes.scores, outcomes.weights, outcomes.groups, features)


def fit_estimator(
    task: Task, outcomes: Outcomes, rng: Generator, features: NDArray[np.float64] | None = None
) -> Estimator:
    """Learn from the outcomes of a reference that the model has not been trained on.

    Rows without usable score, prediction or truth are left out. What cannot be learned from gives an estimator
    with a status, and so will every window; InvalidInput only for features of another length.

    >>> rng = np.random.default_rng(1)
    >>> scores = rng.random(4_000)
    >>> truth = (rng.random(4_000) < scores).astype(int)
    >>> reference = Outcomes(truth, (scores > 0.5).astype(int), scores, np.ones(4_000), None, ("no", "yes"))
    >>> estimator = fit_estimator(Task.BINARY, reference, rng)
    >>> sure = np.where(rng.random(1_000) < 0.5, 0.1, 0.9)
    >>> window = Outputs((sure > 0.5).astype(int), sure, np.ones(1_000))
    >>> estimate = estimate_performance(estimator, window)
    >>> estimate.names[0], round(float(estimate.values[0]), 2)
    ('accuracy', 0.88)
    """
    outputs = outputs_of(outcomes, features)
    columns = 0 if features is None else features.shape[1]
    _check_features(outputs, columns)
    if task is Task.RANKING:
        return Estimator(task, MetricStatus.NOT_ESTIMATED, columns)
    classes = 0 if task is Task.REGRESSION else max(len(outcomes.classes), 2)
    status = _check_scores(task, outputs, classes)
    usable = _find_usable(outputs, classes) & (outcomes.weights > 0)
    usable &= _are_codes(outcomes.truth, classes) if classes else np.isfinite(outcomes.truth)
    outcomes, outputs = outcomes.take(usable), outputs.take(usable)
    clusters = find_clusters(outcomes.groups, outcomes.rows)
    if status is None and clusters.effective(outcomes.weights) < MIN_REFERENCE:
        status = MetricStatus.TOO_FEW
    if status is not None:
        return Estimator(task, status, columns)
    if classes:
        found = _fit_curves(outcomes, clusters, classes)
        if isinstance(found, MetricStatus):
            return Estimator(task, found, columns)
        return Estimator(task, MetricStatus.OK, columns, curves=found)
    errors = outcomes.prediction - outcomes.truth
    trees = grow_loss_trees(_inputs(outputs), errors, outcomes.weights, clusters, rng)
    return Estimator(task, MetricStatus.OK, columns, trees=trees)


def estimate_performance(estimator: Estimator, outputs: Outputs) -> Performance:
    """Estimate each metric of `estimated_names`, in their order, for a window without labels.

    `lower` and `upper` hold what is measured when the labels of all of its rows have come, with 95 % probability
    as long as the reference's relation of score and truth holds. `n` counts the rows that were usable.
    """
    _check_features(outputs, estimator.columns)
    names = estimated_names(estimator.task)
    classes = len(estimator.curves)
    status = estimator.status
    usable = _find_usable(outputs, classes) & (outputs.weights > 0)
    missing = _share(outputs.weights, ~usable)
    outputs = outputs.take(usable)
    clusters = find_clusters(outputs.groups, len(outputs.weights))
    n_eff = clusters.effective(outputs.weights)
    if status is MetricStatus.OK:
        status = _check_window(estimator, outputs, classes, missing, n_eff)
    if status is not MetricStatus.OK:
        measured = dict.fromkeys(names, unmeasured(status))
    elif estimator.trees is not None:
        measured = _estimate_loss(estimator.trees, outputs, clusters)
    else:
        codes = outputs.prediction.astype(np.intp)
        measured = estimate_classes(
            estimator.task, estimator.curves, codes, _by_class(outputs.scores), outputs.weights, clusters
        )
    return Performance(
        names=names,
        values=np.array([measured[name].value for name in names]),
        lower=np.array([measured[name].lower for name in names]),
        upper=np.array([measured[name].upper for name in names]),
        n=len(outputs.weights),
        n_eff=n_eff,
        status=tuple(measured[name].status for name in names),
    )


def _check_features(outputs: Outputs, columns: int) -> None:
    given = 0 if outputs.features is None else outputs.features.shape[1]
    if given != columns or (outputs.features is not None and len(outputs.features) != len(outputs.weights)):
        shape = None if outputs.features is None else outputs.features.shape
        raise InvalidInput(
            f"features have shape {shape}; give {columns} columns and {len(outputs.weights)} rows",
            field="features",
        )


def _check_scores(task: Task, outputs: Outputs, classes: int) -> MetricStatus | None:
    if not classes:
        return None
    if outputs.scores is None:
        return MetricStatus.NO_SCORES
    shape = outputs.scores.shape if task is Task.MULTICLASS else _by_class(outputs.scores).shape
    return None if shape == (len(outputs.weights), classes) else MetricStatus.INVALID_SCORES


def _find_usable(outputs: Outputs, classes: int) -> NDArray[np.bool_]:
    usable = _are_codes(outputs.prediction, classes) if classes else np.isfinite(outputs.prediction)
    if classes and outputs.scores is not None:
        usable &= np.isfinite(_by_class(outputs.scores)).all(axis=1)
    return np.asarray(usable, np.bool_)


def _are_codes(codes: NDArray[np.intp] | NDArray[np.float64], classes: int) -> NDArray[np.bool_]:
    return np.asarray((codes >= 0) & (codes < classes), np.bool_)


def _share(weights: NDArray[np.float64], rows: NDArray[np.bool_]) -> float:
    total = float(weights.sum())
    return float(weights[rows].sum()) / total if total else 0.0


def _by_class(scores: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Give the negative class of a binary model a score, too."""
    assert scores is not None
    return scores if scores.ndim == 2 else np.column_stack([1 - scores, scores])


def _inputs(outputs: Outputs) -> NDArray[np.float64]:
    columns = (outputs.prediction,) if outputs.features is None else (outputs.prediction, outputs.features)
    return np.column_stack(columns).astype(np.float64)


def _fit_curves(outcomes: Outcomes, clusters: Clusters, classes: int) -> tuple[Curve, ...] | MetricStatus:
    scores = _by_class(outcomes.scores)
    if (np.ptp(scores, axis=0) == 0).any():
        return MetricStatus.CONSTANT_SCORE
    weights = outcomes.weights * (clusters.effective(outcomes.weights) / outcomes.weights.sum())
    of_class = np.bincount(outcomes.truth, weights, classes)
    if of_class.min() < MIN_OF_CLASS:
        present = (of_class > 0).sum()
        if present == classes:
            return MetricStatus.TOO_FEW
        return MetricStatus.ONE_CLASS if present == 1 else MetricStatus.MISSING_CLASS
    return fit_curves(scores, outcomes.truth, weights)


def _check_window(
    estimator: Estimator, outputs: Outputs, classes: int, missing: float, n_eff: float
) -> MetricStatus:
    if (status := _check_scores(estimator.task, outputs, classes)) is not None:
        return status
    if missing > MOST_UNUSABLE:
        return MetricStatus.INVALID_SCORES if classes else MetricStatus.INVALID_PREDICTIONS
    if n_eff < MIN_EFFECTIVE:
        return MetricStatus.TOO_FEW
    if classes:
        scores = _by_class(outputs.scores)
        beyond = np.zeros(len(scores), np.bool_)
        for k, curve in enumerate(estimator.curves):
            beyond |= curve.beyond(scores[:, k])
        if _share(outputs.weights, beyond) > MOST_UNUSABLE:
            return MetricStatus.UNSEEN_SCORES
    return MetricStatus.OK


def _estimate_loss(trees: LossTrees, outputs: Outputs, clusters: Clusters) -> dict[str, Measured]:
    """Average the expected losses; their intervals are on the scale of logarithms, as losses are never negative.

    The variance is that of the losses of independent rows, those of an entity rising and falling together, and
    that of the trees.
    """
    by_tree = trees.read(_inputs(outputs))
    shares = outputs.weights / outputs.weights.sum()
    first, second, fourth = by_tree.mean(axis=0).T
    found = {}
    for name, mean, spread, k in (
        ("mae", first, np.sqrt(np.maximum(second - first**2, 0)), 0),
        ("rmse", second, np.sqrt(np.maximum(fourth - second**2, 0)), 1),
    ):
        value = float(shares @ mean)
        drawn = clusters.add(shares * spread)
        variance = float(drawn @ drawn) + float(np.var(by_tree[:, :, k] @ shares, ddof=1))
        power = 1 if name == "mae" else 2
        ratio = np.exp(HALF_WIDTH * np.sqrt(variance) / value / power) if value else 1.0
        value = value ** (1 / power)
        found[name] = Measured(value, value / ratio, value * ratio)
    return found
