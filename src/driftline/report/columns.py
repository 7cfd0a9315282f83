"""What is wrong or odd about the columns themselves: gone, added, of another type, not readable."""

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import pyarrow.compute as pc

from driftline.core.column import is_text, number_of_text
from driftline.core.finding import Problem
from driftline.core.frame import ID_COLUMNS
from driftline.core.profile import Profile
from driftline.core.reference import Reference
from driftline.core.schema import PREDICTION, SCORE, Kind, Schema, layout
from driftline.core.source import open_frame
from driftline.report.dataset import Dataset
from driftline.report.quality import QualityFinding, Severity, Side, read_findings
from driftline.report.words import shorten

_MOSTLY = 0.9
_FOREIGN_NUMBER = (
    r"^\s*[+-]?(\d+,\d+|\d{1,3}([. ]\d{3})+,\d+|\d{1,3}(,\d{3})+\.\d+)\s*$"  # 1,5 or 1.234,50 or 1,234.50
)
_UNREAD = (Problem.NOT_A_NUMBER, Problem.NOT_A_DATETIME, Problem.NOT_A_CATEGORY)
_NAMES = {
    Kind.NUMERIC: "numbers",
    Kind.CATEGORICAL: "text",
    Kind.BOOLEAN: "true and false",
    Kind.DATETIME: "datetimes",
}


def find_reading(dataset: Dataset, side: Side, schema: Schema) -> Iterator[QualityFinding]:
    """Give what was found while reading a dataset."""
    yield from read_findings(dataset.findings, side)
    wanted = {feature.name for feature in schema.features}
    for name in dataset.unreadable:
        if side is Side.REFERENCE or name in wanted:
            reason = dataset.unreadable[name].removeprefix(f"column {name!r} ").partition("; ")[0]
            message = f"{reason}; it was left out of the {side} data"
            yield QualityFinding(name, side, "unreadable", Severity.WARNING, dataset.rows, message)


def find_foreign_numbers(
    dataset: Dataset, schema: Schema, meant: Collection[str] = ()
) -> Iterator[QualityFinding]:
    """Name categories that look like numbers with decimal commas or thousands, but for those that are `meant`."""
    source = open_frame(dataset.select_without(), ())
    for feature in schema.features:
        if feature.kind is not Kind.CATEGORICAL or feature.name in {*meant, *schema.segments}:
            continue
        if feature.name not in source.names or (example := _foreign_number(dataset.head, feature.name)) is None:
            continue
        message = (
            f"its values look like numbers (‘{shorten(example, 20)}’), but are compared as text; write them with "
            "a decimal point and without thousands separators (pandas reads them with `decimal` and `thousands`), "
            "or say that they are `categorical`"
        )
        yield QualityFinding(
            feature.name, Side.REFERENCE, "foreign_numbers", Severity.ERROR, dataset.rows, message
        )


def _foreign_number(frame: Any, name: str) -> str | None:
    """Give an example when nearly all texts of a column are numbers and some are spelled for people."""
    column = open_frame(frame, (name,)).column(name)
    if isinstance(column, np.ndarray) or not is_text(column.type):
        return None
    foreign = pc.match_substring_regex(column, _FOREIGN_NUMBER)
    whole = pc.match_substring_regex(column, r"^\s*[+-]?\d+\s*$")
    count = pc.sum(foreign).as_py() or 0
    if not count or count + (pc.sum(whole).as_py() or 0) < _MOSTLY * (len(column) - column.null_count):
        return None
    return str(column[pc.index(foreign, True).as_py()].as_py())


def find_column_changes(
    reference: Reference, current: Dataset, known: Collection[str]
) -> Iterator[QualityFinding]:
    """Name the columns that are only in the current data, and outputs that are only in the reference."""
    schema, profiled = reference.schema, profiled_columns(reference)
    own = {*known, *profiled, *current.dropped, *ID_COLUMNS, schema.timestamp, schema.entity_id, schema.label}
    for name in current.names:
        if name not in own and not name.startswith("__index_level_"):
            message = "only in the current data, so it was not compared"
            yield QualityFinding(name, Side.CURRENT, "extra_column", Severity.NOTE, current.rows, message)
    for output, name in ((PREDICTION, schema.prediction), (SCORE, schema.score)):
        if name in profiled and name not in current.names:
            message = f"the column {shorten(name)!r} is not in the current data"
            yield QualityFinding(output, Side.CURRENT, "missing_column", Severity.ERROR, current.rows, message)
    if not current.rows:
        yield QualityFinding("", Side.CURRENT, "no_rows", Severity.ERROR, 0, "the current data have no rows")


def profiled_columns(reference: Reference) -> set[str]:
    """Columns of the reference's data that it is about: features, and those of the outputs that it has."""
    schema, grid = reference.schema, reference.grid
    index = layout(schema).index
    outputs = {
        name
        for output, name in ((PREDICTION, schema.prediction), (SCORE, schema.score))
        if reference.profile.counts[index[output], : grid.cells].any()
    }
    return {feature.name for feature in schema.features} | outputs


def find_type_changes(reference: Reference, current: Dataset, actual: Profile) -> Iterator[QualityFinding]:
    """Name the features whose values are of another type than the reference's, as far as it matters."""
    schema = reference.schema
    if not current.rows:
        return
    kinds = {feature.name: feature.kind for feature in schema.features}
    others = [name for name in current.names if name not in kinds]
    found = current.infer_schema(others, timestamp="", entity_id="", label="", prediction="", score="")
    unread = {finding.column for finding in current.findings if finding.problem in _UNREAD}
    for feature in found.features:
        before, after = kinds[feature.name], feature.kind
        f = layout(schema).index[feature.name]
        nothing = actual.counts[f, reference.grid.missing] == actual.weight and feature.name not in unread
        if before is after or nothing or _is_harmless(reference, actual, f, after, feature.name in unread):
            continue
        message = f"{_NAMES[before]} in the reference, {_NAMES[after]} in the current data"
        yield QualityFinding(feature.name, Side.CURRENT, "type_changed", Severity.ERROR, current.rows, message)


def _is_harmless(reference: Reference, actual: Profile, f: int, after: Kind, unread: bool) -> bool:
    """Tell a change of type that loses nothing: numbers written as text, text that was numbers before, 0 and 1."""
    before = layout(reference.schema).kinds[f]
    if before is Kind.CATEGORICAL:
        named = reference.grid.categories[f - reference.grid.numeric]
        spelled = all(number_of_text(text) is not None or text in ("true", "false") for text in named)
        return spelled and after in (Kind.NUMERIC, Kind.BOOLEAN)
    if {before, after} == {Kind.NUMERIC, Kind.BOOLEAN}:
        return bool(actual.extremes[0, f] >= 0 and actual.extremes[1, f] <= 1)
    return after is Kind.CATEGORICAL and not unread
