"""Histograms of one numeric feature, drawn from its cells: the same for references and windows."""

import numpy as np
from numpy.typing import NDArray

from driftline.core.side import Side
from driftline.core.summary import cell_bounds, estimate_quantiles

HISTOGRAM_BINS = 50
_WIDEST = 2.0**1021  # twice that has a width, and a tenth more: what lies beyond joins the outer bars


def choose_edges(side: Side, bins: int = HISTOGRAM_BINS) -> NDArray[np.float64]:
    """Choose equal bars [bins + 1]: from the 1st to the 99th percentile and a tenth beyond, within the range."""
    low, high = side.profile.extremes[:, 0]
    if not np.isfinite([low, high]).all():
        return np.linspace(0.0, 1.0, bins + 1)
    first, last = estimate_quantiles(side.grid, side.profile, np.array([0.01, 0.99]))[0]
    low, high, first, last = np.clip([low, high, first, last], -_WIDEST, _WIDEST)
    reach = (last - first) * 0.1
    low, high = max(low, first - reach), min(high, last + reach)
    if high <= low:
        low, high = low - (abs(low) * 0.01 or 0.5), high + (abs(high) * 0.01 or 0.5)
    return np.linspace(low, high, bins + 1)


def count_bars(side: Side, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the values per bar between `edges`; what lies beyond joins the outer bars.

    A cell that spans an edge is shared between its bars as if its values were spread evenly.
    """
    counts = side.profile.counts[0, : side.grid.cells]
    total = counts.sum()
    if not total:
        return np.zeros(len(edges) - 1)
    bounds = np.clip(cell_bounds(side.grid, side.profile.extremes)[0], -_WIDEST, _WIDEST)
    cumulative = np.concatenate([[0], np.cumsum(counts)]) / total
    # Atoms make steps: of several bounds at one place the last cumulative share counts below, the first above.
    place, first = np.unique(bounds, return_index=True)
    last = np.append(first[1:], len(bounds)) - 1
    inner = np.interp(edges[1:-1], np.repeat(place, 2), np.stack([cumulative[first], cumulative[last]], 1).ravel())
    return np.diff(np.concatenate([[0.0], inner, [1.0]]))
