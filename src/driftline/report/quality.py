"""Data-quality findings of a comparison: what is wrong or odd about the data themselves, never hidden."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from driftline.core.finding import Finding, Problem
from driftline.report.words import join_names, shorten


class Severity(StrEnum):
    """How much a finding matters: broken data, something to look at, something to know."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Side(StrEnum):
    """Which of the two datasets a finding is about."""

    REFERENCE = "reference"
    CURRENT = "current"


@dataclass(frozen=True, slots=True)
class QualityFinding:
    """`count` rows or values of a column that deserve attention. `column` is empty for the data as a whole.

    `problem` is a word for programs: one of `driftline.core.finding.Problem`, or extra_column, unreadable,
    foreign_numbers, type_changed, no_rows, all_missing, missing_rose, infinite, constant, new_categories,
    many_categories, identifier, out_of_range, few_windows, long_span.
    """

    column: str
    side: Side
    problem: str
    severity: Severity
    count: int
    message: str

    def to_dict(self) -> dict[str, Any]:
        """Give the JSON form."""
        return {
            "column": self.column or None,
            "side": str(self.side),
            "problem": self.problem,
            "severity": str(self.severity),
            "count": self.count,
            "message": self.message,
        }

    def __str__(self) -> str:
        return f"{shorten(self.column)}: {self.message}" if self.column else self.message


_RANK = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}


def sort_findings(findings: Iterable[QualityFinding]) -> tuple[QualityFinding, ...]:
    """Order findings: the gravest first, then by rows."""
    return tuple(sorted(findings, key=lambda found: (_RANK[found.severity], -found.count, found.column)))


def settle(findings: Sequence[QualityFinding]) -> list[QualityFinding]:
    """Leave out what another finding about the same column and side explains better."""
    there = {(found.column, found.side, found.problem) for found in findings}
    return [
        found
        for found in findings
        if not any((found.column, found.side, better) in there for better in _EXPLAINED_BY.get(found.problem, ()))
    ]


@dataclass(frozen=True, slots=True)
class FindingGroup:
    """Findings of one sort, said in one line; a single one speaks for itself."""

    severity: Severity
    message: str
    findings: tuple[QualityFinding, ...]


def group_findings(findings: Sequence[QualityFinding], alone: int = 2) -> tuple[FindingGroup, ...]:
    """Say findings of one problem together where there are more than `alone`, in the order given."""
    sorts: dict[tuple[str, Side], list[QualityFinding]] = {}
    for found in findings:
        sorts.setdefault((found.problem, found.side), []).append(found)
    groups = list[FindingGroup]()
    for found in findings:
        alike = sorts[found.problem, found.side]
        if len(alike) <= alone or found.problem not in _TOGETHER:
            groups.append(FindingGroup(found.severity, str(found), (found,)))
        elif found is alike[0]:
            names = join_names([each.column for each in alike])
            message = f"{len(alike):,} columns {_TOGETHER[found.problem].format(side=found.side)}: {names}"
            groups.append(FindingGroup(found.severity, message, tuple(alike)))
    return tuple(groups)


def read_findings(findings: Iterable[Finding], side: Side) -> list[QualityFinding]:
    """Say what reading one side's columns found."""
    return [
        QualityFinding(
            finding.column,
            side,
            str(finding.problem),
            _SEVERITY.get(finding.problem, Severity.WARNING),
            finding.count,
            _READING[finding.problem].format(count=f"{finding.count:,}", side=side),
        )
        for finding in findings
    ]


_SEVERITY = {
    Problem.NOT_A_NUMBER: Severity.ERROR,
    Problem.NOT_A_DATETIME: Severity.ERROR,
    Problem.NOT_A_CATEGORY: Severity.ERROR,
    Problem.MISSING_COLUMN: Severity.ERROR,
}

_EXPLAINED_BY = {
    "not_a_number": ("type_changed",),
    "numbers_as_text": ("type_changed",),
    "not_a_datetime": ("type_changed",),
    "missing_column": ("unreadable",),
    "all_missing": ("missing_column", "unreadable", "type_changed", "not_a_number"),
    "missing_rose": ("not_a_number", "not_a_datetime"),
    "new_categories": ("type_changed",),
}

_TOGETHER = {
    "missing_column": "are not in the {side} data",
    "extra_column": "are only in the current data, so they were not compared",
    "not_a_number": "of the {side} data hold values that are no numbers",
    "numbers_as_text": "of the {side} data hold numbers, or true and false, written as text",
    "not_a_datetime": "of the {side} data hold values that are no datetimes",
    "foreign_numbers": "look like numbers, but are compared as text; write them with a decimal point",
    "unreadable": "of the {side} data are of types that cannot be monitored and were left out",
    "type_changed": "changed their type",
    "all_missing": "have no value at all in the {side} data",
    "missing_rose": "miss more values than before",
    "infinite": "of the {side} data hold infinite values",
    "constant": "have always the same value in the {side} data",
    "new_categories": "have values that were never seen before",
    "identifier": "look like identifiers; leave them out with `exclude`",
    "many_categories": "have many categories; the most frequent are compared one by one",
    "out_of_range": "have values beyond the reference’s range",
}

_READING = {
    Problem.NOT_A_NUMBER: "{count} values in the {side} data are no numbers; they count as missing",
    Problem.NUMBERS_AS_TEXT: "{count} values in the {side} data are text, and were read as what they spell",
    Problem.NOT_A_DATETIME: "{count} values in the {side} data are no datetimes; they count as missing",
    Problem.NO_TIMESTAMP: "{count} rows of the {side} data have no usable time",
    Problem.MISSING_COLUMN: "the column is not in the {side} data",
    Problem.UNKNOWN_FEATURE: "the schema has no such feature; {count} values were left out",
    Problem.NOT_A_CATEGORY: "{count} nested values in the {side} data are no categories; they count as missing",
}
