"""The sample lake: what is written is read back, whatever it is; names are safe on any disk."""

import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from driftline.core.batch import Batch
from driftline.core.columns import Columns
from driftline.core.errors import InvalidPayload
from driftline.core.schema import Dtype, Feature, Kind, Schema, Task, layout
from driftline.core.window import DAY
from driftline.store.lake import (
    Lake,
    delete_file,
    list_files,
    make_token,
    name_file,
    open_lake,
    read_samples,
    write_samples,
)

SCHEMA = Schema(
    (
        Feature("amount", Kind.NUMERIC),
        Feature("is new", Kind.BOOLEAN),
        Feature("size", Kind.NUMERIC, Dtype.FLOAT64),
        Feature("since", Kind.DATETIME),
        Feature("country.code", Kind.CATEGORICAL),
        Feature("plan", Kind.CATEGORICAL),
    ),
    Task.MULTICLASS,
    segments=("country.code", "channel"),
)
NAME = "a/file.parquet"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return open_lake(str(tmp_path))


def make_batch(**changes: object) -> Batch:
    """Three rows with everything that a batch can have, and with something missing in every column."""
    columns = Columns(
        np.float32([[1.5, 1], [np.nan, 0], [np.inf, np.nan]]),
        np.array([[2.0**53, 1.7e9, 0.25], [np.nan, np.nan, np.nan], [-np.inf, 5e-324, 1.0]]),
        np.int32([[0, 1, 0, 0], [2, 2, 2, 1], [1, 0, 1, 1]]),
        (("DE", "FR"), ("pro", ""), ("yes", "no"), ("web",)),
    )
    made = Batch("fraud", "3", SCHEMA.schema_id, "", ("a", "b", "ü\n"), np.array([0, 1, 2**50]), columns)
    return replace(made, **changes)  # type: ignore[arg-type]


def texts(batch: Batch) -> list[list[str | None]]:
    """Categories as text: tables may be in another order."""
    columns = batch.columns
    return [[(*table, None)[code] for code in columns.codes[:, c]] for c, table in enumerate(columns.tables)]


def assert_same(one: Batch, other: Batch) -> None:
    assert (one.ids, one.weight, one.schema_id) == (other.ids, other.weight, other.schema_id)
    assert (one.entity_ids, one.group_ids) == (other.entity_ids, other.group_ids)
    assert_array_equal(one.timestamps, other.timestamps)
    assert_array_equal(one.columns.float32, other.columns.float32)
    assert_array_equal(one.columns.float64, other.columns.float64)
    assert (one.columns.float32.dtype, one.columns.float64.dtype) == (np.float32, np.float64)
    assert texts(one) == texts(other)
    for name in ("ranks", "class_scores"):
        mine, its = getattr(one, name), getattr(other, name)
        assert (mine is None) == (its is None)
        if mine is not None:
            assert_array_equal(mine, its)


def read(lake: Lake, path: str = NAME, schema: Schema = SCHEMA) -> list[Batch]:
    return read_samples(lake, path, "fraud", "3", schema)


def test_every_dtype_comes_back(lake: Lake) -> None:
    batch = make_batch()
    size = write_samples(lake, NAME, SCHEMA, [batch])
    assert size == Path(lake.root, NAME).stat().st_size
    (back,) = read(lake)
    assert_same(back, batch)
    assert (back.model_id, back.version) == ("fraud", "3")


def test_everything_else_that_predictions_have_comes_back(lake: Lake) -> None:
    batch = make_batch(
        entity_ids=("c-1", None, "c-2"),
        group_ids=(None, "g", "g"),
        ranks=np.int32([2, 0, -1]),
        class_scores=np.array([[0.1, 0.9], [np.nan, 0.5], [1.0, 0.0]]),
    )
    write_samples(lake, NAME, SCHEMA, [batch])
    assert_same(read(lake)[0], batch)


def test_batches_of_a_file_are_joined_and_split_by_weight(lake: Lake) -> None:
    first = make_batch(weight=5, ranks=np.int32([0, 1, 2]))
    second = make_batch(weight=1, ids=("d", "e", "f"), entity_ids=("x", "y", "z"))
    third = make_batch(weight=5, ids=("g", "h", "i"), class_scores=np.ones((3, 4)))
    other_tables = Columns(
        second.columns.float32,
        second.columns.float64,
        second.columns.codes,
        (("US", "FR"), ("x", "y"), ("no",), ()),
    )
    other_tables.codes[:] = [[0, 1, 0, 0], [1, 0, 1, 0], [2, 2, 1, 0]]
    second = replace(second, columns=other_tables)
    write_samples(lake, NAME, SCHEMA, [first, second, third])
    light, heavy = read(lake)
    assert_same(light, second)
    assert heavy.ids == ("a", "b", "ü\n", "g", "h", "i")
    assert texts(heavy) == [a + b for a, b in zip(texts(first), texts(third), strict=True)]
    assert heavy.ranks is not None
    assert heavy.ranks.tolist() == [0, 1, 2, -1, -1, -1]
    assert heavy.class_scores is not None
    assert_array_equal(heavy.class_scores, np.concatenate([np.full((3, 4), np.nan), np.ones((3, 4))]))


def test_the_file_is_plain_parquet_with_names_that_people_know(lake: Lake) -> None:
    write_samples(lake, NAME, SCHEMA, [make_batch(weight=7)])
    table = pq.read_table(Path(lake.root, NAME))
    assert table.column_names == [
        "__prediction_id__", "__timestamp__", "__weight__", "__entity_id__", *layout(SCHEMA).float32,
        *layout(SCHEMA).float64, *layout(SCHEMA).codes,
    ]  # fmt: skip
    assert table["__timestamp__"].type == pa.timestamp("us", "UTC")
    assert table["country.code"].to_pylist() == ["DE", None, "FR"]
    assert table["channel"].to_pylist() == ["web", None, None]
    assert table["__weight__"].to_pylist() == [7, 7, 7]


def test_a_schema_without_features(lake: Lake) -> None:
    schema = Schema(())
    columns = Columns(
        np.empty((2, 0), np.float32), np.array([[1.0, np.nan], [2.0, 0.5]]), np.empty((2, 0), np.int32), ()
    )
    batch = Batch("fraud", "3", schema.schema_id, "", ("a", "b"), np.array([1, 2]), columns)
    write_samples(lake, NAME, schema, [batch])
    assert_same(read(lake, schema=schema)[0], batch)


def test_a_file_that_is_not_there(lake: Lake) -> None:
    with pytest.raises(FileNotFoundError):
        read(lake)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\x00" * 100 + b"PAR1", os.urandom(500)])
def test_a_file_that_is_something_else(lake: Lake, content: bytes) -> None:
    Path(lake.root, "file").write_bytes(content)
    with pytest.raises(InvalidPayload, match="not a sample file"):
        read(lake, "file")


def test_a_file_of_another_schema(lake: Lake) -> None:
    write_samples(lake, NAME, SCHEMA, [make_batch()])
    with pytest.raises(InvalidPayload, match="not a sample file of this version"):
        read(lake, schema=Schema((Feature("other", Kind.NUMERIC),)))


def test_a_file_that_was_cut_off(lake: Lake) -> None:
    write_samples(lake, NAME, SCHEMA, [make_batch()])
    file = Path(lake.root, NAME)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(InvalidPayload):
        read(lake)


def test_deleting_a_file_that_is_gone_is_no_error(lake: Lake) -> None:
    write_samples(lake, NAME, SCHEMA, [make_batch()])
    for _ in range(2):
        delete_file(lake, NAME)
    assert not Path(lake.root, NAME).exists()


def test_listing_gives_files_that_are_old_enough(lake: Lake) -> None:
    now = datetime.now(UTC)
    for name, age in (("old/a.parquet", 7200), ("old/deep/b.parquet", 3700), ("new.parquet", 0)):
        write_samples(lake, name, SCHEMA, [make_batch()])
        os.utime(Path(lake.root, name), (time.time() - age,) * 2)
    listed = list_files(lake, written_before=now - timedelta(hours=1))
    assert sorted(listed) == ["old/a.parquet", "old/deep/b.parquet"]
    assert list(list_files(open_lake(f"{lake.root}/old"), written_before=now - timedelta(hours=3))) == []


def test_a_lake_that_was_removed_has_no_files(tmp_path: Path) -> None:
    lake = open_lake(str(tmp_path / "lake"))
    if (tmp_path / "lake").exists():
        (tmp_path / "lake").rmdir()
    assert list(list_files(lake, written_before=datetime.now(UTC))) == []


def test_names_sort_by_offset_and_no_attempt_overwrites_another() -> None:
    names = [name_file("m", "1", "t", 0, offset, DAY, token="x") for offset in (2, 10, 100_000)]
    assert names == sorted(names)
    assert names[0].startswith("model=m/version=1/date=1970-01-02/t-0-")
    tokens = {make_token() for _ in range(100)}
    assert len(tokens) == 100


HOSTILE = ["..", ".", "../../etc", "/etc/passwd", "a\\b", "a\nb", "a%2Fb", "CON", "-rf", "*", "ü" * 256, "a" * 256]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_in_their_folder(lake: Lake, name: str) -> None:
    path = name_file(name, name, "prediction_samples", 3, 17, 0, token=make_token())
    assert path.count("/") == 3
    assert path.isascii()
    write_samples(lake, path, SCHEMA, [make_batch()])
    (file,) = (each for each in Path(lake.root).rglob("*") if each.is_file())
    assert str(file.relative_to(lake.root)) == path
    assert read(lake, path)[0].ids == ("a", "b", "ü\n")


NAMES = st.text(min_size=1, max_size=256).filter(lambda text: "\x00" not in text and text.isprintable())


@settings(max_examples=200, deadline=None)
@given(st.lists(NAMES, min_size=2, max_size=2, unique=True))
def test_different_models_have_different_folders(names: list[str]) -> None:
    paths = [name_file(name, "3", "t", 0, 0, 0, token="x") for name in names]
    assert paths[0] != paths[1]
    assert all(len(part) <= 255 and part not in ("", ".", "..") for path in paths for part in path.split("/"))


ROWS = st.integers(1, 20)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, seed=st.integers(0, 2**31), weight=st.integers(1, 2**20))
def test_any_values_come_back(lake: Lake, rows: int, seed: int, weight: int) -> None:
    rng = np.random.default_rng(seed)
    tables = tuple(tuple(f"v{i}" for i in range(size)) for size in rng.integers(0, 5, 4))
    codes = np.column_stack([rng.integers(0, len(table) + 1, rows) for table in tables]).astype(np.int32)
    columns = Columns(
        rng.integers(0, 2**32, (rows, 2), np.uint32).view(np.float32),
        rng.integers(0, 2**63, (rows, 3), np.uint64).view(np.float64),
        codes,
        tables,
    )
    batch = make_batch(
        ids=tuple(map(str, range(rows))),
        timestamps=rng.integers(0, 2**50, rows),
        columns=columns,
        weight=weight,
    )
    write_samples(lake, NAME, SCHEMA, [batch])
    assert_same(read(lake)[0], batch)


def test_numbers_that_hardly_repeat_are_not_compressed(lake: Lake, tmp_path: Path) -> None:
    names = ("measured", "in.cents", "mostly missing", "flag")
    schema = Schema(tuple(Feature(name, Kind.NUMERIC) for name in names), Task.BINARY)
    rng = np.random.default_rng(0)
    rows = 1_000
    block = rng.standard_normal((rows, 4)).astype(np.float32)
    block[:, 1] = rng.integers(100, 200, rows) / 100
    block[rng.random(rows) < 0.5, 2] = np.nan
    block[:, 3] = block[:, 3] > 0
    columns = Columns(block, rng.random((rows, 1)), rng.integers(0, 2, (rows, 1), np.int32), (("0", "1"),))
    ids = tuple(map(str, range(rows)))
    batch = Batch("fraud", "3", schema.schema_id, "", ids, np.arange(rows), columns)
    write_samples(lake, NAME, schema, [batch])
    group = pq.ParquetFile(tmp_path / NAME).metadata.row_group(0)
    codecs = {group.column(i).path_in_schema: group.column(i).compression for i in range(group.num_columns)}
    assert {codecs[name] for name in ("measured", "__score__")} == {"UNCOMPRESSED"}
    assert {codecs[name] for name in names[1:]} == {"ZSTD"}
    [again] = read_samples(lake, NAME, "fraud", "3", schema)
    assert_array_equal(again.columns.float32, block)
