"""A reference built from a file of training data, in bounded memory."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftline.core.columns import Columns
from driftline.core.errors import InvalidFrame
from driftline.core.finding import Finding, Problem
from driftline.core.frame import ID_COLUMNS, Packed, infer_schema, pack_frame
from driftline.core.labelled import LabelledRows, labelled_columns, read_labelled
from driftline.core.moment import NO_TIME
from driftline.core.reference import Reference, add_baseline, build_reference
from driftline.core.schema import PREDICTION, SCORE, JoinKey, Schema
from driftline.files import read_chunks

KEPT_VALUES = 20_000_000
"""Packed values that stay in memory between the passes; a larger file is read at each pass."""
_LATEST = 7_258_118_400_000_000  # the year 2200: what lies beyond, such as 9999-12-31, stands for "no time"

_UNREADABLE = (Problem.NOT_A_NUMBER, Problem.NOT_A_DATETIME, Problem.NOT_A_CATEGORY)


@dataclass(frozen=True, slots=True)
class Built:
    """A reference, what was odd in its data, and the columns of the file that are not in its schema."""

    reference: Reference
    findings: tuple[Finding, ...]
    left_out: tuple[str, ...]


def build_from_file(
    path: Path,
    schema: Schema | None,
    *,
    window_length: int,
    window_rows: float | None = None,
    hints: Mapping[str, Any] | None = None,
    positive_class: str | None = None,
) -> Built:
    """Build a reference from a Parquet, Arrow or CSV file; with a column of labels it has a baseline.

    Without a schema it is inferred from the first rows; `hints` are arguments of `infer_schema`. Raises
    InvalidFrame for a file that cannot be read, lacks a column of the schema, or has none of the values that
    the schema says a column holds; and for labels that are none of such a model's, InvalidInput for a
    `positive_class` that is none of its classes.
    """
    head = next(read_chunks(path))
    if not head.num_rows:
        raise InvalidFrame("the reference has no rows; send the rows that the model was trained on", field="body")
    if schema is None:
        schema = infer_schema(head, **(hints or {}))
    rows = _FileRows(path, schema, head.column_names)
    reference = build_reference(rows.read, schema, window_length=window_length, window_rows=window_rows)
    labels = _FileLabels(path, schema, head.column_names)
    reference = add_baseline(reference, labels.read(), window_rows=window_rows, positive_class=positive_class)
    findings = (*rows.findings, *labels.findings)
    _check_readable(reference, findings)
    read = {*rows.columns, *labels.columns, *ID_COLUMNS}
    left_out = [name for name in head.column_names if name not in read]
    return Built(reference, findings, tuple(left_out))


class _FileRows:
    """The rows of a file, packed chunk by chunk, as often as they are asked for."""

    def __init__(self, path: Path, schema: Schema, names: list[str]) -> None:
        wanted = {feature.name for feature in schema.features} | set(schema.segments)
        wanted |= {schema.prediction, schema.score, schema.timestamp}
        if schema.join_key is JoinKey.ENTITY_ID:
            wanted.add(schema.entity_id)
        self.columns = [name for name in names if name in wanted]
        self._path, self._schema = path, schema
        self._kept: list[Packed] = []
        self._kept_all = False
        self._counts: Counter[tuple[str, Problem]] | None = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was odd, each column and problem once."""
        return tuple(Finding(*what, count) for what, count in (self._counts or {}).items())

    def read(self) -> Iterator[tuple[Columns, NDArray[np.int64] | None]]:
        """Go through the rows."""
        for packed in self._kept if self._kept_all else self._pack():
            yield packed.columns, packed.timestamps

    def _pack(self) -> Iterator[Packed]:
        counts = Counter[tuple[str, Problem]]()
        kept, values = list[Packed](), 0
        for table in read_chunks(self._path, self.columns):
            packed = _forget_odd_times(pack_frame(table, self._schema), self._schema.timestamp)
            for finding in packed.findings:
                counts[finding.column, finding.problem] += finding.count
            values += packed.columns.rows * (len(self.columns) + 2)
            if values <= KEPT_VALUES:
                kept.append(packed)
            else:
                kept.clear()
            yield packed
        self._counts = counts
        if values <= KEPT_VALUES:
            self._kept, self._kept_all = kept, True


class _FileLabels:
    """The labels of a file, and what belongs to them, chunk by chunk."""

    def __init__(self, path: Path, schema: Schema, names: list[str]) -> None:
        wanted = labelled_columns(schema)
        self.columns = [name for name in names if name in wanted] if schema.label_column in names else []
        self._path, self._schema = path, schema
        self._counts: Counter[tuple[str, Problem]] = Counter()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was odd, each column and problem once."""
        return tuple(Finding(*what, count) for what, count in self._counts.items())

    def read(self) -> Iterator[LabelledRows]:
        """Go through the rows, once; of a file without labels there are none."""
        for table in read_chunks(self._path, self.columns) if self.columns else ():
            rows = read_labelled(table, self._schema)
            if rows is not None:
                for found in rows.findings:
                    self._counts[found.column, found.problem] += found.count
                yield rows


def _forget_odd_times(packed: Packed, name: str) -> Packed:
    times = packed.timestamps
    if times is None:
        return packed
    odd = (times != NO_TIME) & ((times < 0) | (times >= _LATEST))
    if not odd.any():
        return packed
    found = Finding(name, Problem.NO_TIMESTAMP, int(odd.sum()))
    return Packed(packed.columns, np.where(odd, NO_TIME, times), (*packed.findings, found))


def _check_readable(reference: Reference, findings: tuple[Finding, ...]) -> None:
    """Refuse columns none of whose values are what the schema says: their reference would be empty."""
    values = reference.profile.counts[:, : reference.grid.cells].sum(axis=1)
    empty = {name for name, count in zip(reference.names, values, strict=True) if not count}
    empty |= {
        column
        for name, column in ((PREDICTION, reference.schema.prediction), (SCORE, reference.schema.score))
        if name in empty
    }
    kinds = {feature.name: feature.kind for feature in reference.schema.features}
    bad = [finding.column for finding in findings if finding.problem in _UNREADABLE and finding.column in empty]
    if bad:
        said = ", ".join(f"{name!r}" + (f" ({kinds[name]})" if name in kinds else "") for name in bad[:10])
        raise InvalidFrame(
            f"no value of column {said} is what the schema says; correct the data, or register a new version "
            "whose schema has the column as it is",
            field=bad[0],
        )
