"""Data quality of a window beside its reference: what is broken, not what has drifted."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftline.core.summary import Summary

RISE = 0.01
"""A rate has risen when it did so by a hundredth at least,"""
CERTAIN = 4.0
"""and by so many standard errors."""
_EXPECTED_BEYOND = 10
"""Values beyond the reference's range that a window has by chance: as many as 2 n/m, and some more."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A window's metrics [F] by name, in profile order, and the reference's own summary.

    `rows` and `reference_rows` are effective rows. Without a summary there is nothing to compare rates with.
    """

    names: Sequence[str]
    metrics: Mapping[str, NDArray[Any]]
    rows: float
    summary: Summary | None
    reference_rows: float


def find_problems(both: Compared) -> list[dict[str, Any]]:
    """Find features that are missing entirely, missing more often, infinite, never seen or out of range.

    Each problem has the rate in the window and in the reference, and a sentence. The gravest come first.
    """
    return [
        *_find_absent(both),
        *_find_surges(both),
        *_find_infinite(both),
        *_find_never_seen(both),
        *_find_beyond(both),
    ]


def _find_absent(both: Compared) -> Iterator[dict[str, Any]]:
    for f in np.flatnonzero(both.metrics["missing_rate"] >= 1).tolist():
        if both.summary is None or both.summary.missing_rate[f] < 1:
            yield _problem(both, f, "missing_entirely", "missing_rate", "no value at all in the window")


def _find_surges(both: Compared) -> Iterator[dict[str, Any]]:
    if both.summary is None:
        return
    after, before = both.metrics["missing_rate"].astype(np.float64), both.summary.missing_rate
    total = both.rows + both.reference_rows
    together = (after * both.rows + before * both.reference_rows) / total
    error = np.sqrt(together * (1 - together) * (1 / max(both.rows, 1) + 1 / max(both.reference_rows, 1)))
    rose = (after - before >= RISE) & (after - before > CERTAIN * error)
    rose &= after < 1
    for f in _ranked(rose, after - before):
        says = f"missing values rose from {before[f]:.1%} to {after[f]:.1%}"
        yield _problem(both, f, "missing_surge", "missing_rate", says)


def _find_infinite(both: Compared) -> Iterator[dict[str, Any]]:
    rates = both.metrics["infinite_rate"]
    for f in _ranked(rates > 0, rates):
        yield _problem(both, f, "infinite", "infinite_rate", f"{_percent(rates[f])} of the values are infinite")


def _find_never_seen(both: Compared) -> Iterator[dict[str, Any]]:
    rates = both.metrics["never_seen_rate"]
    for f in _ranked(rates > 0, rates):
        says = f"{_percent(rates[f])} of the values never occurred in the reference"
        yield _problem(both, f, "never_seen", "never_seen_rate", says)


def _find_beyond(both: Compared) -> Iterator[dict[str, Any]]:
    rates = np.nan_to_num(both.metrics["out_of_range_rate"])
    values = both.metrics["sample_count"]
    odd = (rates >= RISE) & (rates * values >= _EXPECTED_BEYOND)
    odd &= rates * both.reference_rows >= _EXPECTED_BEYOND  # a small reference leaves much beyond its range
    for f in _ranked(odd, rates):
        says = f"{_percent(rates[f])} of the values lie beyond the reference's range"
        yield _problem(both, f, "out_of_range", "out_of_range_rate", says)


def _ranked(chosen: NDArray[np.bool_], by: NDArray[np.floating]) -> list[int]:
    places = np.flatnonzero(chosen)
    ranked: list[int] = places[np.argsort(-by[places], kind="stable")].tolist()
    return ranked


def _percent(rate: float) -> str:
    return f"{rate:.1%}" if rate >= 0.001 else "less than 0.1%"


def _problem(both: Compared, f: int, problem: str, metric: str, says: str) -> dict[str, Any]:
    before = None if both.summary is None else getattr(both.summary, metric)[f]
    return {
        "feature_name": both.names[f],
        "problem": problem,
        "rate": round(float(both.metrics[metric][f]), 6),
        "reference_rate": None if before is None or np.isnan(before) else round(float(before), 6),
        "detail": f"{both.names[f]}: {says}",
    }
