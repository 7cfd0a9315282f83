"""Rows of one schema, packed: the one form in which values reach the kernels.

Numeric features lie in a float32 block, the few that need it in a float64 block, categorical ones as codes
into a table of strings per column. NaN is missing in the blocks; the code `len(table)` is missing in the codes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from driftline.core.errors import InvalidPayload
from driftline.core.schema import Layout

MAX_TABLE = 65_535

_Number = TypeVar("_Number", bound=np.floating)


@dataclass(frozen=True, slots=True)
class Columns:
    """Packed values of n rows.

    `float32` [n, A], `float64` [n, B], `codes` [n, C] (any unsigned or signed integer type) with one table of
    strings per code column, in the order of a schema's `Layout`. `entities` [n] are hashes of what the rows are
    about (0: nothing known), where rows of the same entity are no independent evidence; None where all are.
    """

    float32: NDArray[np.float32]
    float64: NDArray[np.float64]
    codes: NDArray[np.integer]
    tables: tuple[tuple[str, ...], ...]
    entities: NDArray[np.uint64] | None = None

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.float32.shape[0])

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> "Columns":
        """Select rows by position or mask; the tables stay as they are."""
        entities = None if self.entities is None else self.entities[rows]
        return Columns(self.float32[rows], self.float64[rows], self.codes[rows], self.tables, entities)


def check_columns(columns: Columns, expected: Layout) -> None:
    """Refuse blocks that do not fit the layout or codes beyond their table, before any kernel runs on them."""
    rows = columns.rows
    for field, block, names in (
        ("float32", columns.float32, expected.float32),
        ("float64", columns.float64, expected.float64),
        ("codes", columns.codes, expected.codes),
    ):
        if block.shape != (rows, len(names)):
            raise InvalidPayload(
                f"block {field!r} has shape {block.shape}, the schema needs ({rows}, {len(names)}); "
                "send the columns of the version's schema",
                field=field,
            )
    if len(columns.tables) != len(expected.codes):
        raise InvalidPayload(
            f"{len(columns.tables)} category tables for {len(expected.codes)} category columns",
            field="tables",
        )
    if rows and expected.codes:
        sizes = np.array([len(table) for table in columns.tables], np.uint32)
        codes = columns.codes.view(f"u{columns.codes.itemsize}")  # what is negative becomes very large
        beyond = codes > sizes
        if beyond.any():
            name = expected.codes[int(np.argmax(beyond.any(axis=0)))]
            raise InvalidPayload(f"column {name!r}: a code lies beyond its category table", field=name)


def concatenate(parts: Sequence[Columns]) -> Columns:
    """Join rows of the same layout; codes are translated into one table per column.

    Joined numbers lie column by column in memory, as Parquet wants them: turning each part while it is in the
    cache costs a third of turning the whole. Rows of parts without entities count by themselves.
    """
    if len(parts) == 1:
        return parts[0]
    width = len(parts[0].tables)
    merged: list[dict[str, int]] = [{} for _ in range(width)]
    for part in parts:
        for positions, table in zip(merged, part.tables, strict=True):
            for value in table:
                positions.setdefault(value, len(positions))
    codes = []
    for part in parts:
        block = np.empty(part.codes.shape, np.int32)
        for j, (positions, table) in enumerate(zip(merged, part.tables, strict=True)):
            translate = np.array([*(positions[value] for value in table), len(positions)], np.int32)
            block[:, j] = translate[part.codes[:, j]]
        codes.append(block)
    return Columns(
        _stack([part.float32 for part in parts]),
        _stack([part.float64 for part in parts]),
        np.concatenate(codes),
        tuple(tuple(positions) for positions in merged),
        _join_entities(parts),
    )


def _stack(blocks: Sequence[NDArray[_Number]]) -> NDArray[_Number]:
    joined = np.empty((sum(map(len, blocks)), blocks[0].shape[1]), blocks[0].dtype, order="F")
    start = 0
    for block in blocks:
        _turn(block, joined, start)
        start += len(block)
    return joined


@njit(nogil=True, cache=True)
def _turn(block: NDArray[np.floating], joined: NDArray[np.floating], start: int) -> None:
    """Copy rows to a place in columns, value after value as they are read: numpy takes twice as long."""
    for row in range(block.shape[0]):
        for column in range(block.shape[1]):
            joined[start + row, column] = block[row, column]


def _join_entities(parts: Sequence[Columns]) -> NDArray[np.uint64] | None:
    if all(part.entities is None for part in parts):
        return None
    return np.concatenate(
        [np.zeros(part.rows, np.uint64) if part.entities is None else part.entities for part in parts]
    )
