"""Performance of a model in one window: its metrics with intervals, once the labels are there.

One function per task gives all of its metrics. What cannot be measured has a status and no number: a window
without a positive label is no failure, and no zero either.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftline.core.intervals import Measured, MetricStatus, find_clusters, unmeasured
from driftline.core.outcomes import Outcomes
from driftline.core.regression_metrics import REGRESSION_METRICS, measure_regression
from driftline.core.schema import Task

MIN_EFFECTIVE = 10
"""With fewer independent rows nothing is measured."""


@dataclass(frozen=True, slots=True)
class Performance:
    """k metrics of n predictions.

    `values`, `lower` and `upper` [k] are float64: the metric and its 95 % interval, NaN where `status` [k], a
    `MetricStatus`, is not `ok`. `n` is the number of labelled rows, `n_eff` the number of independent ones that
    they are worth.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    n: int
    n_eff: float
    status: tuple[str, ...]


_MEASURES: dict[Task, Callable[[Outcomes], dict[str, Measured]]] = {Task.REGRESSION: measure_regression}


def measure_performance(task: Task, outcomes: Outcomes) -> Performance:
    """Measure every metric of the task, in the order of `metric_names`.

    >>> errors = np.array([1.0, -1, 2, 0, 1, -2, 1, 0, 0, 1, -1, 1])
    >>> outcomes = Outcomes(np.zeros(12), errors, None, np.ones(12), None)
    >>> performance = measure_performance(Task.REGRESSION, outcomes)
    >>> dict(zip(performance.names, performance.values.round(3).tolist()))["bias"]
    0.25
    """
    outcomes = outcomes if outcomes.weights.all() else outcomes.take(outcomes.weights > 0)
    n_eff = find_clusters(outcomes.groups, outcomes.rows).effective(outcomes.weights)
    names = metric_names(task, outcomes.classes)
    if n_eff < MIN_EFFECTIVE:
        measured = dict.fromkeys(names, unmeasured(MetricStatus.TOO_FEW))
    else:
        measured = _MEASURES[task](outcomes)
    return Performance(
        names=names,
        values=np.array([measured[name].value for name in names]),
        lower=np.array([measured[name].lower for name in names]),
        upper=np.array([measured[name].upper for name in names]),
        n=outcomes.rows,
        n_eff=n_eff,
        status=tuple(measured[name].status for name in names),
    )


def metric_names(task: Task, classes: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Name the metrics of a task; `classes` are needed for the recall of each class of a multiclass model.

    >>> metric_names(Task.REGRESSION)[0]
    'rmse'
    """
    return _NAMES[task](classes)


_NAMES: dict[Task, Callable[[tuple[str, ...]], tuple[str, ...]]] = {
    Task.REGRESSION: lambda _: REGRESSION_METRICS,
}

_LOWER_IS_BETTER = frozenset(
    {"log_loss", "brier", "calibration_error", "rmse", "mae", "median_ae", "mape", "bias"}
)


def better_is_lower(name: str) -> bool:
    """Tell whether a smaller value of the metric is better; of `bias` it is the smaller size.

    >>> better_is_lower("rmse"), better_is_lower("roc_auc")
    (True, False)
    """
    return name in _LOWER_IS_BETTER
