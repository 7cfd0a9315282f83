"""Rows read with a place for each feature say what they say when they are read as dictionaries."""

import json
from typing import Any

import msgspec
import numpy as np
import pytest
from batches import SCHEMA, assert_equal
from hypothesis import given
from hypothesis import strategies as st

from driftline.core.errors import InvalidPayload
from driftline.core.schema import Dtype, Feature, Kind, Schema
from driftline.log.json_format import Submission
from driftline.log.json_rows import pack_predictions
from driftline.log.plain_rows import PlainFeatures, RowReader
from driftline.log.received import Received

WIDE = Schema(
    (
        Feature("country", Kind.CATEGORICAL),
        Feature("amount", Kind.NUMERIC),
        Feature("large", Kind.NUMERIC, Dtype.FLOAT64),
        Feature("new customer", Kind.BOOLEAN),
        Feature("since", Kind.DATETIME),
        Feature("größe", Kind.NUMERIC),
    )
)
NAMES = [feature.name for feature in WIDE.features]


def read(reader: RowReader, **features: Any) -> Any:
    row = {"prediction_id": "a", "timestamp": "2026-01-01T00:00:00Z", "features": features}
    return reader.read(json.dumps(row).encode())


def is_plain(row: Any) -> bool:
    return isinstance(row["features"], PlainFeatures)


def pack(schema: Schema, rows: list[Any]) -> Received:
    return pack_predictions(Submission("m", "1", rows, range(len(rows))), schema, batch_id="b", latest=2 * 10**15)


NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**70), 2**70)
VALUES = {
    "country": st.none() | st.text(max_size=3) | st.integers(0, 3) | st.booleans(),
    "amount": NUMBERS,
    "large": NUMBERS,
    "new customer": st.none() | st.booleans(),
    "since": st.none() | st.just("2026-01-01") | st.floats(0, 1e9),
    "größe": NUMBERS,
}


@given(
    st.permutations(NAMES),
    st.lists(st.fixed_dictionaries({}, optional=VALUES), min_size=1, max_size=5),
)
def test_plain_rows_become_the_same_batch(order: list[str], features: list[dict[str, Any]]) -> None:
    reader = RowReader(WIDE)
    read(reader, **dict.fromkeys(order))
    plain = [read(reader, **its) for its in features]
    assert all(map(is_plain, plain))
    dictionaries = [row | {"features": its} for row, its in zip(plain, features, strict=True)]
    one, other = pack(WIDE, plain), pack(WIDE, dictionaries)
    assert (one.findings, one.rejected) == (other.findings, other.rejected) == ((), ())
    assert one.batch is not None
    assert other.batch is not None
    assert_equal(one.batch, other.batch)


@pytest.mark.parametrize(
    "odd",
    [
        {"amount": "NaN"},
        {"amount": "12"},
        {"amount": [1]},
        {"amount": 10**400},
        {"other": 1},
        {"new customer": "yes"},
    ],
)
def test_a_row_that_is_not_plain_is_a_dictionary(odd: dict[str, Any]) -> None:
    reader = RowReader(WIDE)
    read(reader, amount=1)
    row = read(reader, **odd)
    assert row["features"] == odd
    assert is_plain(read(reader, amount=2))


def test_infinity_and_other_python_literals_are_read_as_elsewhere() -> None:
    reader = RowReader(WIDE)
    read(reader, amount=1)
    assert read(reader, amount=float("inf"))["features"] == {"amount": float("inf")}


@pytest.mark.parametrize("body", [b"7", b"[]", b"{}", b'{"features": null}', b'{"features": 7}', b'{"other": 1}'])
def test_what_is_no_prediction_with_features_is_read_as_it_is(body: bytes) -> None:
    reader = RowReader(WIDE)
    assert reader.read(body) == msgspec.json.decode(body)
    read(reader, amount=1)
    assert reader.read(body) == msgspec.json.decode(body)


def test_a_producer_that_sends_more_than_the_schema_has_is_read_as_dictionaries() -> None:
    reader = RowReader(WIDE)
    read(reader, amount=1, other=2)
    assert read(reader, amount=1)["features"] == {"amount": 1}


def test_a_name_that_json_escapes_is_read_as_dictionaries() -> None:
    reader = RowReader(Schema((Feature('a "b"', Kind.NUMERIC),)))
    for _ in range(2):
        assert read(reader, **{'a "b"': 1})["features"] == {'a "b"': 1}


def test_what_is_no_json_is_refused_after_plain_rows_as_before() -> None:
    reader = RowReader(WIDE)
    for _ in range(2):
        with pytest.raises(InvalidPayload, match="not JSON"):
            reader.read(b'{"features": {')
        read(reader, amount=1)


def test_fields_that_a_row_does_not_have_are_not_made_up() -> None:
    reader = RowReader(SCHEMA)
    bodies = [b'{"features": {}}', b'{"features": {"amount": 1}, "score": null, "entity_id": 7}']
    reader.read(bodies[1])
    assert reader.read(bodies[0]).keys() == {"features"}
    row = reader.read(bodies[1])
    assert {name: row[name] for name in row if name != "features"} == {"score": None, "entity_id": 7}


def test_integers_keep_their_value_in_the_float64_block() -> None:
    reader = RowReader(WIDE)
    rows = [read(reader, large=2**53), read(reader, large=2**53)]
    assert [is_plain(row) for row in rows] == [False, True]
    batches = [pack(WIDE, [row]).batch for row in rows]
    assert all(batch is not None and batch.columns.float64[0, 0] == 2.0**53 for batch in batches)
    assert all(batch is not None and np.isnan(batch.columns.float32).all() for batch in batches)
