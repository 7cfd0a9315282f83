"""Arrow IPC and Parquet bodies: predictions of whole frames, and bodies that claim or hide gigabytes."""

import io
import json
import struct
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from batches import SCHEMA, assert_equal, texts
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import feather

from driftline.core.batch import Batch
from driftline.core.columns import check_columns
from driftline.core.errors import InvalidPayload
from driftline.core.finding import Finding, Problem
from driftline.core.schema import Feature, Kind, Schema, layout
from driftline.log.arrow_format import read_frame
from driftline.log.arrow_table import read_arrow
from driftline.log.json_format import Submission
from driftline.log.json_rows import pack_predictions
from driftline.log.received import Reason, Received

NOW = 1_795_420_800_000_000
MOMENT = datetime(2026, 11, 23, 8, tzinfo=UTC)
LIMIT = 1 << 20
ROWS: list[dict[str, Any]] = [
    {
        "prediction_id": f"p{i}",
        "timestamp": MOMENT,
        "entity_id": "c-17" if i else None,
        "amount": 12.5 + i,
        "country": ["DE", "FR"][i % 2],
        "new_customer": i == 0,
        "signed_up": datetime(2026, 1, 1, tzinfo=UTC),
        "store": "eu-1",
        "prediction": 1,
        "score": 0.83,
    }
    for i in range(3)
]
TABLE = pa.Table.from_pylist(ROWS)


def stream(table: pa.Table, **options: Any) -> bytes:
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return out.getvalue()


def file(table: pa.Table, **options: Any) -> bytes:
    out = io.BytesIO()
    with pa.ipc.new_file(out, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return out.getvalue()


def lz4(table: pa.Table) -> bytes:
    out = io.BytesIO()
    feather.write_feather(table, out, compression="lz4")
    return out.getvalue()


def parquet(table: pa.Table, **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


def polars(table: pa.Table) -> bytes:
    out = io.BytesIO()
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    frame.write_ipc(out, compression="zstd")
    return out.getvalue()


def polars_stream(table: pa.Table) -> bytes:
    out = io.BytesIO()
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    frame.write_ipc_stream(out)
    return out.getvalue()


def zstd(table: pa.Table) -> bytes:
    return stream(table, compression="zstd")


WRITERS = [stream, file, lz4, zstd, parquet, polars, polars_stream]


def read(body: bytes | pa.Table, schema: Schema = SCHEMA, **options: Any) -> Received:
    body = stream(body) if isinstance(body, pa.Table) else body
    named: dict[str, Any] = {
        "model_id": "fraud",
        "version": "3",
        "batch_id": "b",
        "latest": NOW,
        "max_bytes": LIMIT,
    }
    return read_frame(body, schema, **named | options)


def batch(body: bytes | pa.Table, schema: Schema = SCHEMA) -> Batch:
    received = read(body, schema)
    assert received.rejected == received.findings == ()
    assert received.batch is not None
    check_columns(received.batch.columns, layout(schema))
    return received.batch


def changed(name: str, values: Any, kind: pa.DataType | None = None) -> pa.Table:
    column = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values, kind)
    if name in TABLE.column_names:
        return TABLE.set_column(TABLE.column_names.index(name), name, column)
    return TABLE.append_column(name, column)


# --- good bodies


@pytest.mark.parametrize("write", WRITERS)
def test_every_format_gives_the_same_batch(write: Any) -> None:
    its = batch(write(TABLE))
    assert (its.model_id, its.version, its.batch_id, its.schema_id) == ("fraud", "3", "b", SCHEMA.schema_id)
    assert its.ids == ("p0", "p1", "p2")
    assert its.timestamps.tolist() == [NOW] * 3
    assert its.entity_ids == (None, "c-17", "c-17")
    assert its.columns.float32.tolist() == [[12.5, 1], [13.5, 0], [14.5, 0]]
    assert its.columns.float64.tolist() == [[1_767_225_600.0, 0.83]] * 3
    assert texts(its.columns) == [["DE", "FR", "DE"], ["1", "1", "1"], ["eu-1", "eu-1", "eu-1"]]


def test_a_frame_and_json_give_the_same_batch() -> None:
    features = ("amount", "country", "new_customer")
    rows = [
        {name: row[name] for name in ("prediction_id", "entity_id", "prediction", "score")}
        | {"timestamp": row["timestamp"].isoformat(), "segments": {"store": row["store"]}}
        | {"features": {name: row[name] for name in features} | {"signed_up": row["signed_up"].isoformat()}}
        for row in ROWS
    ]
    packed = pack_predictions(Submission("fraud", "3", rows, range(3)), SCHEMA, batch_id="b", latest=NOW)
    assert packed.batch is not None
    assert_equal(batch(TABLE), packed.batch)


def test_pandas_parquet_with_its_index_and_categories() -> None:
    frame = pd.DataFrame(ROWS, index=[5, 6, 9]).astype({"country": "category"})
    out = io.BytesIO()
    frame.to_parquet(out)
    assert batch(out.getvalue()).ids == ("p0", "p1", "p2")


@pytest.mark.parametrize("write", WRITERS)
def test_a_frame_without_rows(write: Any) -> None:
    assert read(write(TABLE.slice(0, 0))) == Received(None, ())


def test_request_ids_and_integers() -> None:
    ids = TABLE.rename_columns({"prediction_id": "request_id"})
    assert batch(ids).ids == ("p0", "p1", "p2")
    assert batch(changed("prediction_id", [7, 8, 9])).ids == ("7", "8", "9")
    assert batch(changed("prediction_id", TABLE["prediction_id"].dictionary_encode())).ids == ("p0", "p1", "p2")


@pytest.mark.parametrize(
    "times",
    [
        pa.array([MOMENT] * 3, pa.timestamp("s", "UTC")),
        pa.array([MOMENT] * 3, pa.timestamp("ns", "Europe/Berlin")),
        pa.array(["2026-11-23T08:00:00Z"] * 3),
        pa.array(["2026-11-23T09:00:00+01:00"] * 3).dictionary_encode(),
    ],
)
def test_times_of_every_type(times: pa.Array) -> None:
    assert batch(changed("timestamp", times)).timestamps.tolist() == [NOW] * 3


@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.large_list(pa.float32()), pa.list_(pa.float64(), 2)])
@pytest.mark.parametrize("write", [stream, lz4])
def test_scores_of_classes(kind: pa.DataType, write: Any) -> None:
    its = batch(write(changed("score", [[0.25, 0.75], [0.5, None], [None, None]], kind)))
    np.testing.assert_array_equal(its.class_scores, [[0.25, 0.75], [0.5, np.nan], [np.nan, np.nan]])
    np.testing.assert_array_equal(its.columns.float64[:, 1], [0.75, 0.5, np.nan])


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([[0.5], [0.5, 0.5], [0.5]], "each of the 2 classes"),
        ([[0.5], None, [0.5]], "each of the 1 classes"),
        ([["a"], ["b"], ["c"]], "scores are numbers"),
    ],
)
def test_scores_that_do_not_fit(scores: Any, message: str) -> None:
    with pytest.raises(InvalidPayload, match=message):
        read(changed("score", scores))


def test_lists_in_parquet_are_refused() -> None:
    with pytest.raises(InvalidPayload, match="'score': lists in Parquet") as caught:
        read(parquet(changed("score", [[0.5], [0.5], [0.5]])))
    assert caught.value.field == "score"


def test_groups_and_ranks() -> None:
    table = changed("group_id", ["g", None, "g"]).append_column("rank", pa.array([0, 5, None]))
    its = batch(table)
    assert its.group_ids == ("g", None, "g")
    assert its.ranks is not None
    assert its.ranks.tolist() == [0, 5, -1]


def test_the_schema_names_the_columns() -> None:
    schema = Schema((Feature("x", Kind.NUMERIC),), prediction="y", score="s", timestamp="at", entity_id="who")
    table = pa.table({"prediction_id": ["a"], "at": [MOMENT], "y": [2.5], "s": [0.5], "who": [7], "x": [1]})
    its = batch(table, schema)
    assert its.columns.float64.tolist() == [[2.5, 0.5]]
    assert its.entity_ids == ("7",)


# --- what is odd, and rows that cannot be placed


def test_missing_columns_are_counted_and_unknown_ones_not_read() -> None:
    table = TABLE.drop_columns(["amount"]).append_column("extra", pa.array([[1], [2], [3]]))
    assert batch(parquet(TABLE.append_column("extra", table["extra"]))).rows == 3
    received = read(table)
    assert received.batch is not None
    assert np.isnan(received.batch.columns.float32[:, 0]).all()
    assert received.findings == (Finding("amount", Problem.MISSING_COLUMN, 3),)


def test_values_of_the_wrong_type_are_counted() -> None:
    received = read(changed("amount", ["1", "x", None]))
    assert received.batch is not None
    np.testing.assert_array_equal(received.batch.columns.float32[:, 0], [1, np.nan, np.nan])
    assert received.findings == (Finding("amount", Problem.NOT_A_NUMBER, 1),)


@pytest.mark.parametrize(("unit", "scale"), [("s", 10**6), ("ms", 10**3)])
def test_times_of_a_wrong_unit_are_refused(unit: str, scale: int) -> None:
    right = NOW // scale
    wrapping = right + 2**64 // scale  # times the scale, 64 bits would show the right time again
    times = pa.array([right * 1000, -right * scale, wrapping], pa.timestamp(unit, "UTC"))
    received = read(changed("timestamp", times))
    assert received.batch is None
    assert [its.reason_code for its in received.rejected] == [
        Reason.TIME_IN_FUTURE,
        Reason.BAD_TIME,
        Reason.TIME_IN_FUTURE,
    ]


def test_rows_that_cannot_be_placed_are_rejected_alone() -> None:
    times = [MOMENT, None, datetime(2026, 11, 23, 8, 0, 0, 1, tzinfo=UTC)]
    received = read(changed("timestamp", times, pa.timestamp("us", "UTC")))
    assert received.batch is not None
    assert received.batch.ids == ("p0",)
    assert [(its.index, its.prediction_id, its.reason_code) for its in received.rejected] == [
        (1, "p1", Reason.NO_TIME),
        (2, "p2", Reason.TIME_IN_FUTURE),
    ]
    assert json.loads(received.rejected[1].raw)["features"]["country"] == "DE"
    received = read(changed("timestamp", ["2026-11-23T08:00:00", "soon", "2026-11-23T08:00:00Z"]))
    assert [its.reason_code for its in received.rejected] == [Reason.TIME_WITHOUT_ZONE, Reason.BAD_TIME]
    received = read(changed("prediction_id", [None, "", "x"]))
    assert [its.reason_code for its in received.rejected] == [Reason.NO_ID, Reason.NO_ID]


@pytest.mark.parametrize(
    ("table", "field", "message"),
    [
        (TABLE.drop_columns(["prediction_id"]), "prediction_id", "no column 'prediction_id'"),
        (TABLE.drop_columns(["timestamp"]), "timestamp", "no column 'timestamp'"),
        (changed("prediction_id", [1.5, 2, 3]), "prediction_id", "ids are text"),
        (changed("timestamp", [1, 2, 3]), "timestamp", "holds int64; send datetimes with a zone"),
        (changed("timestamp", [datetime(2026, 1, 1)] * 3), "timestamp", "with a zone"),
        (changed("amount", [[1], [2], [3]]), "amount", "leave it out"),
        (pa.table([["a"], ["b"]], names=["x", "x"]), "x", "is there twice"),
    ],
)
@pytest.mark.parametrize("write", [stream, parquet])
def test_frames_that_cannot_be_used(table: pa.Table, field: str, message: str, write: Any) -> None:
    with pytest.raises(InvalidPayload, match=message) as caught:
        read(write(table))
    assert caught.value.field == field


# --- bodies that are damaged, or larger than they look

LARGE = pa.table({"x": np.zeros(1_000_000), "c": ["x" * 20] * 1_000_000})


@pytest.mark.parametrize("write", [zstd, lz4, parquet, lambda table: parquet(table, compression="zstd")])
def test_a_body_that_unpacks_to_more_than_allowed_is_refused(write: Any) -> None:
    body = write(LARGE)
    with pytest.raises(InvalidPayload, match="bytes uncompressed; send at most 1,048,576"):
        read_arrow(body, max_bytes=LIMIT)
    assert read_arrow(body, max_bytes=1 << 26).num_rows == 1_000_000


def test_lengths_are_refused_before_memory_is_taken() -> None:
    body = bytearray(zstd(pa.table({"x": np.zeros(5000)})))
    claimed = struct.pack("<q", 40_000)
    assert body.count(claimed) == 1
    body[body.index(claimed) : body.index(claimed) + 8] = struct.pack("<q", 1 << 60)
    with pytest.raises(InvalidPayload, match="1,152,921,504,606,846,976 bytes uncompressed"):
        read_arrow(bytes(body), max_bytes=LIMIT)


@pytest.mark.parametrize("write", [stream, file, parquet])
def test_columns_of_nulls_have_no_bytes_but_rows(write: Any) -> None:
    with pytest.raises(InvalidPayload, match="bytes uncompressed"):
        read_arrow(write(pa.table({"x": pa.nulls(10_000_000)})), max_bytes=LIMIT)


def test_one_text_shown_many_times_stays_one_text() -> None:
    table = pa.table({"c": pa.DictionaryArray.from_arrays(np.zeros(50_000, np.int8), ["x" * 100_000])})
    for write in (stream, file, parquet):
        assert pa.types.is_dictionary(read_arrow(write(table), max_bytes=LIMIT).schema.field("c").type)
    ids = pa.table({"prediction_id": table["c"], "timestamp": pa.array([MOMENT] * 50_000)})
    with pytest.raises(InvalidPayload, match="too many rows cannot be used, the first because prediction_id must"):
        read(stream(ids), Schema(()), max_bytes=1 << 24)
    text = pa.py_buffer(b"x" * 100_000)
    shown = pa.py_buffer(struct.pack("<i4sii", 100_000, b"xxxx", 0, 0) * 50_000)
    views = pa.table({"c": pa.Array.from_buffers(pa.string_view(), 50_000, [None, shown, text])})
    with pytest.raises(InvalidPayload, match="5,000,000,000 bytes"):
        read_arrow(stream(views), max_bytes=1 << 24)


@pytest.mark.parametrize("code", [5, 10**9, -(10**9)])
def test_codes_under_a_null_may_point_anywhere(code: int) -> None:
    def chunk(text: str) -> pa.Array:
        codes = pa.Array.from_buffers(
            pa.int32(), 2, [pa.py_buffer(b"\x01"), pa.py_buffer(struct.pack("<2i", 0, code))]
        )
        return pa.DictionaryArray.from_arrays(codes, pa.array([text]), safe=False)

    table = pa.table(
        {
            "prediction_id": ["a", "b", "c", "d"],
            "timestamp": pa.array([MOMENT] * 4),
            "country": pa.chunked_array([chunk("DE"), chunk("FR")]),
        }
    )
    received = read(stream(table))
    assert received.batch is not None
    assert texts(received.batch.columns)[0] == ["DE", None, "FR", None]


@pytest.mark.parametrize("length", [7, 10**9, -452_984_832])
def test_views_under_a_null_may_point_anywhere(length: int) -> None:
    views = pa.py_buffer(struct.pack("<i4sii", length, b"DE  ", 3, 9) + struct.pack("<i12s", 2, b"DE"))
    column = pa.Array.from_buffers(pa.string_view(), 2, [pa.py_buffer(b"\x02"), views])
    table = pa.table({"prediction_id": ["a", "b"], "timestamp": pa.array([MOMENT] * 2), "country": column})
    received = read(stream(table))
    assert received.batch is not None
    assert texts(received.batch.columns)[0] == [None, "DE"]


def test_names_that_are_not_utf8_are_refused() -> None:
    for name in (b"Europe/Berlin", b"country"):
        body = stream(changed("timestamp", [MOMENT] * 3, pa.timestamp("us", "Europe/Berlin")))
        with pytest.raises(InvalidPayload, match="damaged"):
            read(body.replace(name, b"\xff" + name[1:]))


def test_rows_that_would_be_large_when_packed_are_refused() -> None:
    schema = Schema(tuple(Feature(f"f{i}", Kind.NUMERIC) for i in range(500)))
    table = pa.table({"prediction_id": ["a"] * 1000, "timestamp": pa.array([MOMENT] * 1000)})
    with pytest.raises(InvalidPayload, match=r"1,000 rows take 2,016,000 bytes packed; send fewer"):
        read(stream(table), schema)


def test_bodies_of_another_kind() -> None:
    for body in (b"", b"{}", b"PK\x03\x04", b"ARROW2"):
        with pytest.raises(InvalidPayload, match="neither Arrow IPC nor Parquet"):
            read_arrow(body, max_bytes=LIMIT)


def test_only_the_columns_asked_for_are_read() -> None:
    for write in WRITERS:
        assert read_arrow(write(TABLE), max_bytes=LIMIT, columns=["score", "no", "amount"]).column_names == [
            "score",
            "amount",
        ]


def test_text_that_is_not_utf8_is_refused() -> None:
    column = pa.Array.from_buffers(
        pa.string(), 3, [None, pa.py_buffer(struct.pack("<4i", 0, 1, 2, 3)), pa.py_buffer(b"a\xffb")]
    )
    with pytest.raises(InvalidPayload, match="UTF8"):
        read(changed("country", column))


@pytest.mark.parametrize("write", WRITERS)
def test_no_beginning_of_a_body_is_a_body(write: Any) -> None:
    body = write(TABLE)
    ends = [*range(0, min(len(body), 600), 7), *range(600, len(body) - 20, 97)]
    for end in ends:
        try:
            received = read(body[:end])
        except InvalidPayload:
            continue
        assert write in (stream, zstd, polars_stream)  # a stream may end after its last whole message
        assert received.batch is None or received.batch.rows == 3


BODIES = [write(TABLE) for write in WRITERS]


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(BODIES),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_changed_bytes_are_read_or_refused_but_never_crash(body: bytes, changes: list[tuple[int, int]]) -> None:
    data = bytearray(body)
    for place, value in changes:
        data[place % len(data)] = value
    try:
        received = read(bytes(data))
    except InvalidPayload:
        return
    if received.batch is not None:
        check_columns(received.batch.columns, layout(SCHEMA))
