"""A frame of any library, opened for reading column by column.

pandas is read in place, because its numbers lie side by side in memory; Polars and every other library that
narwhals knows become Arrow columns, mostly without a copy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import narwhals.stable.v2 as nw
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from driftline.core.category import category_text
from driftline.core.column import Column, is_number, is_text
from driftline.core.errors import InvalidFrame


@dataclass(frozen=True, slots=True)
class Run:
    """Columns of plain numbers that lie side by side: `names[start:stop]` are the columns of `values`."""

    start: int
    stop: int
    values: NDArray[Any]


@dataclass(frozen=True, slots=True)
class PandasFrame:
    """A pandas DataFrame; `names` gives the position of each column."""

    native: Any
    names: Mapping[str, int]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.native)

    def column(self, name: str) -> Column:
        """Read a column; InvalidFrame when its values cannot be monitored."""
        series = self.native.iloc[:, self.names[name]]
        kind = series.dtype.kind if isinstance(series.dtype, np.dtype) else ""
        if kind in ("f", "i", "u", "b"):
            return np.asarray(series.to_numpy())
        if kind == "O":
            return _column_of_objects(name, series.to_numpy())
        try:
            array = nw.from_native(series, series_only=True).to_arrow()
        except (pa.ArrowException, TypeError, ValueError, NotImplementedError) as error:
            raise _unreadable(name, series.dtype) from error
        return _checked(name, pa.chunked_array([array]) if isinstance(array, pa.Array) else array)

    def runs(self, names: Sequence[str]) -> list[Run]:
        """Find the columns of plain numbers that can be read many at once, without a copy where possible."""
        places = np.array([self.names.get(name, -1) for name in names], np.intp)
        dtypes = self.native.dtypes.to_numpy()
        kinds = np.array([_plain(dtypes[place]) if place >= 0 else "" for place in places.tolist()], str)
        new = (np.diff(places) != 1) | (kinds[1:] != kinds[:-1])
        bounds = [0, *(np.flatnonzero(new) + 1).tolist(), len(names)]
        return [
            Run(start, stop, self.native.iloc[:, places[start] : places[start] + stop - start].to_numpy())
            for start, stop in pairwise(bounds)
            if stop > start and kinds[start]
        ]


@dataclass(frozen=True, slots=True)
class ArrowFrame:
    """Arrow columns of `rows` rows, those of `names` that are wanted."""

    columns: Mapping[str, pa.ChunkedArray]
    names: Mapping[str, int]
    rows: int

    def column(self, name: str) -> Column:
        """Read a column; InvalidFrame when its values cannot be monitored."""
        return _checked(name, self.columns[name])

    def runs(self, names: Sequence[str]) -> list[Run]:
        """Columns of a table lie apart: there are none to read together."""
        return []


Frame: TypeAlias = PandasFrame | ArrowFrame


def open_frame(frame: Any, wanted: Sequence[str] | None = None) -> Frame:
    """Open a pandas or Polars DataFrame, or an Arrow Table or RecordBatch; InvalidFrame for anything else.

    Of `wanted` columns only those that the frame has can be read; None opens them all.
    """
    if hasattr(frame, "collect"):
        raise InvalidFrame(f"{type(frame).__name__} is not in memory; collect() it first")
    if isinstance(frame, pa.RecordBatch):
        frame = pa.Table.from_batches([frame])
    if isinstance(frame, pa.Table):
        names = _positions(frame.column_names)
        return ArrowFrame(dict(zip(names, frame.itercolumns(), strict=True)), names, frame.num_rows)
    if nw.dependencies.is_pandas_dataframe(frame):
        return PandasFrame(frame, _positions([str(name) for name in frame.columns.tolist()]))
    try:
        native = nw.from_native(frame, eager_only=True)
    except TypeError:
        raise InvalidFrame(f"{type(frame).__name__}: give a pandas, Polars or Arrow frame") from None
    names = _positions(native.columns)
    read = [name for name in dict.fromkeys(names if wanted is None else wanted) if name in names]
    table = _arrow_table(native.select(read))
    return ArrowFrame(dict(zip(read, table.itercolumns(), strict=True)), names, len(native))


def check_present(source: Frame, wanted: Sequence[str]) -> None:
    """Refuse a frame that lacks a column, naming what is there."""
    if absent := [name for name in wanted if name not in source.names]:
        raise InvalidFrame(
            f"the frame has no column {_listed(absent)}; it has {_listed(list(source.names))}. "
            "Add the column, or leave it out of the schema",
            field=absent[0],
        )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:10])
    return (f"{shown} and {len(names) - 10} more" if len(names) > 10 else shown) or "no columns"


def _column_of_objects(name: str, values: NDArray[Any]) -> Column:
    """Give Python objects the type that all of them have; with several they stay objects, missing as None."""
    try:
        array = pa.array(values, from_pandas=True)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        if any(isinstance(value, dict | list | tuple | set | bytes | np.ndarray) for value in values):
            raise _unreadable(name, "nested or binary values") from None
        objects = values.copy()
        objects[[_is_missing(value) for value in values]] = None
        return objects
    return _checked(name, pa.chunked_array([array]))


def _positions(names: Sequence[str]) -> dict[str, int]:
    positions = {name: place for place, name in enumerate(names)}
    if len(positions) < len(names):
        twice = next(name for place, name in enumerate(names) if positions[name] != place)
        raise InvalidFrame(f"column {twice!r} is there twice; rename or drop one of the two", field=twice)
    return positions


def _plain(dtype: object) -> str:
    """Give the type of plain numbers, which are copied as they are; nothing for any other type."""
    return dtype.str if isinstance(dtype, np.dtype) and dtype.kind in "fiub" else ""


def _arrow_table(native: nw.DataFrame[Any]) -> pa.Table:
    try:
        return native.to_arrow()
    except Exception:  # each library has errors of its own for types that Arrow does not have: find the column
        for name in native.columns:
            try:
                native.get_column(name).to_arrow()
            except Exception as error:
                raise _unreadable(name, native.get_column(name).dtype) from error
        raise


def _checked(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    readable = is_number(kind) or is_text(kind) or pa.types.is_temporal(kind) or pa.types.is_null(kind)
    if not readable or pa.types.is_interval(kind):
        raise _unreadable(name, kind)
    return column


def _unreadable(name: str, kind: object) -> InvalidFrame:
    return InvalidFrame(
        f"column {name!r} holds {kind}, which cannot be monitored; leave it out, list the features to use, "
        "or turn it into numbers or text",
        field=name,
    )


def _is_missing(value: object) -> bool:
    return category_text(value) is None
