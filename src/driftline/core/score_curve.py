"""Metrics of the order that scores give: areas under the ROC and the precision-recall curve, and KS.

All three are sums over the distinct scores, from the highest down, so tied rows count together.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import kolmogorov

from driftline.core.intervals import LEVEL, Clusters, binomial_rows, bound_share, half_width, measure_share
from driftline.core.metric import Measured, MetricStatus, unmeasured

CURVE_METRICS = ("roc_auc", "pr_auc", "ks")
_SPLITS = 3  # so often the rows are halved to see how much KS grows when there are fewer
_GROWTH = 0.5  # by so much of it the excess grows then


@dataclass(frozen=True, slots=True)
class ScoreCurve:
    """Rows of two classes in the order of their scores, the S distinct ones of which descend.

    `step` [n] is the position of each row's score; `order` [n] the rows by score and `last` [S] where in it each
    score ends; `positive` and `negative` [n] are the weights of the rows of either class, 0 for those of the
    other one; `above` [2, S] the weight of positives and of negatives with that score or a higher one.
    """

    step: NDArray[np.intp]
    order: NDArray[np.intp]
    last: NDArray[np.intp]
    positive: NDArray[np.float64]
    negative: NDArray[np.float64]
    above: NDArray[np.float64]
    clusters: Clusters

    @property
    def effective(self) -> tuple[float, float]:
        """Give the number of independent positive and negative rows."""
        return self.clusters.effective(self.positive), self.clusters.effective(self.negative)


def sort_scores(
    scores: NDArray[np.float64], positive: NDArray[np.bool_], weights: NDArray[np.float64], clusters: Clusters
) -> ScoreCurve:
    """Sort n rows by score; there must be weight in both classes."""
    order = np.argsort(-scores)
    ordered = scores[order]
    last = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(scores) - 1)
    step = np.empty(len(scores), np.intp)
    step[order] = np.repeat(np.arange(len(last)), np.diff(last, prepend=-1))
    of_class = np.where(positive, weights, 0.0), np.where(positive, 0.0, weights)
    above = np.stack([np.cumsum(rows[order])[last] for rows in of_class])
    return ScoreCurve(step, order, last, *of_class, above, clusters)


def measure_curve(curve: ScoreCurve) -> dict[str, Measured]:
    """Measure CURVE_METRICS; a class of fewer than two independent rows says nothing of its spread."""
    if min(curve.effective) < 2:
        return dict.fromkeys(CURVE_METRICS, unmeasured(MetricStatus.TOO_FEW))
    area, influence = area_under_roc(curve)
    return {
        "roc_auc": measure_share(area, influence, curve.clusters, min(curve.effective)),
        "pr_auc": _measure_precision_recall(curve),
        "ks": _measure_ks(curve),
    }


def area_under_roc(curve: ScoreCurve) -> tuple[float, NDArray[np.float64]]:
    """Give AUC and the influence [n] of each row on it (DeLong, DeLong & Clarke-Pearson, Biometrics 44, 1988).

    AUC is the chance that a positive row scores higher than a negative one, plus half that of a tie.
    """
    here = np.diff(curve.above, prepend=0)
    positives, negatives = curve.above[:, -1]
    beats = 1 - (curve.above[1] - here[1] / 2) / negatives
    beaten = (curve.above[0] - here[0] / 2) / positives
    area = float(here[0] @ beats / positives)
    influence = curve.positive * (beats - area)[curve.step] / positives
    influence += curve.negative * (beaten - area)[curve.step] / negatives
    return area, influence


def _measure_precision_recall(curve: ScoreCurve) -> Measured:
    """Average precision: precision at each positive row's score, averaged over them.

    A row changes the precision at its own score and at every lower one. Boyd, Eng & Page (ECML 2013) compare
    intervals, and advise those that keep within 0 and 1.
    """
    here = np.diff(curve.above[0], prepend=0)
    positives = curve.above[0, -1]
    total = curve.above.sum(axis=0)
    precision = curve.above[0] / total
    area = float(here @ precision / positives)
    gain = np.cumsum((here / total)[::-1])[::-1]
    loss = np.cumsum((here * precision / total)[::-1])[::-1]
    influence = curve.positive * (precision - area + gain - loss)[curve.step]
    influence -= curve.negative * loss[curve.step]
    return measure_share(area, influence / positives, curve.clusters, curve.effective[0])


def _measure_ks(curve: ScoreCurve) -> Measured:
    """KS: the largest distance between the distributions of the scores of both classes.

    The largest of many distances is too large by chance. By how much follows from how much larger it is among
    half of the rows: the excess falls with n^(1/2) where the curves run side by side, and with n^(2/3) where one
    place stands out (Kim & Pollard, Annals of Statistics 18, 1990), so halving adds 0.41 to 0.59 of it. The
    interval is about the value less that excess, which is known to within about a half; `value` stays the textbook
    one. What could be chance, by the asymptotic test, has 0 as its lower end.
    """
    positives, negatives = curve.above[:, -1]
    distance = curve.above[0] / positives - curve.above[1] / negatives
    at = int(np.argmax(np.abs(distance)))
    value = float(np.abs(distance[at]))
    reached = curve.step <= at
    influence = curve.positive * (reached - curve.above[0, at] / positives) / positives
    influence -= curve.negative * (reached - curve.above[1, at] / negatives) / negatives
    excess = _excess_of_ks(curve, value)
    half = np.hypot(half_width(influence, curve.clusters), excess)
    bounds = bound_share(max(value - excess, 0.0), binomial_rows(value, half, min(curve.effective)))
    rows = 1 / (1 / curve.effective[0] + 1 / curve.effective[1])
    by_chance = kolmogorov(np.sqrt(rows) * value) > 1 - LEVEL
    return Measured(value, 0.0 if by_chance else min(bounds.lower, value), max(bounds.upper, value))


def _excess_of_ks(curve: ScoreCurve, value: float) -> float:
    """Tell by how much KS is too large: what halves of the rows add, in whole clusters, over _GROWTH."""
    marks = np.random.default_rng(0).integers(0, 2**_SPLITS, curve.clusters.count)  # the same each time
    marks = marks if curve.clusters.place is None else marks[curve.clusters.place[curve.order]]
    ordered = curve.positive[curve.order], curve.negative[curve.order]
    halves: list[NDArray[np.float64]] = []
    for split in range(_SPLITS):
        first = np.stack([np.cumsum(rows * (marks >> split & 1))[curve.last] for rows in ordered])
        halves += [half for half in (first, curve.above - first) if half[:, -1].min() > 0]
    found = [np.abs(half[0] / half[0, -1] - half[1] / half[1, -1]).max() for half in halves]
    return max(float(np.mean(found)) - value, 0.0) / _GROWTH if found else 0.0
