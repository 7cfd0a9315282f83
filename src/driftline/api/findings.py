"""Findings about data as the API says them: what was odd in a body, and what is odd about a reference."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from driftline.core.category import mend_text
from driftline.core.finding import Finding
from driftline.core.grid import MAX_CATEGORIES
from driftline.core.reference import Reference
from driftline.core.schema import PREDICTION, SCORE


def describe_findings(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Give the JSON form of findings."""
    return [
        _found(mend_text(each.column), str(each.problem), each.count, mend_text(str(each))) for each in findings
    ]


def inspect_reference(reference: Reference) -> Iterator[dict[str, Any]]:
    """Find what makes features of a reference useless or coarse to compare with."""
    grid, profile = reference.grid, reference.profile
    values = profile.counts[:, : grid.cells].sum(axis=1)
    least = reference.bins.min_samples
    if profile.rows < least:
        detail = f"{profile.rows:,} rows are few to compare with; a verdict over {reference.bins.count} bins needs"
        yield _found("", "few_rows", profile.rows, f"{detail} {least:,}")
    for f in np.flatnonzero(values == 0).tolist():
        name = reference.names[f]
        if name not in (PREDICTION, SCORE):
            detail = f"column {name!r}: no value at all, so there is nothing to compare with"
            yield _found(name, "all_missing", profile.rows, detail)
    for f in np.flatnonzero((reference.distinct == 1) & (values > 0)).tolist():
        detail = f"column {reference.names[f]!r}: always the same value; any other will count as drift"
        yield _found(reference.names[f], "constant", int(values[f]), detail)
    infinite = profile.counts[:, grid.infinite]
    for f in np.flatnonzero(infinite).tolist():
        detail = f"column {reference.names[f]!r}: {infinite[f]:,} values are infinite and are counted apart"
        yield _found(reference.names[f], "infinite", int(infinite[f]), detail)
    for f in np.flatnonzero(reference.distinct[grid.numeric :] > MAX_CATEGORIES).tolist():
        name, distinct = reference.names[grid.numeric + f], int(reference.distinct[grid.numeric + f])
        detail = (
            f"column {name!r}: {distinct:,} categories; the {MAX_CATEGORIES} most frequent have a cell each, "
            "the others share one"
        )
        yield _found(name, "many_categories", distinct, detail)


def _found(column: str, problem: str, count: int, detail: str) -> dict[str, Any]:
    return {"column": column or None, "problem": problem, "count": count, "detail": detail}
