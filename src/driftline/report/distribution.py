"""The two distributions of a feature as bars of one chart."""

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from driftline.core.grid import Grid
from driftline.core.histogram import HISTOGRAM_BINS, choose_edges, count_bars
from driftline.core.profile import Profile
from driftline.core.schema import Kind
from driftline.core.side import Side, take_feature
from driftline.report.feature import Distribution
from driftline.report.words import format_number

MAX_VALUES = 20
"""Numbers with at most so many distinct values have a bar for each."""
MAX_CATEGORIES = 12
_ELSEWHERE = 0.2

_Bar: TypeAlias = tuple[str, int, int]

OTHER, NEVER_SEEN, OTHER_VALUES = "other known values", "never seen before", "other values"
MISSING, INFINITE = "missing", "infinite"


def describe_distribution(
    grid: Grid, expected: Profile, actual: Profile, feature: int, kind: Kind, distinct: int
) -> Distribution:
    """Choose bars for a feature and give both sides' shares: values or categories by name, or a histogram."""
    if feature >= grid.numeric:
        return _of_categories(grid, expected, actual, feature)
    if distinct <= MAX_VALUES and kind is not Kind.DATETIME:
        found = _of_values(grid, expected, actual, feature, kind)
        if found is not None:
            return found
    return _of_numbers(take_feature(grid, expected, feature), take_feature(grid, actual, feature))


def _of_numbers(expected: Side, actual: Side) -> Distribution:
    sides = [side for side in (expected, actual) if side.has_values]
    if not sides:
        return Distribution((), (), (), ())
    chosen = [choose_edges(side) for side in sides]
    low, high = min(edges[0] for edges in chosen), max(edges[-1] for edges in chosen)
    edges = np.linspace(low, high, HISTOGRAM_BINS + 1)
    if _is_whole(expected.grid, expected.profile):  # bars of whole numbers, each as many
        low, step = math.floor(low), max(math.ceil((high - low) / HISTOGRAM_BINS), 1)
        edges = low + step * np.arange(math.floor((high - low) / step) + 2, dtype=np.float64)
    before, after = (count_bars(side, edges).tolist() for side in (expected, actual))
    return Distribution(tuple(edges.tolist()), (), tuple(before), tuple(after))


def _of_values(grid: Grid, expected: Profile, actual: Profile, feature: int, kind: Kind) -> Distribution | None:
    """One bar a value; None when the names would not tell values apart, or the current values lie elsewhere."""
    before, after = (side.counts[feature, : grid.cells] for side in (expected, actual))
    cells = np.flatnonzero(before)
    if not len(cells) or cells[0] == 0:
        return None
    values = _edges(grid, feature)[cells - 1].tolist()
    labels = ["true" if value else "false" for value in values] if kind is Kind.BOOLEAN else None
    labels = labels or [format_number(value) for value in values]
    elsewhere = int(after.sum() - after[cells].sum())
    if len(set(labels)) < len(labels) or elsewhere > _ELSEWHERE * after.sum():
        return None
    bars = [(label, int(before[cell]), int(after[cell])) for label, cell in zip(labels, cells, strict=True)]
    return _as_shares(grid, expected, actual, feature, bars, [(OTHER_VALUES, 0, elsewhere)])


def _of_categories(grid: Grid, expected: Profile, actual: Profile, feature: int) -> Distribution:
    own = grid.categories[feature - grid.numeric]
    before, after = expected.counts[feature], actual.counts[feature]
    largest = np.maximum(before / max(expected.weight, 1), after / max(actual.weight, 1))[: len(own)]
    shown = np.sort(np.argsort(-largest, kind="stable")[:MAX_CATEGORIES])
    bars = [(own[i], int(before[i]), int(after[i])) for i in shown]
    known = [int(counts[: grid.unseen].sum() - counts[shown].sum()) for counts in (before, after)]
    rest = [
        (OTHER, known[0], known[1]),
        (NEVER_SEEN, int(before[grid.unseen]), int(after[grid.unseen])),
    ]
    return _as_shares(grid, expected, actual, feature, bars, rest)


def _as_shares(
    grid: Grid, expected: Profile, actual: Profile, feature: int, bars: list[_Bar], rest: list[_Bar]
) -> Distribution:
    """Divide by all rows; bars of the rest, and of rows without a value, are there when they are not empty."""
    before, after = expected.counts[feature], actual.counts[feature]
    rest = [
        *rest,
        (MISSING, int(before[grid.missing]), int(after[grid.missing])),
        (INFINITE, int(before[grid.infinite]), int(after[grid.infinite])),
    ]
    rest = [bar for bar in rest if bar[1] or bar[2]]
    labels, first, second = zip(*bars, *rest, strict=True) if bars or rest else ((), (), ())
    return Distribution(
        (),
        labels,
        tuple(count / max(expected.weight, 1) for count in first),
        tuple(count / max(actual.weight, 1) for count in second),
        rest=len(rest),
    )


def _is_whole(grid: Grid, expected: Profile) -> bool:
    """Tell whether the reference's values are whole numbers: then all edges that its cells begin at are."""
    cells = np.flatnonzero(expected.counts[0, : grid.cells])
    if not len(cells) or cells[0] == 0:
        return False
    edges = _edges(grid, 0)[cells - 1]
    return bool((np.trunc(edges) == edges).all()) and len(cells) > 1


def _edges(grid: Grid, feature: int) -> NDArray[np.float64]:
    split = len(grid.edges32)
    row = grid.edges32[feature] if feature < split else grid.edges64[feature - split]
    return np.asarray(row, np.float64)
