"""Labels: round trips, golden bytes, the JSON Schema, and what malformed bytes get."""

import json
import re
import struct
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_schema import valid

from driftline.core.errors import InvalidPayload
from driftline.core.labels import Labels
from driftline.core.moment import NO_TIME
from driftline.core.schema import JoinKey
from driftline.log.label_format import decode_labels, encode_labels, label_schema
from driftline.log.label_rows import Joining, ReceivedLabels, pack_labels, read_labels

DOCS = (Path(__file__).parents[2] / "docs" / "wire.md").read_text().partition("\n## Labels")[2]
NOW = 1_795_420_800_000_000  # 2026-11-23T08:00:00Z
HOUR = 3_600_000_000
LATEST = NOW + 60 * 24 * HOUR
EITHER = Joining(frozenset(JoinKey), numeric=False)
FULL = Labels(
    "fraud",
    True,
    ("c-17", "ü"),
    (True, None),
    np.array([NOW, NO_TIME]),
    np.array([NOW + 1, NOW + 2]),
    np.array([1.0, 2.5]),
)
PLAIN = Labels("fraud", False, ("a",), (1,), np.array([NO_TIME]), np.array([NOW]), np.ones(1))

keys = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
values = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text()
micros = st.integers(0, 2**60)


def equal(one: Labels, other: Labels) -> bool:
    return (one.model_id, one.by_entity, one.keys, list(map(repr, one.values))) == (
        other.model_id,
        other.by_entity,
        other.keys,
        list(map(repr, other.values)),
    ) and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in ("timestamps", "known_at", "weights")
    )


@st.composite
def labels(draw: st.DrawFn) -> Labels:
    rows = draw(st.lists(st.tuples(keys, values, micros | st.just(NO_TIME), micros, st.sampled_from([1.0, 0.5]))))
    columns = list(zip(*rows, strict=True)) or [()] * 5
    return Labels(
        draw(keys),
        draw(st.booleans()),
        columns[0],
        columns[1],
        np.array(columns[2], np.int64),
        np.array(columns[3], np.int64),
        np.array(columns[4], np.float64),
    )


@given(labels())
def test_round_trip(sent: Labels) -> None:
    assert equal(decode_labels(encode_labels(sent)), sent)


def test_golden_bytes() -> None:
    """What the documentation shows, written by hand with MessagePack and struct; it can be read for ever."""
    block = DOCS.partition("```hex\n")[2].partition("```")[0]
    shown = "".join(re.findall(r'^([0-9a-f ]+)(?=map|")', block, re.MULTILINE))
    data = bytes.fromhex(shown)
    assert encode_labels(PLAIN) == data
    assert equal(decode_labels(data), PLAIN)
    full = {
        "format": 1,
        "model_id": "fraud",
        "by_entity": True,
        "keys": ["c-17", "ü"],
        "values": [True, None],
        "timestamps": struct.pack("<2q", NOW, NO_TIME),
        "known_at": struct.pack("<2q", NOW + 1, NOW + 2),
        "weights": struct.pack("<2d", 1.0, 2.5),
    }
    assert encode_labels(FULL) == msgspec.msgpack.encode(full)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"format": 2}, "format"),
        ({"values": [1]}, "values"),
        ({"known_at": b"12345678"}, "known_at"),
        ({"timestamps": b""}, "timestamps"),
        ({"weights": b"1"}, "weights"),
    ],
)
def test_sizes_are_checked(change: dict[str, Any], field: str) -> None:
    content = msgspec.msgpack.decode(encode_labels(FULL)) | change
    with pytest.raises(InvalidPayload, match=field) as caught:
        decode_labels(msgspec.msgpack.encode(content))
    assert caught.value.field == field


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x80", msgspec.msgpack.encode([1]), encode_labels(FULL)[:-1]])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidPayload, match="not labels"):
        decode_labels(data)


# --- from rows to columns


def receive(content: Any) -> list[ReceivedLabels]:
    submissions, rejected = read_labels(json.dumps(content).encode(), model_id="fraud")
    assert rejected == []
    return [pack_labels(its, EITHER, received_at=NOW, latest=LATEST) for its in submissions]


def test_rows_become_columns_apart_by_kind_of_key() -> None:
    rows = [
        {"prediction_id": "a", "value": 1},
        {"entity_id": 17.0, "value": "x\x00", "timestamp": "2026-11-23T07:00:00Z"},
        {"request_id": 5, "value": None, "known_at": "2026-11-23T08:00:00Z", "weight": 2},
    ]
    (received,) = receive({"labels": rows})
    assert received.rejected == ()
    ids, entities = received.labels
    assert (ids.keys, ids.values, ids.by_entity) == (("a", "5"), (1, None), False)
    assert (ids.known_at.tolist(), ids.weights.tolist()) == ([NOW, NOW], [1.0, 2.0])
    assert (entities.keys, entities.values, entities.by_entity) == (("17",), ("x\ufffd",), True)
    assert entities.timestamps.tolist() == [NOW - HOUR]


@given(labels())
def test_what_was_packed_can_be_written(sent: Labels) -> None:
    """Whatever JSON says, what pack_labels lets through fits the format."""
    rows = [{"prediction_id": key, "value": value} for key, value in zip(sent.keys, sent.values, strict=True)]
    for received in receive({"model_id": "m", "labels": rows}):
        for its in received.labels:
            assert equal(decode_labels(encode_labels(its)), its)


# --- the JSON Schema

SAID = [
    {"prediction_id": "a", "value": 1},
    {
        "model_id": "fraud",
        "request_id": 7,
        "value": "chargeback",
        "weight": 0.5,
        "known_at": "2026-11-23T08:00:00Z",
    },
    {"model_id": "fraud", "labels": [{"entity_id": "c", "timestamp": "2026-11-23T08:00:00Z", "value": None}]},
    {"labels": []},
]
UNSAID = [
    {},
    [],
    {"prediction_id": "a"},
    {"value": 1},
    {"labels": {}},
    {"labels": [7]},
    {"labels": [{"prediction_id": "a", "value": [1]}]},
    {"labels": [{"prediction_id": "a", "value": 1, "weight": 0}]},
    {"labels": [{"prediction_id": "", "value": 1}]},
]


@pytest.mark.parametrize("content", SAID)
def test_what_the_schema_allows_is_read(content: Any) -> None:
    schema = label_schema()
    assert valid(content, schema, schema)
    assert all(received.rejected == () for received in receive(content))


@pytest.mark.parametrize("content", UNSAID)
def test_what_the_schema_forbids_is_refused(content: Any) -> None:
    schema = label_schema()
    assert not valid(content, schema, schema)
    try:
        submissions, rejected = read_labels(json.dumps(content).encode(), model_id="fraud")
    except InvalidPayload:
        return
    packed = [pack_labels(its, EITHER, received_at=NOW, latest=LATEST) for its in submissions]
    assert rejected or any(received.rejected for received in packed)


def test_the_examples_of_the_documentation_are_valid() -> None:
    schema = label_schema()
    blocks = [part.partition("```")[0] for part in DOCS.split("```json\n")[1:]]
    assert len(blocks) == 2
    for block in blocks:
        content = json.loads(block)
        assert valid(content, schema, schema)
        assert all(received.rejected == () for received in receive(content))
