"""What two profiles say about the quality of their data: missing, constant, infinite, new, out of range."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftline.core.grid import MAX_CATEGORIES
from driftline.core.profile import Profile
from driftline.core.reference import Reference
from driftline.core.schema import Kind, layout
from driftline.core.summary import Summary, summarize
from driftline.report.quality import QualityFinding, Severity, Side
from driftline.report.words import format_number, format_share, plural, shorten

_RISE = 0.01  # of missing or never seen values: by so much,
_CERTAIN = 4.0  # and by so many standard errors
_MOSTLY_DISTINCT = 0.9
_MANY_ROWS = 100
_OFTEN_NEW = 0.3


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both profiles and their summaries, in profile order."""

    reference: Reference
    actual: Profile
    before: Summary
    after: Summary

    @classmethod
    def of(cls, reference: Reference) -> "Comparison":
        """Give a reference compared with itself."""
        summary = summarize(reference.grid, reference.profile)
        return cls(reference, reference.profile, summary, summary)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features."""
        return self.reference.names

    @property
    def kind(self) -> tuple[Kind, ...]:
        """Kinds of the features."""
        return layout(self.reference.schema).kinds

    @property
    def categorical(self) -> NDArray[np.bool_]:
        """Which features are categories [F]."""
        return np.arange(self.reference.grid.features) >= self.reference.grid.numeric

    def profile(self, side: Side) -> Profile:
        """The profile of one side."""
        return self.reference.profile if side is Side.REFERENCE else self.actual

    def values(self, side: Side) -> NDArray[np.int64]:
        """Rows with a value [F]: finite, or a category."""
        return np.asarray(self.profile(side).counts[:, : self.reference.grid.cells].sum(axis=1))


def inspect_profiles(both: Comparison) -> Iterator[QualityFinding]:
    """Find what is wrong or odd with each feature's values."""
    yield from _find_all_missing(both)
    yield from _find_more_missing(both)
    yield from _find_infinite(both)
    yield from _find_constant(both)
    yield from _find_new_categories(both)
    yield from _find_many_categories(both)
    yield from _find_out_of_range(both)


def _find_all_missing(both: Comparison) -> Iterator[QualityFinding]:
    missing = both.reference.grid.missing
    expected, actual = both.reference.profile, both.actual
    nothing = expected.counts[:, missing] == expected.weight
    for f in _where(nothing):
        message = "no value at all in the reference, so there is nothing to compare with"
        yield _found(both, f, Side.REFERENCE, "all_missing", Severity.WARNING, expected.rows, message)
    if actual.rows:
        for f in _where((actual.counts[:, missing] == actual.weight) & ~nothing):
            message = "no value at all in the current data"
            yield _found(both, f, Side.CURRENT, "all_missing", Severity.ERROR, actual.rows, message)


def _find_more_missing(both: Comparison) -> Iterator[QualityFinding]:
    before, after = both.before.missing_rate, both.after.missing_rate
    rows = (max(both.reference.profile.effective_rows, 1), max(both.actual.effective_rows, 1))
    together = (before * rows[0] + after * rows[1]) / sum(rows)
    error = np.sqrt(together * (1 - together) * (1 / rows[0] + 1 / rows[1]))
    rose = (after - before >= _RISE) & (after - before > _CERTAIN * error) & (after < 1)
    for f in _where(rose):
        message = f"missing values rose from {format_share(before[f])} to {format_share(after[f])}"
        count = both.actual.counts[f, both.reference.grid.missing]
        yield _found(both, f, Side.CURRENT, "missing_rose", Severity.WARNING, count, message)


def _find_infinite(both: Comparison) -> Iterator[QualityFinding]:
    for side in Side:
        counts = both.profile(side).counts[:, both.reference.grid.infinite]
        for f in _where(counts > 0):
            message = f"{plural(int(counts[f]), 'infinite value')} in the {side} data"
            yield _found(both, f, side, "infinite", Severity.WARNING, counts[f], message)


def _find_constant(both: Comparison) -> Iterator[QualityFinding]:
    distinct, least = both.reference.distinct, both.reference.bins.min_samples
    for f in _where((distinct == 1) & (both.values(Side.REFERENCE) > 0)):
        message = f"always {_only_value(both, Side.REFERENCE, f)} in the reference"
        yield _found(both, f, Side.REFERENCE, "constant", Severity.NOTE, both.values(Side.REFERENCE)[f], message)
    values = both.values(Side.CURRENT)
    for f in _where((distinct > 1) & _is_constant(both, Side.CURRENT) & (values >= least)):
        message = f"always {_only_value(both, Side.CURRENT, f)} in the current data"
        yield _found(both, f, Side.CURRENT, "constant", Severity.WARNING, values[f], message)


def _find_new_categories(both: Comparison) -> Iterator[QualityFinding]:
    counts = both.actual.counts[:, both.reference.grid.unseen]
    for f in _where(both.categorical & (counts > 0)):
        found = both.actual.new_values.get(f, {})
        names = sorted(found, key=lambda name: (-found[name], name))
        shown = ", ".join(f"‘{shorten(name, 24)}’" for name in names[:3]) + (" …" if names[3:] else "")
        message = f"{format_share(both.after.never_seen_rate[f])} of the values were never seen before: {shown}"
        usual = both.reference.distinct[f] >= _OFTEN_NEW * both.values(Side.REFERENCE)[f]  # new ones all the time
        odd = both.after.never_seen_rate[f] >= _RISE and not usual
        severity = Severity.WARNING if odd else Severity.NOTE
        yield _found(both, f, Side.CURRENT, "new_categories", severity, counts[f], message)


def _find_many_categories(both: Comparison) -> Iterator[QualityFinding]:
    distinct, values = both.reference.distinct, both.values(Side.REFERENCE)
    identifier = (distinct >= _MOSTLY_DISTINCT * values) & (distinct > _MANY_ROWS)
    for f in _where(identifier & (both.categorical | _is_whole(both))):
        rows = plural(int(values[f]), "row")
        message = f"{distinct[f]:,} different values in {rows}: an identifier? Leave it out with `exclude`"
        yield _found(both, f, Side.REFERENCE, "identifier", Severity.WARNING, distinct[f], message)
    for f in _where(both.categorical & ~identifier & (distinct > MAX_CATEGORIES)):
        message = (
            f"{distinct[f]:,} categories; the {MAX_CATEGORIES} most frequent are compared one by one, "
            "the others together"
        )
        yield _found(both, f, Side.REFERENCE, "many_categories", Severity.NOTE, distinct[f], message)


def _find_out_of_range(both: Comparison) -> Iterator[QualityFinding]:
    beyond = np.nan_to_num(both.after.out_of_range_rate)
    count = beyond * both.values(Side.CURRENT)
    # a reference of m rows leaves about 2/m of the same distribution beyond its range
    odd = (beyond >= 0.01) & (count >= 10) & (beyond * both.values(Side.REFERENCE) >= 10)
    for f in _where(odd & ~both.categorical & (both.reference.distinct > 1)):
        extremes, scale = both.reference.profile.extremes[:, f], float(np.nan_to_num(both.before.std[f]))
        low, high = (format_number(bound, both.kind[f], scale) for bound in extremes)
        message = f"{format_share(beyond[f])} of the values lie beyond the reference’s {low} … {high}"
        yield _found(both, f, Side.CURRENT, "out_of_range", Severity.NOTE, count[f], message)


def _is_whole(both: Comparison) -> NDArray[np.bool_]:
    """Tell which features are numbers that are whole in the reference: then the edges of its cells are [F]."""
    grid, split = both.reference.grid, len(both.reference.grid.edges32)
    whole = np.zeros(grid.features, np.bool_)
    for edges, part, exact in (
        (grid.edges32, slice(0, split), 2.0**23),
        (grid.edges64, slice(split, grid.numeric), 2.0**53),
    ):
        reached = both.reference.profile.counts[part, 1 : edges.shape[1] + 1] > 0
        largest = np.abs(both.reference.profile.extremes[:, part]).max(axis=0)
        whole[part] = ((np.trunc(edges) == edges) | ~reached).all(axis=1) & (largest < exact)
    return np.asarray(whole & np.array([kind is Kind.NUMERIC for kind in both.kind]), np.bool_)


def _is_constant(both: Comparison, side: Side) -> NDArray[np.bool_]:
    grid, profile = both.reference.grid, both.profile(side)
    constant = np.zeros(grid.features, np.bool_)
    constant[: grid.numeric] = profile.extremes[0] == profile.extremes[1]
    named = profile.counts[grid.numeric :, : grid.cells]
    constant[grid.numeric :] = ((named > 0).sum(axis=1) == 1) & (named[:, grid.other :].sum(axis=1) == 0)
    return constant


def _only_value(both: Comparison, side: Side, f: int) -> str:
    grid, profile = both.reference.grid, both.profile(side)
    if f < grid.numeric:
        value = float(profile.extremes[0, f])
        return str(bool(value)).lower() if both.kind[f] is Kind.BOOLEAN else format_number(value, both.kind[f])
    cell = int(profile.counts[f, : grid.cells].argmax())
    return f"‘{shorten(grid.categories[f - grid.numeric][cell])}’"


def _where(mask: NDArray[np.bool_]) -> list[int]:
    return [int(f) for f in np.flatnonzero(mask)]


def _found(
    both: Comparison, f: int, side: Side, problem: str, severity: Severity, count: float, message: str
) -> QualityFinding:
    return QualityFinding(both.names[f], side, problem, severity, int(count), message)
