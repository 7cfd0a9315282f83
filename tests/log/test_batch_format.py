"""The batch format: round trips, golden files, a writer without NumPy, and what malformed bytes get."""

import re
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from batches import FULL, OUTPUTS, PLAIN, REGRESSION, SCHEMA, assert_equal, batches, texts
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.core.batch import Batch
from driftline.core.columns import Columns, check_columns
from driftline.core.errors import InvalidInput, InvalidPayload
from driftline.core.schema import Feature, Kind, Schema, layout
from driftline.log.batch_format import BatchHeader, decode_batch, encode_batch, read_header

GOLDEN = Path(__file__).parent / "golden"
NAN = float("nan")


def wire(batch: Batch = FULL, schema: Schema = SCHEMA) -> dict[str, Any]:
    content: dict[str, Any] = msgspec.msgpack.decode(encode_batch(batch, schema))
    return content


def decode(content: object, schema: Schema = SCHEMA) -> Batch:
    return decode_batch(msgspec.msgpack.encode(content), schema)


@given(batches())
def test_what_was_written_is_read(case: tuple[Batch, Schema]) -> None:
    batch, schema = case
    data = encode_batch(batch, schema)
    read = decode_batch(data, schema)
    assert_equal(read, batch)
    check_columns(read.columns, layout(schema))
    assert encode_batch(read, schema) == data
    assert read_header(data) == BatchHeader(
        batch.model_id, batch.version, batch.schema_id, batch.batch_id, batch.rows, batch.weight
    )


def test_blocks_are_writable_aligned_and_contiguous() -> None:
    read = decode_batch(memoryview(b"x" + encode_batch(FULL, SCHEMA))[1:], SCHEMA)
    for array in (read.columns.float32, read.columns.float64, read.columns.codes, read.timestamps):
        assert array.flags.writeable
        assert array.flags.aligned
        assert array.flags.c_contiguous


def test_column_major_blocks_are_written_row_by_row() -> None:
    columns = FULL.columns
    turned = replace(
        FULL,
        columns=Columns(
            np.asfortranarray(columns.float32),
            np.asfortranarray(columns.float64),
            np.asfortranarray(columns.codes.astype(np.uint16)),
            columns.tables,
        ),
    )
    assert encode_batch(turned, SCHEMA) == encode_batch(FULL, SCHEMA)


def test_categories_that_no_row_uses_are_left_out() -> None:
    some = FULL.take(np.array([1]))
    content = wire(some)
    assert content["tables"] == [[], ["eu-2"]]
    assert content["prediction_table"] == ["0"]
    assert_equal(decode(content), replace(some, columns=decode(content).columns))
    assert texts(decode(content).columns) == [[None], ["0"], ["eu-2"]]


def test_a_model_watched_on_its_outputs_only() -> None:
    columns = Columns(np.empty((1, 0), np.float32), np.array([[0.5]]), np.zeros((1, 1), np.int32), (("yes",),))
    batch = replace(FULL.take(np.array([0])), schema_id=OUTPUTS.schema_id, columns=columns)
    assert_equal(decode_batch(encode_batch(batch, OUTPUTS), OUTPUTS), batch)


def test_more_categories_than_codes_are_refused() -> None:
    schema = Schema((Feature("c", Kind.CATEGORICAL),))
    rows = 65_536
    columns = Columns(
        np.empty((rows, 0), np.float32),
        np.full((rows, 2), NAN),
        np.arange(rows, dtype=np.int32)[:, None],
        (tuple(map(str, range(rows))),),
    )
    batch = Batch("m", "1", schema.schema_id, "b", ("i",) * rows, np.zeros(rows, np.int64), columns)
    with pytest.raises(InvalidInput, match="'c' has 65536 categories") as caught:
        encode_batch(batch, schema)
    assert caught.value.field == "c"
    fits = batch.take(np.arange(65_535))
    read = decode_batch(encode_batch(fits, schema), schema)
    assert read.columns.codes[-1, 0] == 65_534
    table = list(map(str, range(65_536)))
    with pytest.raises(InvalidPayload, match=r"length <= 65535 - at `\$.tables\[0\]`"):
        decode({**wire(fits, schema), "tables": [table]}, schema)


# --- golden files: what was written once can be read for ever


def plain_writer(rows: int, content: dict[str, Any]) -> bytes:
    """Write a batch with struct and MessagePack alone, as an SDK does."""

    def block(kind: str, values: list[Any]) -> bytes:
        return struct.pack(f"<{len(values)}{kind}", *values)

    kinds = {"timestamps": "q", "prediction_codes": "H", "ranks": "i", "float32": "f", "codes": "H"}
    kinds |= dict.fromkeys(("prediction", "score", "class_scores", "float64"), "d")
    assert len(content["ids"]) == rows
    return msgspec.msgpack.encode(
        {key: block(kinds[key], value) if key in kinds else value for key, value in content.items()}
    )


INF = float("inf")
WRITTEN = {
    "full.v1.batch": (
        FULL,
        SCHEMA,
        {
            "format": 1,
            "model_id": "fraud",
            "version": "3",
            "schema_id": SCHEMA.schema_id,
            "batch_id": "0b5e",
            "weight": 100,
            "ids": ["a-1", "a-2", "ü-3"],
            "timestamps": [1_763_884_800_000_000, 1_763_884_800_000_001, 0],
            "prediction_table": ["1", "0"],
            "prediction_codes": [0, 1, 2],
            "score": [0.83, NAN, 0.5],
            "class_scores": [0.17, 0.83, NAN, NAN, 0.5, 0.5],
            "classes": 2,
            "entity_ids": ["c-17", None, "c-18"],
            "group_ids": ["g", "g", None],
            "ranks": [0, 1, -1],
            "float32": [12.5, 1.0, NAN, 0.0, INF, NAN],
            "float64": [1.7e9, NAN, 0.25],
            "tables": [["DE", "FR"], ["eu-1", "eu-2"]],
            "codes": [0, 1, 2, 1, 1, 0],
        },
    ),
    "plain.v1.batch": (
        PLAIN,
        REGRESSION,
        {
            "format": 1,
            "model_id": "houses",
            "version": "2026-11",
            "schema_id": REGRESSION.schema_id,
            "batch_id": "b",
            "weight": 1,
            "ids": ["x", "y"],
            "timestamps": [1, 2],
            "prediction": [1e5, 2e5],
            "score": [NAN, NAN],
            "float32": [80.5, 120.0],
            "float64": [],
            "tables": [],
            "codes": [],
        },
    ),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_golden_files_are_read_and_written_the_same(name: str) -> None:
    batch, schema, content = WRITTEN[name]
    data = (GOLDEN / name).read_bytes()
    assert_equal(decode_batch(data, schema), batch)
    assert encode_batch(batch, schema) == data
    assert plain_writer(batch.rows, content) == data


def test_every_golden_file_is_tested() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == set(WRITTEN)


# --- what does not fit


def test_score_and_prediction_may_be_left_out() -> None:
    content = wire()
    for key in ("score", "prediction_table", "prediction_codes"):
        del content[key]
    read = decode(content)
    assert np.isnan(read.columns.float64[:, 1]).all()
    assert texts(read.columns)[1] == [None, None, None]
    content = wire(PLAIN, REGRESSION)
    del content["prediction"]
    assert np.isnan(decode(content, REGRESSION).columns.float64).all()


def test_unknown_keys_are_ignored() -> None:
    assert_equal(decode({**wire(), "trace": {"deep": [1]}}), FULL)


def test_nul_is_mended() -> None:
    read = decode({**wire(), "tables": [["D\x00", "FR"], ["a", "b"]], "entity_ids": ["\x00", None, "c"]})
    assert read.columns.tables[0] == ("D\ufffd", "FR")
    assert read.entity_ids == ("\ufffd", None, "c")


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"format": 2}, "format", "format 2 is unknown"),
        ({"format": "1"}, "format", "Expected `int`"),
        ({"schema_id": "other"}, "schema_id", "a new schema is a new version"),
        ({"model_id": "m" * 257}, "model_id", "length <= 256"),
        ({"weight": 0}, "weight", ">= 1"),
        ({"weight": 2**20 + 1}, "weight", "<= 1048576"),
        ({"weight": 1.5}, "weight", "Expected `int`"),
        ({"ids": ["a", "b"]}, "float32", "float32 has 24 bytes; 2 x 2 values of float32 are 16"),
        ({"ids": [1, 2, 3]}, "ids", "Expected `str`"),
        ({"ids": "abc"}, "ids", "Expected `array`"),
        ({"timestamps": b"\0" * 23}, "timestamps", "timestamps has 23 bytes"),
        ({"timestamps": None}, "timestamps", "Expected `bytes`"),
        ({"float32": b"\0" * 25}, "float32", "float32 has 25 bytes"),
        ({"float64": b""}, "float64", "float64 has 0 bytes"),
        ({"score": b"\0" * 16}, "score", "score has 16 bytes"),
        ({"ranks": b"\0"}, "ranks", "ranks has 1 bytes"),
        ({"classes": 3}, "class_scores", "class_scores has 48 bytes"),
        ({"classes": -1}, "classes", ">= 0"),
        ({"classes": 2**63}, "classes", "Expected `int` <= 65535"),
        ({"codes": b"\0" * 11}, "codes", "codes has 11 bytes"),
        ({"tables": [["DE"]]}, "tables", "1 category tables for 2"),
        ({"tables": [["DE"], ["eu-1", "eu-2"]]}, "country", "beyond its category table"),
        ({"tables": [["DE", "FR"], ["eu-1", 2]]}, "tables", "Expected `str`"),
        ({"prediction_table": ["1"]}, "__prediction__", "beyond its category table"),
        ({"prediction_table": None}, "prediction_codes", "go together"),
        ({"prediction": b"\0" * 24}, "prediction", "predicts classes"),
        ({"entity_ids": ["a"]}, "entity_ids", "1 entries for 3 rows"),
        ({"group_ids": [None] * 4}, "group_ids", "4 entries for 3 rows"),
    ],
)
def test_every_field_is_checked(change: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(InvalidPayload, match=message) as caught:
        decode({**wire(), **change})
    assert caught.value.field == field


@pytest.mark.parametrize("key", ["format", "model_id", "ids", "timestamps", "float32", "tables", "codes"])
def test_a_key_that_is_not_there_is_named(key: str) -> None:
    content = wire()
    del content[key]
    with pytest.raises(InvalidPayload, match=f"missing required field `{key}`"):
        decode(content)


def test_classes_for_a_model_that_predicts_numbers() -> None:
    content = wire(PLAIN, REGRESSION)
    del content["prediction"]
    content |= {"prediction_table": ["a"], "prediction_codes": b"\0\0\0\0"}
    with pytest.raises(InvalidPayload, match="other models send prediction"):
        decode(content, REGRESSION)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"{}",
        b"\xdf\xff\xff\xff\xff",
        b"\x81\xa3ids\xdd\xff\xff\xff\xff",
        b"\x81\xa1x" + b"\x91" * 100_000,
        b"\x81\xa8model_id\xa2\xff\xfe",
        msgspec.msgpack.encode([1, 2]),
    ],
)
def test_bytes_that_are_no_batch(data: bytes) -> None:
    for read in (read_header, lambda it: decode_batch(it, SCHEMA)):
        with pytest.raises(InvalidPayload):
            read(data)


GOOD = encode_batch(FULL, SCHEMA)


@pytest.mark.parametrize("end", range(len(GOOD)))
def test_no_beginning_of_a_batch_is_a_batch(end: int) -> None:
    with pytest.raises(InvalidPayload):
        decode_batch(GOOD[:end], SCHEMA)


@settings(max_examples=500)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_changed_bytes_are_read_or_refused_but_never_crash(changes: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for place, value in changes:
        data[place] = value
    try:
        batch = decode_batch(bytes(data), SCHEMA)
    except InvalidPayload:
        return
    check_columns(batch.columns, layout(SCHEMA))
    assert batch.columns.rows == batch.rows == len(batch.timestamps)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidPayload):
        decode_batch(data, SCHEMA)


@settings(max_examples=300)
@given(
    st.dictionaries(
        st.sampled_from(sorted(wire())),
        st.none()
        | st.integers()
        | st.text()
        | st.binary(max_size=64)
        | st.lists(st.text() | st.integers() | st.none() | st.lists(st.text())),
    )
)
def test_any_value_in_any_key_is_read_or_refused(change: dict[str, Any]) -> None:
    try:
        data = msgspec.msgpack.encode({**wire(), **change})
    except OverflowError:
        return
    try:
        batch = decode_batch(data, SCHEMA)
    except InvalidPayload:
        return
    check_columns(batch.columns, layout(SCHEMA))


# --- the documentation


def fenced(language: str) -> str:
    text = (Path(__file__).parents[2] / "docs" / "wire.md").read_text()
    return text.partition(f"```{language}\n")[2].partition("```")[0]


def test_the_documented_bytes_are_the_golden_ones() -> None:
    digits = ""
    for line in fenced("hex").splitlines():
        for word in line.split():
            if word.startswith('"') or word == "map":
                break
            digits += word
    assert bytes.fromhex(digits) == (GOLDEN / "plain.v1.batch").read_bytes()


def test_the_documented_program_writes_the_golden_bytes() -> None:
    names: dict[str, Any] = {}
    exec(fenced("python"), names)
    assert names["data"] == (GOLDEN / "plain.v1.batch").read_bytes()


def test_every_key_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "wire.md").read_text()
    table = text.partition("| key | type |")[2].partition("\n\n")[0]
    documented = re.findall(r"`(\w+)`", " ".join(line.split("|")[1] for line in table.splitlines()[1:]))
    assert set(documented) == {*wire(), *wire(PLAIN, REGRESSION)}
