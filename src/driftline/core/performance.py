"""Performance of a model in one window: its metrics with intervals, once the labels are there.

One function per task gives all of its metrics. What cannot be measured has a status and no number: a window
without a positive label is no failure, and no zero either.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftline.core.binary_metrics import BINARY_METRICS, measure_binary
from driftline.core.intervals import Clusters, find_clusters
from driftline.core.metric import Measured, MetricStatus, unmeasured
from driftline.core.multiclass_metrics import measure_multiclass, name_multiclass
from driftline.core.outcomes import Outcomes
from driftline.core.ranking_metrics import measure_ranking, name_ranking
from driftline.core.regression_metrics import REGRESSION_METRICS, measure_regression
from driftline.core.schema import Task

MIN_EFFECTIVE = 10
"""With fewer independent rows nothing is measured."""
MAIN_METRIC = {
    Task.BINARY: "roc_auc",
    Task.MULTICLASS: "accuracy",
    Task.REGRESSION: "rmse",
    Task.RANKING: "ndcg@10",
}
"""What is shown of a task when nothing else is asked for."""


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


def measure_performance(task: Task, outcomes: Outcomes, *, k: int = 10) -> Performance:
    """Measure every metric of the task, in the order of `metric_names`; rows of weight 0 are left out.

    Of a ranking, `groups` are the lists, and the first `k` places count.

    >>> errors = np.array([1.0, -1, 2, 0, 1, -2, 1, 0, 0, 1, -1, 1])
    >>> outcomes = Outcomes(np.zeros(12), errors, None, np.ones(12), None)
    >>> performance = measure_performance(Task.REGRESSION, outcomes)
    >>> dict(zip(performance.names, performance.values.round(3).tolist()))["bias"]
    0.25
    >>> dict(zip(performance.names, performance.status))["r2"]
    <MetricStatus.CONSTANT_TRUTH: 'constant_truth'>
    """
    outcomes = outcomes if outcomes.weights.all() else outcomes.take(outcomes.weights > 0)
    clusters = find_clusters(outcomes.groups, outcomes.rows)
    n_eff = clusters.effective(outcomes.weights)
    names = metric_names(task, outcomes.classes, k=k)
    if n_eff < MIN_EFFECTIVE:
        measured = dict.fromkeys(names, unmeasured(MetricStatus.TOO_FEW))
    else:
        measured = _MEASURE[task](outcomes, clusters, k)
    return Performance(
        names=names,
        values=np.array([measured[name].value for name in names]),
        lower=np.array([measured[name].lower for name in names]),
        upper=np.array([measured[name].upper for name in names]),
        n=outcomes.rows,
        n_eff=n_eff,
        status=tuple(measured[name].status for name in names),
    )


def metric_names(task: Task, classes: tuple[str, ...] = (), *, k: int = 10) -> tuple[str, ...]:
    """Name the metrics of a task: of a multiclass model also the recall of each of its classes.

    >>> metric_names(Task.REGRESSION)
    ('rmse', 'mae', 'median_ae', 'mape', 'r2', 'bias')
    """
    return _NAMES[task](classes, k)


_MEASURE: dict[Task, Callable[[Outcomes, Clusters, int], dict[str, Measured]]] = {
    Task.BINARY: lambda outcomes, clusters, _: measure_binary(outcomes, clusters),
    Task.MULTICLASS: lambda outcomes, clusters, _: measure_multiclass(outcomes, clusters),
    Task.REGRESSION: lambda outcomes, clusters, _: measure_regression(outcomes, clusters),
    Task.RANKING: measure_ranking,
}
_NAMES: dict[Task, Callable[[tuple[str, ...], int], tuple[str, ...]]] = {
    Task.BINARY: lambda classes, k: BINARY_METRICS,
    Task.MULTICLASS: lambda classes, k: name_multiclass(classes),
    Task.REGRESSION: lambda classes, k: REGRESSION_METRICS,
    Task.RANKING: lambda classes, k: name_ranking(k),
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
