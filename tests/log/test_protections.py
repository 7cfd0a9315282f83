"""Hostile bytes: batches and JSON that would take far more memory or depth than they have bytes."""

import struct
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.log.batches import FULL, OUTPUTS, PLAIN, REGRESSION, SCHEMA, texts

from driftline.core.batch import Batch
from driftline.core.category import MAX_TEXT
from driftline.core.columns import Columns, check_columns
from driftline.core.errors import InvalidPayload
from driftline.core.schema import Feature, Kind, Schema, layout
from driftline.log import micro_batches
from driftline.log.arrow_format import read_frame
from driftline.log.batch_format import MAX_ROWS, decode_batch, encode_batch, read_header
from driftline.log.json_body import Shape, read_body, read_json, write_json
from driftline.log.json_format import Submission
from driftline.log.json_rows import pack_predictions

GOLDEN = Path(__file__).parent / "golden"
FILES = [
    ((GOLDEN / f"{name}.v1.batch").read_bytes(), schema)
    for name, schema in (("full", SCHEMA), ("plain", REGRESSION))
]
CONTENT: dict[str, Any] = msgspec.msgpack.decode(encode_batch(FULL, SCHEMA))


@pytest.fixture
def bounded() -> Any:
    """Run something and fail when Python's memory grew by more than so many bytes meanwhile."""

    def run(action: Any, limit: int) -> None:
        tracemalloc.start()
        try:
            action()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < limit

    return run


def array(count: int) -> bytes:
    """The head of a MessagePack array of so many items."""
    return b"\xdd" + struct.pack(">I", count)


def with_raw(name: str, raw: bytes) -> bytes:
    """A batch whose field `name` is these bytes."""
    return msgspec.msgpack.encode({**CONTENT, name: msgspec.Raw(raw)})


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("tables", array(1_000_000) + b"\x90" * 1_000_000),
        ("tables", b"\x92" + array(1_000_000) + b"\xa2ab" * 1_000_000 + b"\x90"),
        ("prediction_table", array(1_000_000) + b"\xa2ab" * 1_000_000),
        ("ids", array(MAX_ROWS + 1) + b"\xa2ab" * (MAX_ROWS + 1)),
        ("entity_ids", array(MAX_ROWS + 1) + b"\xc0" * (MAX_ROWS + 1)),
        ("group_ids", array(2**32 - 1)),
        ("ids", array(2**32 - 1)),
        ("nobody reads this", array(1_000_000) + b"\x90" * 1_000_000),
    ],
)
def test_lengths_are_refused_before_memory_is_taken(bounded: Any, name: str, raw: bytes) -> None:
    data = with_raw(name, raw)

    def read() -> None:
        if name == "nobody reads this":
            assert decode_batch(data, SCHEMA).rows == 3
            return
        with pytest.raises(InvalidPayload):
            decode_batch(data, SCHEMA)

    bounded(read, 1 << 20)


@pytest.mark.parametrize("field", ["model_id", "version", "batch_id"])
def test_names_have_no_nul(field: str) -> None:
    data = msgspec.msgpack.encode({**CONTENT, field: "a\x00"})
    for read in (read_header, lambda it: decode_batch(it, SCHEMA)):
        with pytest.raises(InvalidPayload, match=f"{field} has a NUL") as caught:
            read(data)
        assert caught.value.field == field


def test_a_batch_may_be_without_features_but_not_without_its_blocks(bounded: Any) -> None:
    """Rows of a schema without features are ids and times: no number of rows comes for free."""
    content = {
        **{name: CONTENT[name] for name in ("format", "model_id", "version", "batch_id", "weight")},
        "schema_id": OUTPUTS.schema_id,
        "ids": [""] * 100_000,
        "timestamps": b"",
        "float32": b"",
        "float64": b"",
        "tables": [],
        "codes": b"",
    }

    def read() -> None:
        with pytest.raises(InvalidPayload, match="timestamps has 0 bytes"):
            decode_batch(msgspec.msgpack.encode(content), OUTPUTS)

    bounded(read, 8 << 20)


def test_texts_without_end_are_cut() -> None:
    """Free text in a category must not fill profiles; what becomes equal is one category."""
    long = "x" * MAX_TEXT
    codes = np.array([[0, 1], [1, 0], [2, 2]], "<u2")  # country, store
    tables = [[long + "a", long + "b", "DE"], ["eu-1", "eu-2\x00"]]
    content = {**CONTENT, "tables": tables, "codes": codes.tobytes(), "entity_ids": [long + "a", None, "e"]}
    batch = decode_batch(msgspec.msgpack.encode(content), SCHEMA)
    country, _, store = texts(batch.columns)
    assert country == [long, long, "DE"]
    assert store == ["eu-2\ufffd", "eu-1", None]
    assert batch.columns.tables[0] == (long, "DE")
    assert batch.entity_ids == (long, None, "e")
    row = {"features": {"country": long + "a"}, "prediction_id": "a", "timestamp": "2026-01-01T00:00:00Z"}
    of_json = pack_predictions(
        Submission("fraud", "3", [row, {**row, "features": {"country": long + "b"}}], (0, 1)),
        SCHEMA,
        batch_id="b",
        latest=2**60,
    ).batch
    assert of_json is not None
    assert texts(of_json.columns)[0] == [long, long]
    assert of_json.columns.tables[0] == (long,)


def test_texts_of_frames_are_cut_but_ids_are_not() -> None:
    long = "x" * MAX_TEXT
    table = pa.table(
        {
            "prediction_id": ["a", "b", long + "1", long + "2"],
            "timestamp": ["2026-01-01T00:00:00Z"] * 4,
            "country": [long + "a", long + "b", "DE", "DE"],
            "entity_id": [long + "e", None, None, None],
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    body = sink.getvalue().to_pybytes()
    read = read_frame(body, SCHEMA, model_id="m", version="1", batch_id="b", latest=2**60, max_bytes=1 << 24)
    assert read.batch is not None
    assert read.batch.ids == ("a", "b")
    assert texts(read.batch.columns)[0] == [long, long]
    assert read.batch.entity_ids == (long, None)
    assert [row.reason_code for row in read.rejected] == ["invalid_prediction_id"] * 2


def test_records_of_long_texts_hold_fewer_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(micro_batches, "RECORD_BYTES", 20_000)
    rows = 100
    columns = Columns(
        np.zeros((rows, 0), np.float32),
        np.zeros((rows, 2)),
        np.arange(rows, dtype=np.int32)[:, None],
        (tuple(f"{i:01000}" for i in range(rows)),),
    )
    schema = Schema((Feature("comment", Kind.CATEGORICAL),))
    ids = tuple(map(str, range(rows)))
    batch = Batch("m", "1", schema.schema_id, "b", ids, np.zeros(rows, np.int64), columns)
    records = micro_batches.cut_batch(batch, schema)
    assert all(len(record.payload) <= 20_000 for record in records)
    assert len(records) < 20
    read = [decode_batch(record.payload, schema) for record in records]
    assert [text for part in read for text in part.ids] == list(ids)
    assert [text for part in read for text in texts(part.columns)[0]] == list(columns.tables[0])
    monkeypatch.setattr(micro_batches, "RECORD_BYTES", 100)
    assert len(micro_batches.cut_batch(batch, schema)) == rows


@st.composite
def mutated(draw: st.DrawFn) -> tuple[bytes, Schema]:
    """A golden file with bytes changed, inserted, removed or repeated."""
    data, schema = draw(st.sampled_from(FILES))
    found = bytearray(data)
    for _ in range(draw(st.integers(1, 8))):
        place = draw(st.integers(0, len(found)))
        match draw(st.sampled_from(["change", "insert", "remove", "repeat", "length"])):
            case "change":
                found[place : place + 1] = draw(st.binary(min_size=1, max_size=1))
            case "insert":
                found[place:place] = draw(st.binary(max_size=16))
            case "remove":
                del found[place : place + draw(st.integers(1, 40))]
            case "repeat":
                found[place:place] = found[place : place + draw(st.integers(1, 40))] * draw(st.integers(1, 50))
            case "length":  # a head that promises more than there is
                found[place : place + 5] = (
                    draw(st.sampled_from(b"\xc6\xdb\xdd\xdf")).to_bytes() + b"\x7f\xff\xff\xff"
                )
    return bytes(found), schema


@settings(max_examples=500)
@given(mutated())
def test_mutated_golden_files_are_read_or_refused(case: tuple[bytes, Schema]) -> None:
    data, schema = case
    try:
        batch = decode_batch(data, schema)
    except InvalidPayload:
        return
    check_columns(batch.columns, layout(schema))
    assert batch.columns.rows == batch.rows == len(batch.timestamps)
    again = decode_batch(encode_batch(batch, schema), schema)
    assert again.ids == batch.ids


def test_mutated_golden_files_take_bounded_memory(bounded: Any) -> None:
    """Whatever a byte of a small batch becomes, reading it takes no more than a few times its size."""

    def read_all() -> None:
        for data, schema in FILES:
            for place in range(len(data)):
                for value in (0x00, 0x7F, 0x9F, 0xC6, 0xDB, 0xDD, 0xDF, 0xFF):
                    changed = data[:place] + bytes([value]) + data[place + 1 :]
                    try:
                        decode_batch(changed, schema)
                    except InvalidPayload:
                        continue

    bounded(read_all, 1 << 20)


# --- JSON


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


def test_json_of_any_depth_is_read_or_refused() -> None:
    """What could be read can be written again, or both are refused."""
    for depth in (10, *range(900, 1010), 100_000):
        try:
            value = read_json(nested(depth))
        except InvalidPayload:
            assert depth > 900
            continue
        try:
            assert write_json(value) == nested(depth)
        except InvalidPayload:
            assert depth > 900


def test_lines_nested_too_deeply_are_refused_alone() -> None:
    body = read_body(b'{"x": 1}\n' + nested(100_000) + b"\n[]\n", "application/x-ndjson", Shape("rows", "x", "{}"))
    assert [index for index, _ in body.rows] == [0, 2]
    assert [row.index for row in body.rejected] == [1]


@pytest.mark.parametrize("number", ["1e999", "-1e999", "9" * 5000, "1" + "0" * 400, "0." + "0" * 5000 + "1"])
def test_numbers_of_any_length_are_read_or_refused(number: str) -> None:
    with suppress(InvalidPayload):
        assert isinstance(read_json(number.encode()), int | float)


def test_plain_is_plain() -> None:
    assert decode_batch(FILES[1][0], REGRESSION).ids == PLAIN.ids
