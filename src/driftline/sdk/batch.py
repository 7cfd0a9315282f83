"""Kept rows into the batch format (docs/wire.md), with `array` and MessagePack: no numpy.

The values are those that the server makes of the same rows sent as JSON.
"""

import math
import sys
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from itertools import chain
from operator import index, itemgetter
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from driftline.core.category import category_text, mend_text
from driftline.core.moment import NO_TIME, micros_of_text, to_micros
from driftline.core.schema import PREDICTION, Dtype, Kind, Schema, layout, zone
from driftline.sdk.rows import Features, InvalidRow, Row

MAX_CLASSES = 10_000
_FORMAT = 1
_NAN = math.nan
_NOT_FINITE = {"NaN": _NAN, "Infinity": math.inf, "-Infinity": -math.inf}
_encoder = msgspec.msgpack.Encoder()


@dataclass(frozen=True, slots=True)
class Plan:
    """Where the values of each block lie in a row: by name in mappings, by position in sequences."""

    names: frozenset[str]
    float32: "Columns"
    float64: "Columns"
    categories: "Columns"
    datetimes: tuple[bool, ...]
    segments: tuple[str, ...]
    classes: bool
    zone: ZoneInfo


@dataclass(frozen=True, slots=True)
class Columns:
    """Some features of a schema, in its order."""

    names: tuple[str, ...]
    positions: tuple[int, ...]

    def pick(self, features: Features) -> tuple[Any, ...]:
        """Give a row's values of these features, None where it has none."""
        if not self.names:
            return ()
        if not isinstance(features, Mapping):
            return _getter(self.positions)(features)
        try:
            return _getter(self.names)(features)
        except KeyError:
            return tuple(map(features.get, self.names))


@lru_cache(maxsize=256)
def _getter(places: tuple[Any, ...]) -> Callable[[Any], tuple[Any, ...]]:
    if len(places) == 1:
        return lambda row: (row[places[0]],)
    return itemgetter(*places)


@lru_cache(maxsize=64)
def plan_of(schema: Schema) -> Plan:
    """Prepare a schema for encoding."""
    places = {feature.name: place for place, feature in enumerate(schema.features)}

    def columns(dtype: Dtype) -> Columns:
        names = tuple(feature.name for feature in schema.features if feature.dtype is dtype)
        return Columns(names, tuple(places[name] for name in names))

    float64 = columns(Dtype.FLOAT64)
    return Plan(
        names=frozenset(places),
        float32=columns(Dtype.FLOAT32),
        float64=float64,
        categories=columns(Dtype.CATEGORY),
        datetimes=tuple(schema.feature(name).kind is Kind.DATETIME for name in float64.names),
        segments=layout(schema).segments,
        classes=PREDICTION in layout(schema).categories,
        zone=zone(schema),
    )


def check_features(features: Features, schema: Schema) -> set[str]:
    """Refuse a row of values that is not as long as the schema (InvalidRow); give names that it does not know."""
    if isinstance(features, Mapping):
        known = plan_of(schema).names
        return set() if features.keys() <= known else set(map(str, features.keys() - known))
    if len(features) != len(schema.features):
        raise InvalidRow(
            "features",
            f"features has {len(features)} values, the schema {len(schema.features)} features; give them all in "
            "its order, or a dict of names and values",
        )
    return set()


def encode_rows(rows: Sequence[Row], schema: Schema, *, model_id: str, version: str, batch_id: str) -> bytes:
    """Write rows that were kept under one N as a batch."""
    plan = plan_of(schema)
    content: dict[str, Any] = {
        "format": _FORMAT,
        "model_id": model_id,
        "version": version,
        "schema_id": schema.schema_id,
        "batch_id": batch_id,
        "weight": rows[0].weight,
        "ids": [row.prediction_id for row in rows],
        "timestamps": _bytes(array("q", [row.micros for row in rows])),
    }
    predictions = [row.prediction for row in rows]
    if plan.classes:
        codes, content["prediction_table"] = _code(predictions)
        content["prediction_codes"] = _bytes(codes)
    else:
        content["prediction"] = _bytes(_floats("d", predictions))
    content |= _encode_scores([row.score for row in rows])
    for field, values in (
        ("entity_ids", [row.entity_id for row in rows]),
        ("group_ids", [row.group_id for row in rows]),
    ):
        if any(value is not None for value in values):
            content[field] = list(map(_text, values))
    if any(row.rank is not None for row in rows):
        content["ranks"] = _bytes(array("i", [_rank(row.rank) for row in rows]))
    content["float32"] = _bytes(_floats("f", _flatten(plan.float32, rows)))
    content["float64"] = _bytes(_encode_float64(plan, rows))
    tables, block = _encode_categories(plan, rows)
    content["tables"] = tables
    content["codes"] = _bytes(block)
    return _encoder.encode(content)


def _bytes(block: "array[Any]") -> bytes:
    if sys.byteorder == "big":
        block.byteswap()
    return block.tobytes()


def _flatten(columns: Columns, rows: Sequence[Row]) -> list[Any]:
    return list(chain.from_iterable([columns.pick(_plain(row.features)) for row in rows]))


def _plain(features: Features) -> Features:
    # arrays give Python's numbers many times faster than one by one; times among them would become integers
    dtype = getattr(features, "dtype", None)
    return features if dtype is None or dtype.kind == "M" else features.tolist()  # type: ignore[union-attr]


def _floats(typecode: str, values: Sequence[Any]) -> "array[float]":
    try:
        return array(typecode, values)
    except (TypeError, ValueError, OverflowError):  # a missing value, a text, an integer beyond float64
        return array(typecode, map(number_of, values))


def number_of(value: Any) -> float:
    """Read a value where a number is expected; NaN when it is missing or none.

    >>> number_of("Infinity"), number_of("12"), number_of(True)
    (inf, nan, 1.0)
    """
    if value is None or isinstance(value, bytes | bytearray):
        return _NAN
    if isinstance(value, str):
        return _NOT_FINITE.get(value, _NAN)
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return _NAN


def _encode_float64(plan: Plan, rows: Sequence[Row]) -> "array[float]":
    values = _flatten(plan.float64, rows)
    width = len(plan.datetimes)
    for column, is_datetime in enumerate(plan.datetimes):
        if is_datetime:
            values[column::width] = [seconds_of(value, plan.zone) for value in values[column::width]]
    return _floats("d", values)


def seconds_of(value: Any, its_zone: ZoneInfo) -> float:
    """Read a datetime: ISO 8601 text and datetimes, in the model's zone when they name none, or seconds."""
    if isinstance(value, datetime):
        try:
            return to_micros(value if value.tzinfo else value.replace(tzinfo=its_zone)) / 1e6
        except (ValueError, OverflowError, TypeError):  # NaT
            return _NAN
    if isinstance(value, date) or getattr(getattr(value, "dtype", None), "kind", "") == "M":
        value = str(value)
    if not isinstance(value, str):
        return _NAN if isinstance(value, bool) else number_of(value)
    micros = micros_of_text(value, its_zone)
    return _NAN if micros == NO_TIME else micros / 1e6


def _encode_scores(scores: Sequence[Any]) -> dict[str, Any]:
    """Encode scores: one number a row, or one per class, of which `score` is the largest."""
    classes = max((len(score) for score in scores if isinstance(score, list)), default=0)
    if not classes:
        return {"score": _bytes(_floats("d", [_NAN if isinstance(score, list) else score for score in scores]))}
    missing = [_NAN] * classes
    lists = [
        list(map(number_of, score)) if isinstance(score, list) and len(score) == classes else missing
        for score in scores
    ]
    largest = [
        number_of(None if isinstance(score, list) else score)
        if its is missing
        else max((value for value in its if not math.isnan(value)), default=_NAN)
        for score, its in zip(scores, lists, strict=True)
    ]
    return {
        "score": _bytes(array("d", largest)),
        "class_scores": _bytes(array("d", chain.from_iterable(lists))),
        "classes": classes,
    }


def _encode_categories(plan: Plan, rows: Sequence[Row]) -> tuple[list[list[str]], "array[int]"]:
    columns: list[Iterable[Any]] = list(zip(*(plan.categories.pick(row.features) for row in rows), strict=True))
    columns += [[(row.segments or {}).get(name) for row in rows] for name in plan.segments]
    block = array("H", bytes(2 * len(columns) * len(rows)))
    tables = []
    for place, column in enumerate(columns):
        block[place :: len(columns)], table = _code(column)
        tables.append(table)
    return tables, block


def _code(values: Iterable[Any]) -> tuple["array[int]", list[str]]:
    """Give each value's position in a table of their texts; a missing one is beyond the last."""
    texts = [_text(value) for value in values]
    table = [text for text in dict.fromkeys(texts) if text is not None]
    places: dict[str | None, int] = {text: place for place, text in enumerate(table)}
    places[None] = len(table)
    return array("H", [places[text] for text in texts]), table


def _text(value: Any) -> str | None:
    if type(value) is str:
        return mend_text(value)
    return None if isinstance(value, dict | list | tuple | set) else category_text(value)


def _rank(value: Any) -> int:
    if value is None or isinstance(value, bool):
        return -1
    try:
        rank = index(value)
    except TypeError:
        return -1
    return rank if 0 <= rank < 2**31 else -1
