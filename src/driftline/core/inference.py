"""What a column is, told by its values: its kind, and whether float32 would lose what tells them apart.

Traits are gathered frame by frame and merged, so that a file read in chunks is what it is as a whole.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from driftline.core.column import NUMBER_TEXT, Column, is_text, number_of_text, read_numbers
from driftline.core.schema import Kind

_MOSTLY = 0.9  # from this share of numbers on, text that is no number is junk among numbers
_FLOAT32_EXACT = 2**24
_STEPS = 10_000  # float32 must offer that many steps over the values' range


@dataclass(frozen=True, slots=True)
class Traits:
    """What some of a column's rows say about it.

    `kind` is None where the values decide: `numbers` of the `present` ones spell a number, or are one.
    `low` and `high` bound the finite numbers; `whole` means that all of them are whole.
    """

    kind: Kind | None
    objects: bool = False
    present: int = 0
    numbers: int = 0
    leading_zeros: bool = False
    floating: bool = False
    low: float = math.inf
    high: float = -math.inf
    whole: bool = True


def observe(name: str, column: Column) -> Traits:
    """Gather the traits of a column of one frame."""
    if isinstance(column, np.ndarray):
        if column.dtype == object:
            return _observe_objects(name, column)
        return Traits(Kind.BOOLEAN) if column.dtype.kind == "b" else _with_range(Traits(Kind.NUMERIC), column)
    kind = column.type
    if is_text(kind):
        return _observe_text(name, column)
    if pa.types.is_boolean(kind):
        return Traits(Kind.BOOLEAN)
    if pa.types.is_dictionary(kind) or pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return Traits(Kind.CATEGORICAL if pa.types.is_dictionary(kind) else Kind.DATETIME)
    return _with_range(Traits(Kind.NUMERIC), read_numbers(name, column)[0])


def merge_traits(first: Traits, second: Traits) -> Traits:
    """Give the traits of the rows of both."""
    return Traits(
        first.kind,
        first.objects or second.objects,
        first.present + second.present,
        first.numbers + second.numbers,
        first.leading_zeros or second.leading_zeros,
        first.floating or second.floating,
        min(first.low, second.low),
        max(first.high, second.high),
        first.whole and second.whole,
    )


def choose_kind(traits: Traits) -> Kind:
    """Tell what the values are.

    Text is numbers with junk among them when at least nine tenths are numbers, but not all: then they are text
    on purpose, as are those with leading zeros. Python objects are numbers when most are.
    """
    if traits.kind is not None:
        return traits.kind
    if traits.objects:
        return Kind.NUMERIC if traits.numbers * 2 > traits.present else Kind.CATEGORICAL
    mostly = _MOSTLY * traits.present <= traits.numbers < traits.present
    return Kind.NUMERIC if mostly and not traits.leading_zeros else Kind.CATEGORICAL


def needs_float64(traits: Traits) -> bool:
    """Tell whether float32 would lose what tells the numbers apart."""
    if traits.low > traits.high:
        return False
    largest = max(abs(traits.low), abs(traits.high))
    if largest <= _FLOAT32_EXACT and not traits.floating:
        return False
    if largest > float(np.finfo(np.float32).max) or 0 < largest < float(np.finfo(np.float32).tiny):
        return True
    if largest > _FLOAT32_EXACT and traits.whole:
        return True
    return 0 < traits.high - traits.low < largest * _STEPS * float(np.finfo(np.float32).eps)


def _observe_objects(name: str, values: NDArray[Any]) -> Traits:
    present = [value for value in values if value is not None]
    numbers = sum(
        number_of_text(value) is not None if isinstance(value, str) else isinstance(value, int | float | np.number)
        for value in present
    )
    traits = Traits(None, objects=True, present=len(present), numbers=numbers)
    return _with_range(traits, read_numbers(name, values)[0]) if choose_kind(traits) is Kind.NUMERIC else traits


def _observe_text(name: str, column: pa.ChunkedArray) -> Traits:
    numbers = pc.sum(pc.match_substring_regex(column, NUMBER_TEXT)).as_py() or 0
    present = len(column) - column.null_count
    if not numbers:
        return Traits(None, present=present)
    zeros = bool(pc.any(pc.match_substring_regex(column, r"^\s*[+-]?0\d")).as_py())
    traits = Traits(None, present=present, numbers=numbers, leading_zeros=zeros)
    return traits if zeros else _with_range(traits, read_numbers(name, column)[0])


def _with_range(traits: Traits, values: NDArray[Any]) -> Traits:
    floating = values.dtype.kind == "f"
    if not len(values) or values.dtype.kind == "b":
        return traits
    low, high = float(values.min()), float(values.max())
    if not math.isfinite(high - low):
        values = values[np.isfinite(values)]
        if not len(values):
            return traits
        low, high = float(values.min()), float(values.max())
    return Traits(
        traits.kind,
        traits.objects,
        traits.present,
        traits.numbers,
        traits.leading_zeros,
        floating,
        low,
        high,
        not floating or _is_whole(values),
    )


def _is_whole(values: NDArray[Any]) -> bool:
    few = values[:1000]  # mostly enough to see that they are not
    return bool((np.trunc(few) == few).all() and (np.trunc(values) == values).all())
