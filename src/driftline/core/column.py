"""One column of a frame, whatever library it comes from, read as numbers, times or categories.

A column is a NumPy array of numbers (a view of pandas' memory) or an Arrow array (everything else). Each
reader gives the values and the findings; no value is looked at in Python unless the column holds Python
objects of different types, or text where numbers are expected.
"""

import math
from collections.abc import Callable, Sequence
from numbers import Number
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from driftline.core.category import category_text
from driftline.core.finding import Finding, Problem, found

NUMBER_TEXT = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
"""Text that spells a finite number (RE2)."""

Column: TypeAlias = NDArray[Any] | pa.ChunkedArray


def number_of_text(text: str) -> float | None:
    """Read the number that a text spells, NaN and infinities included; None when it spells none.

    >>> number_of_text(" 1.5 "), number_of_text("-Infinity"), number_of_text("1_000")
    (1.5, -inf, None)
    """
    if "_" in text:  # Python's own notation, nobody else's
        return None
    try:
        return float(text)
    except ValueError:
        return None


def read_numbers(name: str, column: Column, *, boolean: bool = False) -> tuple[NDArray[Any], list[Finding]]:
    """Read a column as numbers, missing as NaN; text that spells a number is read, the rest is counted.

    Gives a one-dimensional array of any numeric type, without a copy where that is possible. Durations and
    times of day are seconds.
    """
    if isinstance(column, np.ndarray):
        return (column, []) if column.dtype != object else _numbers_of_objects(name, column, boolean)
    kind = column.type
    if is_text(kind.value_type if pa.types.is_dictionary(kind) else kind):
        return _numbers_of_text(name, column, boolean)
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_temporal(kind):
        if pa.types.is_duration(kind) or pa.types.is_time(kind):
            return _seconds_of_span(column), []
        lost = len(column) - column.null_count
        return np.full(len(column), np.nan), found(name, Problem.NOT_A_NUMBER, lost)
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan), []
    if pa.types.is_boolean(kind):
        column = column.cast(pa.uint8())
    elif pa.types.is_decimal(kind):
        column = column.cast(pa.float64())
    return arrow_values(column), []


def read_categories(
    column: Column, text_of: Callable[[object], str | None] = category_text
) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Read a column as codes into a table of texts in order of first appearance; missing = len(table)."""
    if isinstance(column, np.ndarray):
        values = [text_of(value) for value in column] if column.dtype == object else column
        column = pa.chunked_array([pa.array(values, from_pandas=True)])
    if pa.types.is_null(column.type):
        return np.zeros(len(column), np.int32), ()
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    array = encoded.unify_dictionaries().combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks else pa.array([], encoded.type)
    codes = arrow_values(array.indices.cast(pa.int32()), len(array.dictionary))
    return compact(codes, [text_of(value) for value in _scalars(array.dictionary)])


def compact(codes: NDArray[Any], texts: Sequence[str | None]) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Leave out texts that no code uses, and make equal ones one; None and len(texts) are missing.

    >>> compact(np.array([2, 0, 3]), ["a", "b", "a"])
    (array([0, 0, 1], dtype=int32), ('a',))
    """
    used = np.bincount(codes, minlength=len(texts) + 1)[: len(texts)] > 0
    positions: dict[str, int] = {}
    for i in np.flatnonzero(used).tolist():
        if (text := texts[i]) is not None:
            positions.setdefault(text, len(positions))
    if len(positions) == len(texts):
        return codes.astype(np.int32, copy=False), tuple(positions)
    missing = len(positions)
    translate = np.array(
        [missing if text is None else positions.get(text, missing) for text in texts] + [missing], np.int32
    )
    return translate[codes], tuple(positions)


def is_text(kind: pa.DataType) -> bool:
    """Tell whether an Arrow type is one of the string types."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_number(kind: pa.DataType) -> bool:
    """Tell whether an Arrow type holds numbers or booleans."""
    return bool(
        pa.types.is_floating(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
    )


def arrow_values(values: "pa.Array | pa.ChunkedArray", missing: float = math.nan) -> NDArray[Any]:
    """Give an Arrow array of numbers as a NumPy one, without a copy where that is possible.

    Nulls are `missing`, and whole numbers become float64 when that is NaN. pyarrow's own `to_numpy` and
    `fill_null` would load pandas where it is installed, which takes longer than reading a file.
    """
    if isinstance(values, pa.ChunkedArray):
        chunks = values.chunks or [pa.array([], values.type)]
        values = chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks)
    if not len(values):
        return np.empty(0, values.type.to_pandas_dtype())
    without_nulls = [None, values.buffers()[1]]
    numbers = np.from_dlpack(pa.Array.from_buffers(values.type, len(values), without_nulls, offset=values.offset))
    if not values.null_count:
        return numbers
    if math.isnan(missing) and numbers.dtype.kind != "f":
        numbers = numbers.astype(np.float64)
    nulls = np.from_dlpack(values.is_null().cast(pa.uint8())).astype(bool)
    return np.where(nulls, np.asarray(missing, numbers.dtype), numbers)


def _time_text(value: pa.Scalar) -> str | None:
    if not value.is_valid:
        return None
    try:
        return str(value)
    except (OverflowError, ValueError):  # beyond the years that have a calendar, or in a zone that is none
        return str(value.value)


def _scalars(values: pa.Array) -> list[Any]:
    if pa.types.is_floating(values.type):
        return list(arrow_values(values))  # NumPy scalars know their precision
    if pa.types.is_temporal(values.type):
        return [_time_text(value) for value in values]
    items: list[Any] = values.to_pylist()
    return items


def _numbers_of_text(
    name: str, column: pa.ChunkedArray, boolean: bool
) -> tuple[NDArray[np.float64], list[Finding]]:
    codes, table = read_categories(column)
    numbers = [_boolean_of_text(text) if boolean else number_of_text(text) for text in table]
    wrong = np.array([number is None for number in numbers], bool)
    counts = np.bincount(codes, minlength=len(numbers) + 1)[: len(numbers)]
    values = np.array([*(np.nan if number is None else number for number in numbers), np.nan])
    # with junk among the numbers the whole column came as text: the junk is what matters
    problem = Problem.NOT_A_NUMBER if wrong.any() else Problem.NUMBERS_AS_TEXT
    return values[codes], found(name, problem, counts[wrong].sum() if wrong.any() else counts.sum())


def _boolean_of_text(text: str) -> float | None:
    match text.strip().lower():
        case "true":
            return 1.0
        case "false":
            return 0.0
        case other:
            return number_of_text(other)


def _numbers_of_objects(
    name: str, values: NDArray[Any], boolean: bool
) -> tuple[NDArray[np.float64], list[Finding]]:
    texts = [category_text(value) for value in values]
    numbers = np.full(len(values), np.nan)
    wrong = spelled = 0
    for i, (value, text) in enumerate(zip(values, texts, strict=True)):
        if text is None:
            continue
        if isinstance(value, Number | np.bool_) and not isinstance(value, complex):
            numbers[i] = float(value)  # type: ignore[arg-type]
            continue
        number = _boolean_of_text(text) if boolean else number_of_text(text)
        wrong += number is None
        spelled += number is not None
        numbers[i] = np.nan if number is None else number
    findings = found(name, Problem.NOT_A_NUMBER, wrong)
    return numbers, findings + found(name, Problem.NUMBERS_AS_TEXT, spelled)


def _seconds_of_span(column: pa.ChunkedArray) -> NDArray[Any]:
    unit = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}[column.type.unit]
    ticks = pa.int32() if column.type in (pa.time32("s"), pa.time32("ms")) else pa.int64()
    seconds: NDArray[Any] = arrow_values(column.cast(ticks)) / unit
    return seconds
