"""Metrics of ranking, by list: how high the relevant rows are in the order that the scores give.

Rows of one list with equal scores have no order; their places are averaged over all orders, so a metric does not
depend on how rows happen to be stored (McSherry & Najork, ECIR 2008). A list counts with the mean weight of its
rows, and with 0 when none of its rows is relevant.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from driftline.core.intervals import Clusters, average, measure_share, sum_by
from driftline.core.metric import Measured, MetricStatus, unmeasured
from driftline.core.outcomes import Outcomes


@dataclass(frozen=True, slots=True)
class _Lists:
    """Rows in the order of lists and scores, best first; blocks are rows of one list with equal scores.

    `of_row` and `rank` [n] are the list of a row and its place in it, from 0 on; `starts` and `sizes` [B] are the
    first row of each block and the number of its rows, `block` [n] is each row's.
    """

    count: int
    relevance: NDArray[np.float64]
    of_row: NDArray[np.intp]
    rank: NDArray[np.intp]
    starts: NDArray[np.intp]
    sizes: NDArray[np.intp]
    block: NDArray[np.intp]


def name_ranking(k: int) -> tuple[str, ...]:
    """Name the metrics of the first k places.

    >>> name_ranking(10)
    ('ndcg@10', 'map@10', 'mrr')
    """
    return (f"ndcg@{k}", f"map@{k}", "mrr")


def measure_ranking(outcomes: Outcomes, clusters: Clusters, k: int) -> dict[str, Measured]:
    """Measure NDCG and MAP of the first k places, and the mean reciprocal rank."""
    relevance = outcomes.truth.astype(np.float64)
    fault = _find_fault(relevance, outcomes)
    if fault is not None:
        return dict.fromkeys(name_ranking(k), unmeasured(fault))
    place, scores = clusters.place, outcomes.scores
    assert place is not None
    assert scores is not None
    lists = _sort_lists(relevance, scores, place)
    weights = clusters.add(outcomes.weights) / np.bincount(place)
    shares, alone = weights / weights.sum(), Clusters(None, lists.count)
    by_list = (_gain_of_lists(lists, k), _precision_of_lists(lists, k), _reciprocal_rank_of_lists(lists))
    return {
        name: measure_share(*average(values, shares), alone, alone.effective(weights))
        for name, values in zip(name_ranking(k), by_list, strict=True)
    }


def _find_fault(relevance: NDArray[np.float64], outcomes: Outcomes) -> MetricStatus | None:
    if outcomes.groups is None:
        return MetricStatus.NO_GROUPS
    if not np.isfinite(relevance).all() or relevance.min() < 0:
        return MetricStatus.INVALID_TRUTH
    if outcomes.scores is None:
        return MetricStatus.NO_SCORES
    if outcomes.scores.shape != relevance.shape or not np.isfinite(outcomes.scores).all():
        return MetricStatus.INVALID_SCORES
    return None if relevance.any() else MetricStatus.NO_POSITIVES


def _sort_lists(relevance: NDArray[np.float64], scores: NDArray[np.float64], of_row: NDArray[np.intp]) -> _Lists:
    order = np.lexsort((-scores, of_row))
    of_row, scores = of_row[order], scores[order]
    first = np.append(True, of_row[1:] != of_row[:-1])
    new_block = first | np.append(True, scores[1:] != scores[:-1])
    starts = np.flatnonzero(new_block)
    return _Lists(
        count=int(of_row[-1]) + 1,
        relevance=relevance[order],
        of_row=of_row,
        rank=np.arange(len(order)) - np.flatnonzero(first)[of_row],
        starts=starts,
        sizes=np.diff(starts, append=len(order)),
        block=np.cumsum(new_block) - 1,
    )


def _gain_of_lists(lists: _Lists, k: int) -> NDArray[np.float64]:
    """NDCG@k (Järvelin & Kekäläinen 2002): relevance times 1 / log2(rank + 2), over that of the best order."""
    discount = np.where(lists.rank < k, 1 / np.log2(lists.rank + 2), 0.0)
    gain = np.add.reduceat(lists.relevance, lists.starts) / lists.sizes * np.add.reduceat(discount, lists.starts)
    best = lists.relevance[np.lexsort((-lists.relevance, lists.of_row))] * discount
    return _divide(sum_by(lists.of_row[lists.starts], gain, lists.count), sum_by(lists.of_row, best, lists.count))


def _precision_of_lists(lists: _Lists, k: int) -> NDArray[np.float64]:
    """Average precision of the first k places: precision at each relevant row, over min(k, relevant rows).

    Of a block of m rows with r relevant ones, a place is relevant in r / m of the orders; of the j places of the
    block before it then j (r - 1) / (m - 1) are.
    """
    relevant = np.where(lists.relevance > 0, 1.0, 0.0)
    in_block = np.add.reduceat(relevant, lists.starts)
    in_list = sum_by(lists.of_row, relevant, lists.count)
    before = np.cumsum(in_block) - in_block - (np.cumsum(in_list) - in_list)[lists.of_row[lists.starts]]
    r, m = in_block[lists.block], lists.sizes[lists.block]
    place = lists.rank - lists.rank[lists.starts][lists.block]
    found = before[lists.block] + 1 + place * np.maximum(r - 1, 0) / np.maximum(m - 1, 1)
    precision = np.where(lists.rank < k, r / m * found / (lists.rank + 1), 0.0)
    return _divide(sum_by(lists.of_row, precision, lists.count), np.minimum(in_list, k))


def _reciprocal_rank_of_lists(lists: _Lists) -> NDArray[np.float64]:
    """1 / rank of the first relevant row, which is in the first block that has one.

    It is at place j of a block of m rows with r relevant ones in C(m - j - 1, r - 1) of the C(m, r) cases.
    """
    relevant = np.add.reduceat(np.where(lists.relevance > 0, 1.0, 0.0), lists.starts)
    having = np.flatnonzero(relevant)
    _, first = np.unique(lists.of_row[lists.starts[having]], return_index=True)
    chosen = np.zeros(len(relevant), np.bool_)
    chosen[having[first]] = True
    rows = np.flatnonzero(chosen[lists.block])
    block = lists.block[rows]
    r, m, place = relevant[block], lists.sizes[block], lists.rank[rows] - lists.rank[lists.starts[block]]
    possible = place <= m - r
    rows, r, m, place = rows[possible], r[possible], m[possible], place[possible]
    chance = np.exp(_log_choose(m - place - 1, r - 1) - _log_choose(m, r))
    return sum_by(lists.of_row[rows], chance / (lists.rank[rows] + 1), lists.count)


def _log_choose(n: NDArray[Any], k: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1), np.float64)


def _divide(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide; 0 where there is nothing to divide by."""
    return np.divide(numerator, denominator, out=np.zeros(len(numerator)), where=denominator > 0)
