"""One feature's distribution as bars of a chart: both sides over the same bars."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftline.core.histogram import HISTOGRAM_BINS, choose_edges, count_bars
from driftline.core.reference import Reference
from driftline.core.schema import Kind, layout
from driftline.core.side import Side, take_feature
from driftline.core.summary import PERCENTILES, summarize
from driftline.store.references import FeatureProfile


def describe_feature(side: Side, kind: Kind, distinct: int | None = None) -> dict[str, Any]:
    """Say what is known of one side by itself; null where a number does not apply."""
    summary = summarize(side.grid, side.profile)
    stats: dict[str, Any] = {
        "kind": str(kind),
        "rows": side.profile.rows,
        "missing_rate": clean(summary.missing_rate[0]),
    }
    if distinct is not None:
        stats["distinct"] = distinct
    if side.categorical:
        return stats | {"never_seen_rate": clean(summary.never_seen_rate[0])}
    low, high = side.profile.extremes[:, 0]
    return stats | {
        "infinite_rate": clean(summary.infinite_rate[0]),
        "out_of_range_rate": clean(summary.out_of_range_rate[0]),
        "mean": clean(summary.mean[0]),
        "std": clean(summary.std[0]),
        "min": clean(low),
        "max": clean(high),
        **{f"p{p}": clean(value) for p, value in zip(PERCENTILES, summary.percentiles[0], strict=True)},
    }


def choose_bars(sides: Sequence[Side], kind: Kind) -> NDArray[np.float64] | None:
    """Choose bars that show the bulk of every side; None when there is no value to show."""
    if kind is Kind.BOOLEAN:
        return np.array([-0.5, 0.5, 1.5])
    found = [choose_edges(side) for side in sides if side.has_values]
    if not found:
        return None
    low, high = min(edges[0] for edges in found), max(edges[-1] for edges in found)
    return np.linspace(low, high, HISTOGRAM_BINS + 1)


def share_bars(side: Side, edges: NDArray[np.float64]) -> list[float]:
    """Give the share of a side's finite values per bar; what lies beyond joins the outer bars."""
    shares: list[float] = count_bars(side, edges).round(9).tolist()
    return shares


def share_categories(side: Side) -> tuple[list[float], dict[str, float]]:
    """Give the share of all rows per named category, and of the rest: other known, never seen, missing."""
    counts, grid = side.profile.counts[0], side.grid
    shares = counts / max(side.profile.weight, 1)
    named: list[float] = shares[: len(grid.categories[0])].round(9).tolist()
    rest = {"other": grid.other, "never_seen": grid.unseen, "missing": grid.missing}
    return named, {name: round(float(shares[cell]), 9) for name, cell in rest.items()}


def profile_features(reference: Reference) -> list[FeatureProfile]:
    """Say of each feature of a reference what people read about it: statistics, and a histogram or shares."""
    found = []
    for f, (name, kind) in enumerate(zip(reference.names, layout(reference.schema).kinds, strict=True)):
        side = take_feature(reference.grid, reference.profile, f)
        stats = describe_feature(side, kind, int(reference.distinct[f]))
        found.append(FeatureProfile(name, stats, _make_chart(side, kind)))
    return found


def clean(value: float) -> float | None:
    """Give a number as JSON can say it: NaN and infinities are null."""
    return float(value) if np.isfinite(value) else None


def _make_chart(side: Side, kind: Kind) -> dict[str, Any] | None:
    if side.categorical:
        shares, rest = share_categories(side)
        return {"categories": list(side.grid.categories[0]), "shares": shares, **rest}
    edges = choose_bars([side], kind)
    return None if edges is None else {"edges": edges.tolist(), "shares": share_bars(side, edges)}
