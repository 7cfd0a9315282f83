"""How long the metrics of a window take, with their intervals and without, and the delay curve of a model.

Everything is seeded. "Bare" is scikit-learn on the same rows: the numbers alone.
"""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from scipy.special import expit, softmax
from sklearn import metrics

from driftline.core.maturity import DELAY_CELLS, fit_delays
from driftline.core.outcomes import Outcomes
from driftline.core.performance import measure_performance
from driftline.core.schema import Task
from records import Record, make_parser, report, time_runs

ROWS = 10_000
HOUR = 3_600_000_000


def draw_binary(rng: Generator, entities: int | None = None) -> Outcomes:
    """A fifth positive; the entities of the rows are hashes."""
    scores = expit(rng.normal(-2, 1.5, ROWS))
    truth = (rng.random(ROWS) < scores).astype(np.intp)
    groups = None if entities is None else rng.integers(-(2**63), 2**63, entities)[rng.integers(0, entities, ROWS)]
    return Outcomes(truth, (scores > 0.5).astype(np.intp), scores, np.ones(ROWS), groups, ("no", "yes"))


def draw_multiclass(rng: Generator, classes: int) -> Outcomes:
    scores = softmax(rng.normal(0, 1.5, (ROWS, classes)), axis=1)
    truth = np.minimum((rng.random((ROWS, 1)) > scores.cumsum(axis=1)).sum(axis=1), classes - 1)
    names = tuple(str(code) for code in range(classes))
    return Outcomes(truth, scores.argmax(axis=1), scores, np.ones(ROWS), None, names)


def draw_regression(rng: Generator) -> Outcomes:
    truth = rng.gamma(4, 1, ROWS) + 1
    return Outcomes(truth, truth * rng.normal(1, 0.3, ROWS), None, np.ones(ROWS), None)


def draw_ranking(rng: Generator) -> Outcomes:
    scores = rng.normal(size=ROWS)
    relevance = rng.binomial(3, expit(scores - 2)).astype(np.float64)
    return Outcomes(relevance, scores, scores, np.ones(ROWS), np.arange(ROWS) // 20)


def measure_bare(outcomes: Outcomes) -> None:
    """Nine of the eleven binary metrics, without intervals."""
    truth, prediction, scores = outcomes.truth, outcomes.prediction, outcomes.scores
    for of_classes in (
        metrics.accuracy_score,
        metrics.balanced_accuracy_score,
        metrics.precision_score,
        metrics.recall_score,
        metrics.f1_score,
    ):
        of_classes(truth, prediction)
    for of_scores in (
        metrics.roc_auc_score,
        metrics.average_precision_score,
        metrics.log_loss,
        metrics.brier_score_loss,
    ):
        of_scores(truth, scores)


def time_curve(rng: Generator) -> float:
    """Fit the delay curve of 90 days of hours."""
    ages = np.arange(90 * 24) * HOUR
    counts = rng.poisson(5, (len(ages), DELAY_CELLS))
    return time_runs(lambda: fit_delays(counts, counts.sum(axis=1), ages, max_delay=30 * 24 * HOUR), 20).median


def main() -> None:
    """Measure and report."""
    options = make_parser(__doc__).parse_args()
    rng = np.random.default_rng(1)
    binary = draw_binary(rng)
    cases: list[tuple[str, Callable[[], object], float | None]] = [
        ("binary", lambda: measure_performance(Task.BINARY, binary), 6.0),
        ("binary, bare", lambda: measure_bare(binary), None),
    ]
    for name, task, outcomes in (
        ("binary, 3,000 entities", Task.BINARY, draw_binary(rng, 3_000)),
        ("multiclass, 3 classes", Task.MULTICLASS, draw_multiclass(rng, 3)),
        ("multiclass, 20 classes", Task.MULTICLASS, draw_multiclass(rng, 20)),
        ("regression", Task.REGRESSION, draw_regression(rng)),
        ("ranking, 500 lists", Task.RANKING, draw_ranking(rng)),
    ):
        cases.append((name, lambda task=task, outcomes=outcomes: measure_performance(task, outcomes), None))
    records = [
        Record(f"{name}, {ROWS:,} rows", time_runs(run, 50).median * 1e3, "ms", budget)
        for name, run, budget in cases
    ]
    records.append(Record("delay curve of 2,160 windows", time_curve(rng) * 1e3, "ms"))
    report("Metrics of a window, with intervals", records, options)


if __name__ == "__main__":
    main()
