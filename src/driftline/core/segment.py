"""Segments: slices of a window by the values of declared columns, such as country=DE.

At most 20 values a column have a segment of their own, those most frequent in the reference; the rest, and
rows without a value, are `column=__other__`. Segments are not crossed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftline.core.columns import Columns
from driftline.core.schema import Layout

MAX_VALUES = 20
OTHER = "__other__"
EVERYTHING = ""
"""The segment of the whole window."""

BINS = 10
"""Segments have few rows: PSI over ten bins, judged from a hundred rows on."""


@dataclass(frozen=True, slots=True)
class SegmentColumn:
    """A declared column and the values that have a segment of their own."""

    name: str
    values: tuple[str, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the column's segments."""
        return tuple(name_segment(self.name, value) for value in (*self.values, OTHER))


def name_segment(column: str, value: str) -> str:
    """Name a segment.

    >>> name_segment("country", "DE")
    'country=DE'
    """
    return f"{column}={value}"


def choose_values(counts: Mapping[str, int]) -> tuple[str, ...]:
    """Choose the values of a column that have a segment: the 20 most frequent, ties by name."""
    ranked = sorted(counts.keys() - {OTHER}, key=lambda value: (-counts[value], value))
    return tuple(ranked[:MAX_VALUES])


def count_values(columns: Columns, layout: Layout, name: str) -> dict[str, int]:
    """Count how often each value of a category column occurs."""
    c = layout.codes.index(name)
    totals = np.bincount(columns.codes[:, c], minlength=len(columns.tables[c]) + 1)
    return {value: int(count) for value, count in zip(columns.tables[c], totals, strict=False) if count}


def place_values(segment: SegmentColumn, table: tuple[str, ...]) -> NDArray[np.int64]:
    """Give for each code into a table of strings, and for that of missing, the position of its segment in `keys`.

    >>> place_values(SegmentColumn("country", ("DE", "FR")), ("FR", "XX")).tolist()
    [1, 2, 2]
    """
    place = {value: i for i, value in enumerate(segment.values)}
    other = len(segment.values)
    return np.array([*(place.get(value, other) for value in table), other], np.int64)


def split_segments(
    columns: Columns, layout: Layout, segments: tuple[SegmentColumn, ...], rows: NDArray[np.int64]
) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Give every segment that has some of the chosen rows, with those rows."""
    for segment in segments:
        c = layout.codes.index(segment.name)
        places = place_values(segment, columns.tables[c])[columns.codes[rows, c]]
        order = np.argsort(places, kind="stable")
        starts = np.searchsorted(places[order], np.arange(len(segment.keys) + 1))
        for i, key in enumerate(segment.keys):
            if starts[i] < starts[i + 1]:
                yield key, np.sort(rows[order[starts[i] : starts[i + 1]]])
