"""A data-quality finding: values that were not what the schema says, counted and never hidden."""

from dataclasses import dataclass
from enum import StrEnum


class Problem(StrEnum):
    """What was found in a column."""

    NOT_A_NUMBER = "not_a_number"  # the values became missing
    NUMBERS_AS_TEXT = "numbers_as_text"  # the values were read as the numbers they spell
    NOT_A_DATETIME = "not_a_datetime"  # the values became missing
    NO_TIMESTAMP = "no_timestamp"  # rows without a usable event time
    MISSING_COLUMN = "missing_column"  # the column is not there: all values are missing
    UNKNOWN_FEATURE = "unknown_feature"  # not in the schema: the values were left out
    NOT_A_CATEGORY = "not_a_category"  # nested values where a category is expected became missing


_SAYS = {
    Problem.NOT_A_NUMBER: "{count} values are no numbers and became missing",
    Problem.NUMBERS_AS_TEXT: "{count} numbers are written as text and were read as numbers",
    Problem.NOT_A_DATETIME: "{count} values are no datetimes and became missing",
    Problem.NO_TIMESTAMP: "{count} rows have no usable event time",
    Problem.MISSING_COLUMN: "the column is not there; {count} values are missing",
    Problem.UNKNOWN_FEATURE: "the schema has no such feature; {count} values were left out",
    Problem.NOT_A_CATEGORY: "{count} nested values are no categories and became missing",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """`count` values of a column that are not what the schema says.

    >>> print(Finding("amount", Problem.NOT_A_NUMBER, 3))
    column 'amount': 3 values are no numbers and became missing
    """

    column: str
    problem: Problem
    count: int

    def __str__(self) -> str:
        return f"column {self.column!r}: {_SAYS[self.problem].format(count=self.count)}"


def found(column: str, problem: Problem, count: int) -> list[Finding]:
    """Give the finding of `count` values, none when there are none."""
    return [Finding(column, problem, int(count))] if count else []
