"""log_batch: frames of every library give the rows that log gives, and only the kept ones are looked at."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from driftline.core.sampling import keep
from driftline.core.schema import Feature, JoinKey, Kind, Schema, Task
from driftline.log.batch_format import decode_batch
from driftline.sdk.frames import Batch
from tests.log.batches import texts
from tests.sdk.stub import problem

SCHEMA = Schema(
    (
        Feature("amount", Kind.NUMERIC),
        Feature("country", Kind.CATEGORICAL),
        Feature("new", Kind.BOOLEAN),
        Feature("since", Kind.DATETIME),
    ),
    Task.BINARY,
    segments=("store",),
)
COLUMNS = {
    "amount": [1.5, None, 3.0],
    "country": ["DE", None, "FR"],
    "new": [True, False, None],
    "since": [datetime(1970, 1, 2, tzinfo=UTC), None, datetime(1970, 1, 3, tzinfo=UTC)],
}
ROWS = [dict(zip(COLUMNS, values, strict=True)) for values in zip(*COLUMNS.values(), strict=True)]
FRAMES = {
    "pandas": pd.DataFrame(COLUMNS),
    "pandas with its own types": pd.DataFrame(COLUMNS).convert_dtypes(),
    "pandas on pyarrow": pd.DataFrame(COLUMNS).convert_dtypes(dtype_backend="pyarrow"),
    "polars": pl.DataFrame(COLUMNS),
    "arrow": pa.table(COLUMNS),
    "record batch": pa.RecordBatch.from_pydict(COLUMNS),
    "columns": COLUMNS,
    "rows": ROWS,
    "rows without names": [list(row.values()) for row in ROWS],
    "array": np.array([list(row.values()) for row in ROWS], object),
}


@pytest.fixture
def monitor(monitor_of, tmp_path):
    return monitor_of(transport="file", dir=tmp_path, schema=SCHEMA)


def sent(folder, schema=SCHEMA):
    return [decode_batch(file.read_bytes(), schema) for file in sorted(folder.glob("*.batch"))]


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_every_library_s_frame_gives_the_same_rows(monitor, tmp_path, frame):
    ids = monitor.log_batch(
        frame, [1, 0, 1], score=np.array([0.1, 0.2, 0.3]), segments={"store": ["a", "b", "a"]}, timestamps=5
    )
    assert monitor.flush()
    (batch,) = sent(tmp_path)
    assert batch.ids == tuple(ids)
    assert batch.timestamps.tolist() == [5_000_000] * 3
    np.testing.assert_array_equal(batch.columns.float32, [[1.5, 1], [np.nan, 0], [3, np.nan]])
    np.testing.assert_array_equal(batch.columns.float64, [[86_400, 0.1], [np.nan, 0.2], [172_800, 0.3]])
    assert texts(batch.columns) == [["DE", None, "FR"], ["1", "0", "1"], ["a", "b", "a"]]


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame, pa.table], ids=["pandas", "polars", "arrow"])
def test_columns_of_the_frame_can_be_named(monitor, tmp_path, library):
    frame = library(
        COLUMNS
        | {"id": ["a", "b", "c"], "said": [1, 0, 1], "p": [0.5, 0.6, 0.7], "customer": [7, 8, 9]}
        | {"at": [datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2, 3)], "shop": ["x", "y", "z"]}
    )
    ids = monitor.log_batch(
        frame,
        "said",
        "p",
        prediction_ids="id",
        entity_ids="customer",
        timestamps="at",
        segments={"store": "shop"},
        group_ids="shop",
        ranks=[0, 1, 2],
    )
    assert ids == ["a", "b", "c"]
    assert monitor.flush()
    (batch,) = sent(tmp_path)
    assert batch.entity_ids == ("7", "8", "9")
    assert batch.group_ids == ("x", "y", "z")
    assert batch.ranks.tolist() == [0, 1, 2]
    assert batch.timestamps[0] == 1_704_067_200_000_000
    assert texts(batch.columns)[1:] == [["1", "0", "1"], ["x", "y", "z"]]


def test_before_the_schema_is_known_rows_wait_by_name(stub, monitor_of):
    stub.serve_schema(SCHEMA)
    monitor = monitor_of(url=stub.url)
    monitor.log_batch(FRAMES["pandas"], [1, 0, 1])
    assert monitor.flush()
    batch = decode_batch(stub.posts()[0].body, SCHEMA)
    np.testing.assert_array_equal(batch.columns.float32, [[1.5, 1], [np.nan, 0], [3, np.nan]])


BY_ENTITY = Schema((Feature("x", Kind.NUMERIC),), join_key=JoinKey.ENTITY_ID)
ENTITIES = [f"e{row}" for row in range(1_000)]


def test_entities_decide_also_when_that_becomes_known_while_a_frame_is_hashed(stub, monitor_of, monkeypatch):
    stub.serve_schema(BY_ENTITY, n=4)
    monitor = monitor_of(url=stub.url, max_buffered_rows=100)
    hash_keys = Batch.digests

    def hash_slowly(batch, *, by_entity):
        digests = hash_keys(batch, by_entity=by_entity)
        assert stub.wait_for(lambda: monitor._gate.settled)
        return digests

    monkeypatch.setattr(Batch, "digests", hash_slowly)
    monitor.log_batch(np.zeros((1_000, 1)), entity_ids=ENTITIES)
    assert monitor.flush()
    (batch,) = (decode_batch(post.body, BY_ENTITY) for post in stub.posts())
    assert batch.weight == 16
    assert list(batch.entity_ids) == [entity for entity in ENTITIES if keep(entity, 16)]


def test_rows_that_were_thinned_out_before_entities_decide_go_and_that_is_said(stub, monitor_of, caplog):
    monitor = monitor_of(url=stub.url, max_buffered_rows=100)
    stub.settings = problem(404, "not-found", "there is no such version")
    monitor.log_batch(np.zeros((1_000, 1)), entity_ids=ENTITIES)
    stub.serve_schema(BY_ENTITY)
    assert monitor.flush()
    assert not stub.posts()
    assert monitor.counts.sampled_out == 1_000
    assert "give Monitor the schema" in caplog.text


def test_only_the_kept_rows_are_taken_and_carry_n(monitor_of, tmp_path):
    schema = Schema((Feature("x", Kind.NUMERIC), Feature("y", Kind.NUMERIC)))
    monitor = monitor_of(transport="file", dir=tmp_path, schema=schema, sampling_n=16)
    array = np.random.default_rng(1).standard_normal((4_000, 2), np.float32)
    ids = monitor.log_batch(array)
    assert monitor.flush()
    kept = [place for place, prediction_id in enumerate(ids) if keep(prediction_id, 16)]
    (batch,) = sent(tmp_path, schema)
    assert batch.weight == 16
    assert batch.ids == tuple(ids[place] for place in kept)
    np.testing.assert_array_equal(batch.columns.float32, array[kept])
    assert monitor.counts.sampled_out == 4_000 - len(kept)


def test_a_frame_of_more_rows_than_there_is_room_for_is_sampled_harder(monitor_of, tmp_path):
    schema = Schema((Feature("x", Kind.NUMERIC),))
    monitor = monitor_of(transport="file", dir=tmp_path, schema=schema, max_buffered_rows=100)
    monitor.log_batch(np.zeros((10_000, 1)))
    assert monitor.flush()
    (batch,) = sent(tmp_path, schema)
    assert batch.weight == 128
    assert 40 < batch.rows <= 100
    assert monitor.counts.overflowed == 0


def test_one_bad_row_does_not_lose_the_others(monitor, tmp_path, caplog):
    ids = monitor.log_batch(ROWS, [1, 0, 1], prediction_ids=["a", "", "c"])
    assert ids == ["a", "", "c"]
    assert monitor.flush()
    assert sent(tmp_path)[0].ids == ("a", "c")
    assert (monitor.counts.kept, monitor.counts.invalid) == (2, 1)
    assert "prediction_id" in caplog.text


@pytest.mark.parametrize(
    ("frame", "arguments", "said"),
    [
        (7, {}, "log_batch got a int"),
        (COLUMNS, {"prediction": [1]}, "prediction has 1 values for 3 rows"),
        (COLUMNS, {"score": "nothing"}, "the frame has no column 'nothing'"),
        ({"a": [1], "b": [1, 2]}, {}, "the columns differ in length"),
    ],
)
def test_frames_that_cannot_be_read_are_said_and_counted(monitor, caplog, frame, arguments, said):
    monitor.log_batch(frame, **arguments)
    assert said in caplog.text
    assert monitor.counts.invalid >= 1
