"""Columns of times: as microseconds and as seconds since the epoch."""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from driftline.core.category import category_text
from driftline.core.column import (
    Column,
    arrow_values,
    is_number,
    is_text,
    read_categories,
    read_numbers,
)
from driftline.core.finding import Finding, Problem, found
from driftline.core.moment import NO_TIME, micros_of_text

_FAR = 2**62  # microseconds: so far away, a time is a mistake of its unit
_SCALES = {"s": 1_000_000, "ms": 1_000, "day": 86_400_000_000}
_QUARTER = 900 * 1_000_000  # every change of a zone's offset falls on a quarter of an hour


def read_times(name: str, column: Column, zone: ZoneInfo) -> tuple[NDArray[np.int64], list[Finding]]:
    """Read a column as microseconds since the epoch, missing as `NO_TIME`.

    Times without a zone are taken in `zone`; numbers are seconds since the epoch; text is ISO 8601.
    """
    if isinstance(column, np.ndarray) and column.dtype != object:
        return _times_of_seconds(column), []
    if isinstance(column, np.ndarray):
        column = pa.chunked_array([pa.array([category_text(value) for value in column], pa.string())])
    kind = column.type
    if is_text(kind.value_type if pa.types.is_dictionary(kind) else kind):
        return _times_of_text(name, column, zone)
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        micros = micros_of_times(column)
        beyond = (micros != NO_TIME) & (np.abs(micros) > _FAR)
        micros = np.where(beyond, NO_TIME, micros)
        findings = found(name, Problem.NOT_A_DATETIME, int(beyond.sum()))
        return (micros if getattr(kind, "tz", None) else localise(micros, zone)), findings
    if is_number(kind) or pa.types.is_null(kind):
        return _times_of_seconds(read_numbers(name, column)[0]), []
    lost = len(column) - column.null_count
    return np.full(len(column), NO_TIME), found(name, Problem.NOT_A_DATETIME, lost)


def read_seconds(name: str, column: Column, zone: ZoneInfo) -> tuple[NDArray[np.float64], list[Finding]]:
    """Read a datetime column as seconds since the epoch, missing as NaN."""
    micros, findings = read_times(name, column, zone)
    return np.where(micros == NO_TIME, np.nan, micros / 1e6), findings


def micros_of_times(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Give Arrow timestamps or dates as microseconds since the epoch, missing as `NO_TIME`.

    Those that are too far away for that, mostly by a wrong unit, stay further away than 2^62 microseconds.

    >>> seconds = pa.chunked_array([pa.array([1, None, 2**61], pa.timestamp("s"))])
    >>> micros_of_times(seconds).tolist() == [1_000_000, NO_TIME, 4611686018428000000]
    True
    """
    kind = column.type
    unit = kind.unit if pa.types.is_timestamp(kind) else "day" if pa.types.is_date32(kind) else "ms"
    if unit not in _SCALES:  # microseconds, or finer
        column = column.cast(pa.timestamp("us", kind.tz), safe=False)
    scale = _SCALES.get(unit, 1)
    counts = column.cast(pa.int32()) if unit == "day" else column
    values = arrow_values(counts.cast(pa.int64()), NO_TIME)
    furthest = _FAR // scale + 1
    micros = values if scale == 1 else np.clip(values, -furthest, furthest) * scale
    return np.where(values == NO_TIME, NO_TIME, micros)


def localise(micros: NDArray[np.int64], zone: ZoneInfo) -> NDArray[np.int64]:
    """Turn wall-clock times of a zone into UTC; times that a change of the clocks repeats are the first.

    >>> noon = 12 * 3600 * 1_000_000
    >>> int(localise(np.array([noon]), ZoneInfo("Europe/Berlin"))[0] - noon) // 1_000_000
    -3600
    """
    if zone.key == "UTC" or not len(micros):
        return micros
    quarters, inverse = np.unique(micros // _QUARTER, return_inverse=True)
    shifts = np.array([_shift(int(quarter), zone) for quarter in quarters], np.int64)
    return np.where(micros == NO_TIME, NO_TIME, micros - shifts[inverse])


def _times_of_seconds(seconds: NDArray[Any]) -> NDArray[np.int64]:
    micros = np.asarray(seconds, np.float64) * 1e6
    usable = np.abs(micros) < 2.0**62
    return np.where(usable, np.where(usable, micros, 0).round().astype(np.int64), NO_TIME)


def _times_of_text(name: str, column: pa.ChunkedArray, zone: ZoneInfo) -> tuple[NDArray[np.int64], list[Finding]]:
    if is_text(column.type):
        try:
            naive = column.cast(pa.timestamp("us")).cast(pa.int64())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # zones, or text that is no time: one by one
            pass
        else:
            return localise(arrow_values(naive, NO_TIME), zone), []
    codes, table = read_categories(column)
    micros = np.array([*(micros_of_text(text, zone) for text in table), NO_TIME], np.int64)
    times = micros[codes]
    return times, found(name, Problem.NOT_A_DATETIME, int(((times == NO_TIME) & (codes < len(table))).sum()))


def _shift(quarter: int, zone: ZoneInfo) -> int:
    try:
        wall = datetime(1970, 1, 1) + timedelta(microseconds=quarter * _QUARTER)
    except OverflowError:  # before year 1 or after 9999, where no zone has rules
        return 0
    return (wall.replace(tzinfo=zone).utcoffset() or timedelta()) // timedelta(microseconds=1)
