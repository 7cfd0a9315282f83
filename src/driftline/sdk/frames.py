"""Frames and arrays of predictions, column by column: only the rows that are kept are looked at.

No frame library is loaded here; frames are told by what they can do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import xxhash

from driftline.core.category import category_text
from driftline.sdk.ids import make_id
from driftline.sdk.rows import InvalidRow, Row, check_id, id_text, micros_of, plain_output, plain_score, snapshot

_KINDS = (
    "a pandas or Polars DataFrame, an Arrow table, a two-dimensional array, a dict of columns or a list of rows"
)


@dataclass(frozen=True, slots=True)
class Table:
    """A frame of `rows` rows; `names` are its columns, None where columns have no names."""

    native: Any
    rows: int
    names: tuple[str, ...] | None

    def column(self, name: str) -> Any:
        """Find a column. Raises InvalidRow."""
        if self.names is None or name not in self.names:
            raise InvalidRow(
                "columns", f"the frame has no column {name!r}; name one of its columns, or give values"
            )
        return self.native[name]

    def take(self, positions: list[int], names: Sequence[str] | None) -> list[Any]:
        """Copy rows: of named columns as tuples in the order of `names` (missing ones None), else as they are."""
        if self.names is None:
            if hasattr(self.native, "shape"):
                return list(self.native[positions])
            return [self.native[position] for position in positions]
        there = set(self.names)
        frame = self.native.iloc[positions] if hasattr(self.native, "iloc") else None
        missing = [None] * len(positions)
        columns = []
        for name in self.names if names is None else names:
            if name not in there:
                columns.append(missing)
            elif frame is not None:
                columns.append(_list(frame[name]))
            else:
                columns.append(take_values(self.native[name], positions))
        if not columns:
            return [()] * len(positions)
        return list(zip(*columns, strict=True))


@dataclass(frozen=True, slots=True)
class Batch:
    """Predictions of a frame, with their ids and their other columns, of which rows are taken."""

    table: Table
    ids: list[str]
    entities: list[Any] | None
    columns: Mapping[str, Any]
    segments: Mapping[str, Any]

    def digests(self, *, by_entity: bool) -> list[int]:
        """Hash the join keys."""
        keys = self.ids
        if by_entity and self.entities is not None:
            keys = [category_text(entity) or key for entity, key in zip(self.entities, keys, strict=True)]
        digest = xxhash.xxh3_64_intdigest
        return [digest(key.encode()) for key in keys]

    def rows(
        self, positions: list[int], names: Sequence[str] | None, weight: int
    ) -> tuple[list[Row], list[InvalidRow]]:
        """Copy rows, their features in the order of `names`, or by name where that is not known yet."""
        taken = self.table.take(positions, names)
        if self.table.names is not None and names is None:
            taken = [dict(zip(self.table.names, values, strict=True)) for values in taken]
        values = {name: _take(column, positions) for name, column in self.columns.items()}
        segments = {name: _take(column, positions) for name, column in self.segments.items()}
        rows, invalid = [], []
        for place, position in enumerate(positions):
            try:
                rows.append(
                    Row(
                        check_id(self.ids[position]),
                        micros_of(values["timestamp"][place]),
                        snapshot(taken[place]),
                        plain_output(values["prediction"][place]),
                        plain_score(values["score"][place]),
                        None if self.entities is None else self.entities[position],
                        values["group_id"][place],
                        values["rank"][place],
                        {name: column[place] for name, column in segments.items()} or None,
                        weight,
                    )
                )
            except InvalidRow as error:
                invalid.append(error)
        return rows, invalid


def read_frame(
    features: Any,
    prediction: Any,
    score: Any,
    prediction_ids: Any,
    entity_ids: Any,
    timestamps: Any,
    segments: Mapping[str, Any] | None,
    group_ids: Any,
    ranks: Any,
) -> Batch:
    """Find the columns of a frame; where one is a text, it names a column. Raises InvalidRow."""
    table = open_table(features)

    def column(name: str, given: Any) -> Any:
        if isinstance(given, str):
            given = table.column(given)
        if given is not None and len(given) != table.rows:
            raise InvalidRow("columns", f"{name} has {len(given)} values for {table.rows} rows; give one a row")
        return given

    everything = list(range(table.rows))
    ids = column("prediction_ids", prediction_ids)
    entities = column("entity_ids", entity_ids)
    constant = timestamps is None or isinstance(timestamps, datetime | float | int)
    return Batch(
        table,
        [make_id() for _ in everything] if ids is None else list(map(id_text, take_values(ids, everything))),
        None if entities is None else take_values(entities, everything),
        {
            "prediction": column("prediction", prediction),
            "score": column("score", score),
            "timestamp": _Constant(micros_of(timestamps) / 1e6) if constant else column("timestamps", timestamps),
            "group_id": column("group_ids", group_ids),
            "rank": column("ranks", ranks),
        },
        {name: column(f"segment {name}", given) for name, given in (segments or {}).items()},
    )


@dataclass(frozen=True, slots=True)
class _Constant:
    """A column that holds one value everywhere."""

    value: Any

    def __getitem__(self, position: int) -> Any:
        return self.value


def _take(column: Any, positions: list[int]) -> list[Any]:
    return [None] * len(positions) if column is None else take_values(column, positions)


def open_table(frame: Any) -> Table:
    """Tell what kind of frame it is. Raises InvalidRow for anything else."""
    if hasattr(frame, "iloc") and hasattr(frame, "columns"):
        return Table(frame, len(frame), tuple(map(str, frame.columns)))
    if hasattr(frame, "column_names") and hasattr(frame, "num_rows"):
        return Table(frame, frame.num_rows, tuple(frame.column_names))
    if hasattr(frame, "get_column") and hasattr(frame, "height"):
        return Table(frame, frame.height, tuple(frame.columns))
    if isinstance(frame, Mapping):
        rows = {len(column) for column in frame.values()}
        if len(rows) > 1:
            raise InvalidRow("columns", "the columns differ in length; give all of them one value a row")
        return Table(frame, rows.pop() if rows else 0, tuple(frame))
    if getattr(frame, "ndim", 0) == 2 and hasattr(frame, "tolist"):
        return Table(frame, frame.shape[0], None)
    if isinstance(frame, list | tuple):
        return Table(frame, len(frame), None)
    raise InvalidRow("frame", f"log_batch got a {type(frame).__name__}; give {_KINDS}")


def take_values(column: Any, positions: list[int]) -> list[Any]:
    """Take some values out of a column of any library."""
    if hasattr(column, "iloc"):
        return _list(column.iloc[positions])
    if hasattr(column, "to_pylist"):
        return column.take(positions).to_pylist()  # type: ignore[no-any-return]
    if hasattr(column, "gather"):
        return column.gather(positions).to_list()  # type: ignore[no-any-return]
    if hasattr(column, "shape") and hasattr(column, "tolist"):
        return _list(column[positions])
    return [column[position] for position in positions]


def _list(column: Any) -> list[Any]:
    dtype = getattr(column, "dtype", None)
    if getattr(dtype, "kind", "") == "f" and getattr(dtype, "itemsize", 8) < 8:
        # NumPy's scalars know their precision: 0.1 as float32 is the category "0.1"
        return list(column.to_numpy() if hasattr(column, "to_numpy") else column)
    return column.tolist()  # type: ignore[no-any-return]
