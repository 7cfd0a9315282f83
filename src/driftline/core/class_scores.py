"""Scores by class: a column of lists in a frame, one number for each class."""

from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from driftline.core.column import arrow_values, is_number
from driftline.core.errors import InvalidFrame


def split_scores(frame: Any, name: str) -> tuple[Any, NDArray[np.float64] | None]:
    """Take scores by class [n, C] out of a frame, and leave the largest of each row in their place.

    Classes are in the order in which scikit-learn sorts them. None for a column that holds no lists, or is not
    there. Raises InvalidFrame when rows have scores of different numbers of classes.

    >>> table, scores = split_scores(pa.table({"score": [[0.2, 0.8], [0.7, None]]}), "score")
    >>> table["score"].to_pylist(), scores.tolist()
    ([0.8, 0.7], [[0.2, 0.8], [0.7, nan]])
    """
    column = _find_lists(frame, name)
    if column is None:
        return frame, None
    scores = _read_lists(column, name)
    largest = np.fmax.reduce(scores, axis=1, initial=-np.inf)
    largest[np.isnan(scores).all(axis=1)] = np.nan
    if isinstance(frame, pa.Table):
        return frame.set_column(frame.column_names.index(name), name, pa.array(largest)), scores
    native = nw.from_native(frame, eager_only=True)
    series = nw.new_series(name, largest, nw.Float64, backend=native.implementation)
    return native.with_columns(series).to_native(), scores


def _find_lists(frame: Any, name: str) -> pa.Array | None:
    """Give a column that holds lists as an Arrow array."""
    if isinstance(frame, pa.Table):
        column = frame[name].combine_chunks() if frame.column_names.count(name) == 1 else None
    elif nw.dependencies.is_pandas_dataframe(frame):
        column = _lists_of_objects(frame[name].to_numpy()) if name in frame.columns else None
    else:
        native = nw.from_native(frame, eager_only=True, pass_through=True)
        is_list = name in getattr(native, "columns", ()) and native.schema[name] in (nw.List, nw.Array)
        column = pa.chunked_array([native.get_column(name).to_arrow()]).combine_chunks() if is_list else None
    return column if column is not None and _is_list(column.type) else None


def _lists_of_objects(values: NDArray[Any]) -> pa.Array | None:
    if values.dtype != object or values.ndim > 1:  # numbers, or several columns of one name
        return None
    first = next((value for value in values if value is not None), None)
    return pa.array(values) if isinstance(first, list | tuple | np.ndarray) else None


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _read_lists(column: pa.Array, name: str) -> NDArray[np.float64]:
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if not is_number(column.type.value_type):
        raise InvalidFrame(f"column {name!r} holds {column.type}; scores are numbers", field=name)
    lengths = pc.list_value_length(column)
    classes = pc.max(lengths).as_py() or 0
    if column.null_count or pc.min(lengths).as_py() not in (classes, None):
        raise InvalidFrame(
            f"column {name!r}: every row needs a score for each of the {classes} classes", field=name
        )
    return arrow_values(column.flatten()).astype(np.float64).reshape(len(column), classes)
