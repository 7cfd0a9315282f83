"""Predictions as JSON of one schema, read without a dictionary of their features.

Features that are numbers, or null, and named in the schema are read into a struct with a place for each: that
takes a third of the time. A row that is anything else is read as JSON is anywhere (`json_body.read_json`).
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

import msgspec
from msgspec import UNSET

from driftline.core.schema import Kind, Schema
from driftline.log.json_body import read_json
from driftline.log.json_format import FIELDS

_FIELDS = sorted(FIELDS)
_NUMBERS = (Kind.NUMERIC, Kind.BOOLEAN)


class PlainFeatures(msgspec.Struct):
    """Features of a prediction that are all known: numbers are float, bool or None."""


class RowReader:
    """Reads rows of one schema. The first shows in which order its producer writes features: that order is fast.

    >>> from driftline.core.schema import Feature
    >>> reader = RowReader(Schema((Feature("amount", Kind.NUMERIC), Feature("age", Kind.NUMERIC))))
    >>> reader.read(b'{"features": {"age": 1}, "prediction": 2}')
    {'features': {'age': 1}, 'prediction': 2}
    >>> row = reader.read(b'{"features": {"age": 1, "amount": 2.5}, "score": null}')
    >>> row["score"], tuples_of([row["features"]], ("amount", "age"))
    (None, [(2.5, 1.0)])
    """

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._decoder: msgspec.json.Decoder[Any] | None = None
        self._is_first = True

    def read(self, data: bytes) -> Any:
        """Read one JSON value; of an object with plain features, they are PlainFeatures. Raises InvalidPayload."""
        if self._decoder is not None:
            try:
                row = msgspec.structs.astuple(self._decoder.decode(data))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                pass
            else:
                return {name: value for name, value in zip(_FIELDS, row, strict=True) if value is not UNSET}
        found = read_json(data)
        if self._is_first and isinstance(found, dict) and isinstance(found.get("features"), dict):
            self._is_first = False
            self._decoder = _make_decoder(self._schema, tuple(found["features"]))
        return found


def tuples_of(features: Sequence[PlainFeatures], names: Sequence[str]) -> list[tuple[Any, ...]]:
    """Give each row's values in the order of the names, None where a row has none; all were read by one reader."""
    rows = list(map(msgspec.structs.astuple, features))
    order = type(features[0]).__struct_encode_fields__
    if tuple(names) == order:
        return rows
    place = {name: i for i, name in enumerate(order)}
    chosen = [place[name] for name in names]
    if len(chosen) > 1:
        return list(map(itemgetter(*chosen), rows))
    return [tuple(row[i] for i in chosen) for row in rows]


@lru_cache(maxsize=64)
def _make_decoder(schema: Schema, order: tuple[str, ...]) -> "msgspec.json.Decoder[Any] | None":
    """Make a decoder of rows whose features come in some order; None when there are some that are not known."""
    kinds = {feature.name: feature.kind for feature in schema.features}
    if not kinds.keys() >= set(order):
        return None
    names = dict.fromkeys((*order, *kinds))
    types = [float | bool | None if kinds[name] in _NUMBERS else object for name in names]
    try:
        features = msgspec.defstruct(
            "Features",
            [(f"f{i}", kind, None) for i, kind in enumerate(types)],
            bases=(PlainFeatures,),
            rename={f"f{i}": name for i, name in enumerate(names)},
            forbid_unknown_fields=True,
            gc=False,
        )
    except ValueError:  # a name that has to be escaped in JSON
        return None
    its_types: Mapping[str, Any] = {"features": features}
    row = msgspec.defstruct(
        "Row",
        [(name, its_types.get(name, object), UNSET) for name in _FIELDS],
        forbid_unknown_fields=True,
        gc=False,
    )
    return msgspec.json.Decoder(row)
