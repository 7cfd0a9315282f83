"""Frames of every library into schemas and packed columns."""

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.core.category import category_text
from driftline.core.columns import check_columns
from driftline.core.errors import InvalidFrame, InvalidSchema
from driftline.core.finding import Finding, Problem
from driftline.core.frame import infer_schema, pack_frame
from driftline.core.moment import NO_TIME
from driftline.core.schema import Dtype, Feature, Kind, Schema, Task, layout
from driftline.core.times import localise

NUMERIC = Schema((Feature("x", Kind.NUMERIC),))
CATEGORY = Schema((Feature("x", Kind.CATEGORICAL),))
BOOLEAN = Schema((Feature("x", Kind.BOOLEAN),))
DATETIME = Schema((Feature("x", Kind.DATETIME),))

LIBRARIES = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "arrow": pa.table}


@pytest.fixture(params=LIBRARIES)
def make(request: pytest.FixtureRequest) -> Any:
    return LIBRARIES[request.param]


def kinds(schema: Schema) -> dict[str, Kind]:
    return {feature.name: feature.kind for feature in schema.features}


def dtypes(schema: Schema) -> dict[str, Dtype | None]:
    return {feature.name: feature.dtype for feature in schema.features}


def texts(packed: Any, position: int = 0) -> list[str | None]:
    table = (*packed.columns.tables[position], None)
    return [table[code] for code in packed.columns.codes[:, position]]


def numbers(frame: object, schema: Schema = NUMERIC, **options: Any) -> tuple[list[float], list[Finding]]:
    packed = pack_frame(frame, schema, **options)
    return packed.columns.float32[:, 0].tolist(), list(packed.findings)


# --- inference


def test_infers_each_kind(make: Any) -> None:
    frame = make(
        {
            "int": [1, 2],
            "float": [0.5, None],
            "flag": [True, False],
            "text": ["a", "b"],
            "when": [datetime(2026, 1, 1), datetime(2026, 1, 2)],
            "timestamp": [datetime(2026, 1, 1), datetime(2026, 1, 2)],
            "entity_id": ["e", "f"],
            "prediction": ["yes", "no"],
            "score": [0.1, 0.2],
            "prediction_id": ["p", "q"],
        }
    )
    schema = infer_schema(frame)
    assert kinds(schema) == {
        "int": Kind.NUMERIC,
        "float": Kind.NUMERIC,
        "flag": Kind.BOOLEAN,
        "text": Kind.CATEGORICAL,
        "when": Kind.DATETIME,
    }
    assert schema.task is Task.BINARY


def test_the_same_data_gives_the_same_schema_and_columns_in_every_library() -> None:
    data = {"a": [1.5, None, 3.0], "b": ["x", None, "y"], "c": [True, False, True], "d": [1, 2, 3]}
    schemas = [infer_schema(make(data)) for make in LIBRARIES.values()]
    assert len({schema.schema_id for schema in schemas}) == 1
    packed = [pack_frame(make(data), schemas[0]) for make in LIBRARIES.values()]
    for other in packed[1:]:
        np.testing.assert_array_equal(other.columns.float32, packed[0].columns.float32)
        np.testing.assert_array_equal(other.columns.codes, packed[0].columns.codes)
        assert other.columns.tables == packed[0].columns.tables == (("x", "y"),)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, 2**24], Dtype.FLOAT32),
        ([1, 2**24 + 1], Dtype.FLOAT64),
        ([-(2**24) - 1, 0], Dtype.FLOAT64),
        ([1.0, float(2**24 + 1), float("nan")], Dtype.FLOAT64),
        ([0.1, 1e39], Dtype.FLOAT64),
        ([0.1, 1e30], Dtype.FLOAT32),
        ([1.7e9 + 0.25, 1.7e9 + 3600.5], Dtype.FLOAT64),
        ([40.1, 41.7, float("inf")], Dtype.FLOAT32),
        ([float("inf"), float("nan")], Dtype.FLOAT32),
        ([5.5, 5.5], Dtype.FLOAT32),
    ],
)
def test_numbers_that_float32_cannot_tell_apart_travel_as_float64(values: list[float], dtype: Dtype) -> None:
    assert dtypes(infer_schema(pd.DataFrame({"x": values}))) == {"x": dtype}


def test_categories_and_enums_are_categorical() -> None:
    assert kinds(infer_schema(pd.DataFrame({"x": pd.Categorical([1, 2])})))["x"] is Kind.CATEGORICAL
    assert kinds(infer_schema(pl.DataFrame({"x": pl.Series(["a"], dtype=pl.Categorical)})))["x"] == "categorical"
    assert kinds(infer_schema(pl.DataFrame({"x": pl.Series(["a"], dtype=pl.Enum(["a"]))})))["x"] == "categorical"
    assert kinds(infer_schema(pa.table({"x": pa.array(["a"]).dictionary_encode()})))["x"] is Kind.CATEGORICAL


def test_forced_categories_and_segments() -> None:
    schema = infer_schema(pa.table({"zip": [1, 2], "store": [7, 8]}), categorical=["zip"], segments=["store"])
    assert kinds(schema) == {"zip": Kind.CATEGORICAL, "store": Kind.CATEGORICAL}
    assert schema.segments == ("store",)
    with pytest.raises(InvalidFrame, match=r"no column 'region'.*'zip', 'store'"):
        infer_schema(pa.table({"zip": [1], "store": [1]}), segments=["region"])


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1"] * 19 + ["broken"], Kind.NUMERIC),
        (["1.5", None, "-2e3"] * 9 + ["?"], Kind.NUMERIC),
        (["1"] * 8 + ["a", "b"], Kind.CATEGORICAL),
        (["1", "2"], Kind.CATEGORICAL),  # text on purpose
        (["01234"] * 19 + ["K1A"], Kind.CATEGORICAL),  # postal codes
        ([None, None], Kind.CATEGORICAL),
    ],
)
def test_text_with_numbers(values: list[str | None], kind: Kind) -> None:
    assert kinds(infer_schema(pa.table({"x": pa.array(values, pa.string())})))["x"] is kind


def test_objects_that_are_mostly_numbers_are_numeric() -> None:
    frame = pd.DataFrame({"x": pd.Series([1, 2.5, "broken", "7", None], dtype=object)})
    assert kinds(infer_schema(frame)) == {"x": Kind.NUMERIC}
    values, findings = numbers(frame)
    np.testing.assert_array_equal(values, [1, 2.5, np.nan, 7, np.nan])
    assert findings == [Finding("x", Problem.NOT_A_NUMBER, 1), Finding("x", Problem.NUMBERS_AS_TEXT, 1)]
    mostly_text = pd.DataFrame({"x": pd.Series([1, "a", "b"], dtype=object)})
    assert kinds(infer_schema(mostly_text)) == {"x": Kind.CATEGORICAL}
    assert texts(pack_frame(mostly_text, CATEGORY)) == ["1", "a", "b"]


@pytest.mark.parametrize(
    ("prediction", "task"),
    [
        ([0, 1], Task.BINARY),
        ([1, 1], Task.BINARY),
        ([True, False], Task.BINARY),
        (["a", "b"], Task.BINARY),
        (["a", "b", "c"], Task.MULTICLASS),
        ([0, 5], None),
        ([0.0, 1.0], None),
    ],
)
def test_infers_the_task(prediction: list[Any], task: Task | None) -> None:
    assert infer_schema(pl.DataFrame({"prediction": prediction})).task is task
    assert infer_schema(pl.DataFrame({"prediction": prediction}), task=Task.REGRESSION).task is Task.REGRESSION


def test_pandas_index_column_of_a_parquet_file_is_no_feature() -> None:
    assert kinds(infer_schema(pa.table({"x": [1], "__index_level_0__": [5]}))) == {"x": Kind.NUMERIC}
    with pytest.raises(InvalidSchema, match="reserved"):
        infer_schema(pa.table({"__mine": [1]}))


@pytest.mark.parametrize(
    "frame",
    [
        pa.table({"x": [[1], [2]]}),
        pa.table({"x": [{"a": 1}]}),
        pa.table({"x": [b"raw"]}),
        pl.DataFrame({"x": [[1.0]]}),
        pd.DataFrame({"x": [[1], [2]]}),
        pd.DataFrame({"x": pd.Series([b"raw", {"a": 1}, 3], dtype=object)}),
        pd.DataFrame({"x": [1j]}),
        pl.DataFrame({"x": pl.Series([object()], dtype=pl.Object)}),
    ],
)
def test_columns_that_cannot_be_monitored_are_named(frame: object) -> None:
    with pytest.raises(InvalidFrame, match=r"'x'.*leave it out") as caught:
        infer_schema(frame)
    assert caught.value.field == "x"
    with pytest.raises(InvalidFrame, match="'x'"):
        pack_frame(frame, NUMERIC)


def test_nested_columns_outside_the_schema_do_not_matter() -> None:
    assert numbers(pa.table({"x": [1.0], "other": [[1]]})) == ([1.0], [])


# --- the frame itself


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame([[1, 2]], columns=["x", "x"]),
        pd.DataFrame([[1, 2]], columns=[1, "1"]),
        pa.table([pa.array([1]), pa.array([2])], names=["x", "x"]),
    ],
)
def test_a_column_name_twice_is_refused(frame: object) -> None:
    for use in (infer_schema, lambda it: pack_frame(it, NUMERIC)):
        with pytest.raises(InvalidFrame, match="is there twice; rename or drop"):
            use(frame)


@pytest.mark.parametrize("thing", [{"x": [1]}, [1, 2], np.ones((2, 2)), None, pd.Series([1])])
def test_things_that_are_no_frames(thing: object) -> None:
    with pytest.raises(InvalidFrame, match="give a pandas, Polars or Arrow frame"):
        infer_schema(thing)


def test_a_lazy_frame_is_told_to_collect() -> None:
    with pytest.raises(InvalidFrame, match="collect"):
        infer_schema(pl.LazyFrame({"x": [1]}))


def test_column_names_that_are_numbers_become_text() -> None:
    frame = pd.DataFrame(np.arange(6.0).reshape(3, 2))
    schema = infer_schema(frame)
    assert list(kinds(schema)) == ["0", "1"]
    np.testing.assert_array_equal(pack_frame(frame, schema).columns.float32, np.arange(6).reshape(3, 2))


def test_a_record_batch_is_a_frame() -> None:
    assert numbers(pa.record_batch({"x": [1.0, 2.0]})) == ([1.0, 2.0], [])


def test_a_missing_column_is_named_with_what_is_there(make: Any) -> None:
    with pytest.raises(InvalidFrame, match="no column 'x'; it has 'y'") as caught:
        pack_frame(make({"y": [1]}), NUMERIC)
    assert caught.value.field == "x"
    with pytest.raises(InvalidFrame, match=r"it has .* and 30 more"):
        pack_frame(pa.table({f"c{i}": [1] for i in range(40)}), NUMERIC)


def test_missing_columns_can_be_packed_as_missing(make: Any) -> None:
    schema = Schema(
        (Feature("x", Kind.NUMERIC), Feature("c", Kind.CATEGORICAL), Feature("d", Kind.DATETIME)),
        segments=("s",),
    )
    packed = pack_frame(make({"y": [1, 2]}), schema, missing="null")
    check_columns(packed.columns, layout(schema))
    assert np.isnan(packed.columns.float32).all()
    assert np.isnan(packed.columns.float64).all()
    assert texts(packed, 0) == texts(packed, 1) == [None, None]
    assert {finding.column for finding in packed.findings} == {"x", "c", "d", "s"}
    assert {(finding.problem, finding.count) for finding in packed.findings} == {(Problem.MISSING_COLUMN, 2)}


def test_zero_rows_and_one_row(make: Any) -> None:
    frame = make({"x": [1.5], "c": ["a"], "timestamp": [datetime(2026, 1, 1)]})
    schema = infer_schema(frame)
    one = pack_frame(frame, schema)
    assert one.columns.rows == 1
    assert one.columns.float32.tolist() == [[1.5]]
    empty = frame[:0] if not isinstance(frame, pa.Table) else frame.slice(0, 0)
    assert infer_schema(empty) == schema
    none = pack_frame(empty, schema)
    check_columns(none.columns, layout(schema))
    assert none.columns.rows == 0
    assert none.timestamps is not None
    assert none.timestamps.shape == (0,)
    assert none.columns.tables == ((),)


def test_all_null_columns(make: Any) -> None:
    frame = make({"x": [None, None], "f": [float("nan"), float("nan")]})
    schema = infer_schema(frame)
    assert kinds(schema) == {"x": Kind.NUMERIC, "f": Kind.NUMERIC}
    packed = pack_frame(frame, schema)
    assert np.isnan(packed.columns.float32).all()
    assert packed.findings == ()
    assert texts(pack_frame(frame, CATEGORY)) == [None, None]
    assert np.isnan(pack_frame(frame, DATETIME).columns.float64).all()


def test_a_frame_without_features() -> None:
    frame = pd.DataFrame({"prediction": [1, 0], "score": [0.5, 0.25]})
    schema = infer_schema(frame)
    packed = pack_frame(frame, schema)
    assert packed.columns.float32.shape == (2, 0)
    assert packed.columns.float64.tolist() == [[0.5], [0.25]]
    assert texts(packed) == ["1", "0"]


# --- numbers


def test_infinities_are_kept_and_nulls_are_missing(make: Any) -> None:
    values, findings = numbers(make({"x": [float("inf"), float("-inf"), None, 2.0]}))
    np.testing.assert_array_equal(values, [np.inf, -np.inf, np.nan, 2])
    assert findings == []


def test_beyond_float32_is_infinite() -> None:
    assert numbers(pd.DataFrame({"x": [1e39, -1e39]}))[0] == [np.inf, -np.inf]


def test_text_where_numbers_are_expected(make: Any) -> None:
    values, findings = numbers(make({"x": ["1.5", " 2 ", "NaN", "-Infinity", "", "1_0", "abc", None]}))
    np.testing.assert_array_equal(values, [1.5, 2, np.nan, -np.inf, np.nan, np.nan, np.nan, np.nan])
    assert findings == [Finding("x", Problem.NOT_A_NUMBER, 3)]
    assert numbers(make({"x": ["1.5", "2", None]}))[1] == [Finding("x", Problem.NUMBERS_AS_TEXT, 2)]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([1, None, 3], pa.int64()), [1, np.nan, 3]),
        (pa.array([1, 255], pa.uint8()), [1, 255]),
        (pa.array([True, None, False]), [1, np.nan, 0]),
        (pa.array([Decimal("1.25"), None]), [1.25, np.nan]),
        (pa.array(np.array([1.5], np.float16)), [1.5]),
        (pa.array([timedelta(seconds=90), None]), [90, np.nan]),
        (pa.array([3600], pa.time32("s")), [3600]),
        (pa.array([1, 2, 1]).dictionary_encode(), [1, 2, 1]),
        (pa.chunked_array([[1.0], [2.0, None]]), [1, 2, np.nan]),
        (pa.chunked_array([], pa.float64()), []),
    ],
)
def test_arrow_numbers_of_every_type(array: Any, expected: list[float]) -> None:
    values, findings = numbers(pa.table({"x": array}))
    np.testing.assert_array_equal(values, expected)
    assert findings == []


def test_pandas_numbers_of_every_type() -> None:
    for series in (
        pd.Series([1, None, 3], dtype="Int64"),
        pd.Series([1, None, 3], dtype="float64"),
        pd.Series([1, None, 3], dtype="double[pyarrow]"),
        pd.Series([1, None, 3], dtype=object),
        pd.Series([Decimal(1), None, 3.0], dtype=object),
    ):
        np.testing.assert_array_equal(numbers(pd.DataFrame({"x": series}))[0], [1, np.nan, 3])
    assert numbers(pd.DataFrame({"x": [True, False]}), BOOLEAN)[0] == [1.0, 0.0]
    np.testing.assert_array_equal(
        numbers(pd.DataFrame({"x": pd.Series([True, None], dtype="boolean")}), BOOLEAN)[0], [1, np.nan]
    )


def test_text_where_booleans_are_expected(make: Any) -> None:
    values, findings = numbers(make({"x": ["true", "False", "1", "maybe"]}), BOOLEAN)
    np.testing.assert_array_equal(values, [1, 0, 1, np.nan])
    assert Finding("x", Problem.NOT_A_NUMBER, 1) in findings


def test_datetimes_where_numbers_are_expected_are_counted() -> None:
    values, findings = numbers(pa.table({"x": [datetime(2026, 1, 1), None]}))
    assert np.isnan(values).all()
    assert findings == [Finding("x", Problem.NOT_A_NUMBER, 1)]


@pytest.mark.parametrize("features", [1, 3, 300])
def test_row_major_and_column_major_sources_give_the_same_block(features: int) -> None:
    data = np.random.default_rng(0).normal(size=(5000, features))
    names = [f"f{i}" for i in range(features)]
    schema = Schema(tuple(Feature(name, Kind.NUMERIC) for name in names))
    by_row = pd.DataFrame(data, columns=names, copy=False)
    by_column = pd.DataFrame({name: data[:, i].copy() for i, name in enumerate(names)})
    for frame in (by_row, by_column, pl.from_pandas(by_column), pa.Table.from_pandas(by_column)):
        np.testing.assert_array_equal(pack_frame(frame, schema).columns.float32, data.astype(np.float32))


# --- categories


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["a", None, "b", "a"], ["a", None, "b", "a"]),
        ([1, 0, 1], ["1", "0", "1"]),
        ([1.0, 1.5, None], ["1", "1.5", None]),
        ([True, False, None], ["true", "false", None]),
        ([float("inf"), -0.0, 1e300], ["inf", "0", "1e+300"]),
        ([date(2026, 1, 2)], ["2026-01-02"]),
        (["", "ü", "日本"], ["", "ü", "日本"]),
    ],
)
def test_categories_have_one_text_in_every_library(make: Any, values: list[Any], expected: list[str]) -> None:
    assert texts(pack_frame(make({"x": values}), CATEGORY)) == expected


def test_float32_categories_are_written_as_people_write_them() -> None:
    for frame in (
        pd.DataFrame({"x": np.array([0.1, 2.0], np.float32)}),
        pl.DataFrame({"x": np.array([0.1, 2.0], np.float32)}),
    ):
        assert texts(pack_frame(frame, CATEGORY)) == ["0.1", "2"]


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"x": pd.Categorical(["b", None, "a"], categories=["z", "a", "b"])}),
        pl.DataFrame({"x": pl.Series(["b", None, "a"], dtype=pl.Categorical)}),
        pl.DataFrame({"x": pl.Series(["b", None, "a"], dtype=pl.Enum(["z", "a", "b"]))}),
        pa.table({"x": pa.DictionaryArray.from_arrays([2, None, 1], ["z", "a", "b"])}),
        pa.table({"x": pa.DictionaryArray.from_arrays([0, 3, 1], ["b", "a", "z", None])}),
        pa.table({"x": pa.chunked_array([pa.array(["b", None]), pa.array(["a"])])}),
    ],
)
def test_categories_leave_unused_texts_out(frame: object) -> None:
    packed = pack_frame(frame, CATEGORY)
    assert texts(packed) == ["b", None, "a"]
    assert set(packed.columns.tables[0]) == {"a", "b"}


def test_dictionaries_that_differ_between_chunks() -> None:
    chunks = [pa.array(["a", "b"]).dictionary_encode(), pa.array(["b", "c"]).dictionary_encode()]
    packed = pack_frame(pa.table({"x": pa.chunked_array(chunks)}), CATEGORY)
    assert texts(packed) == ["a", "b", "b", "c"]


def test_categories_of_integers_in_a_pandas_category() -> None:
    assert texts(pack_frame(pd.DataFrame({"x": pd.Categorical([2, 1, None])}), CATEGORY)) == ["2", "1", None]


def test_objects_of_different_types_as_categories() -> None:
    frame = pd.DataFrame({"x": pd.Series([1, 1.0, "1", True, pd.NA, float("nan"), "\ud800"], dtype=object)})
    packed = pack_frame(frame, CATEGORY)
    assert texts(packed) == ["1", "1", "1", "true", None, None, "?"]
    assert packed.columns.tables == (("1", "true", "?"),)


def test_a_hundred_thousand_categories() -> None:
    packed = pack_frame(pl.DataFrame({"x": [f"v{i}" for i in range(100_000)]}), CATEGORY)
    assert packed.columns.codes[-1, 0] == 99_999
    assert len(packed.columns.tables[0]) == 100_000


def test_segments_that_are_no_features_are_packed_after_the_categories() -> None:
    schema = Schema((Feature("x", Kind.CATEGORICAL),), segments=("region", "x"))
    packed = pack_frame(pa.table({"region": ["eu", None], "x": ["a", "b"]}), schema)
    assert texts(packed, 0) == ["a", "b"]
    assert texts(packed, 1) == ["eu", None]


@given(st.one_of(st.booleans(), st.integers(-(2**53), 2**53), st.floats(), st.text()))
def test_a_value_and_its_column_have_the_same_text(value: Any) -> None:
    assert texts(pack_frame(pd.DataFrame({"x": [value]}), CATEGORY)) == [category_text(value)]
    assert texts(pack_frame(pl.DataFrame({"x": [value]}, strict=False), CATEGORY)) == [category_text(value)]


# --- times


def test_datetimes_are_seconds_since_the_epoch(make: Any) -> None:
    moment = datetime(2026, 3, 1, 12, 30, 0, 250_000)
    packed = pack_frame(make({"x": [moment, None]}), DATETIME)
    np.testing.assert_array_equal(packed.columns.float64[:, 0], [moment.replace(tzinfo=UTC).timestamp(), np.nan])


def test_naive_datetimes_are_in_the_schemas_zone_and_aware_ones_in_their_own(make: Any) -> None:
    schema = Schema((Feature("x", Kind.DATETIME),), time_zone="Europe/Berlin")
    naive = pack_frame(make({"x": [datetime(2026, 7, 1, 12)]}), schema).columns.float64[0, 0]
    aware = pack_frame(make({"x": [datetime(2026, 7, 1, 10, tzinfo=UTC)]}), schema).columns.float64[0, 0]
    assert naive == aware == datetime(2026, 7, 1, 10, tzinfo=UTC).timestamp()


def test_dates_numbers_and_text_as_datetimes(make: Any) -> None:
    expected = datetime(2026, 7, 1, tzinfo=UTC).timestamp()
    for values in (
        [date(2026, 7, 1)],
        [expected],
        [int(expected)],
        ["2026-07-01"],
        ["2026-07-01T00:00:00Z"],
        ["2026-07-01 02:00:00+02:00"],
    ):
        assert pack_frame(make({"x": values}), DATETIME).columns.float64[0, 0] == expected
    packed = pack_frame(make({"x": ["2026-07-01", "2026-07-01T00:00:00Z", "soon", None]}), DATETIME)
    np.testing.assert_array_equal(packed.columns.float64[:, 0], [expected, expected, np.nan, np.nan])
    assert packed.findings == (Finding("x", Problem.NOT_A_DATETIME, 1),)


def test_objects_as_datetimes() -> None:
    values = [datetime(2026, 7, 1), "2026-07-01", date(2026, 7, 1), None, pd.NaT, 5]
    packed = pack_frame(pd.DataFrame({"x": pd.Series(values, dtype=object)}), DATETIME)
    expected = datetime(2026, 7, 1, tzinfo=UTC).timestamp()
    np.testing.assert_array_equal(packed.columns.float64[:3, 0], [expected] * 3)
    assert np.isnan(packed.columns.float64[3:, 0]).all()
    assert packed.findings == (Finding("x", Problem.NOT_A_DATETIME, 1),)


@pytest.mark.parametrize(
    ("unit", "turn"), [("s", 2**64 // 10**6), ("ms", 2**64 // 10**3), ("s", 2**62), ("ms", -(2**62))]
)
@pytest.mark.parametrize("zone", [None, "UTC"])
def test_times_beyond_reach_do_not_wrap_into_plausible_ones(unit: str, turn: int, zone: str | None) -> None:
    given = {"s": 1, "ms": 1000}[unit] * 1_700_000_000
    column = pa.array([given, given + turn, None], pa.timestamp(unit, zone))
    packed = pack_frame(pa.table({"x": column, "timestamp": column}), DATETIME)
    np.testing.assert_array_equal(packed.columns.float64[:, 0], [1.7e9, np.nan, np.nan])
    assert packed.timestamps is not None
    assert packed.timestamps.tolist() == [1_700_000_000_000_000, NO_TIME, NO_TIME]
    assert packed.findings == (
        Finding("x", Problem.NOT_A_DATETIME, 1),
        Finding("timestamp", Problem.NO_TIMESTAMP, 2),
    )


def test_times_that_have_no_calendar_or_no_zone_are_categories_all_the_same() -> None:
    for column in (
        pa.array([2**62, None], pa.timestamp("us")),
        pa.array([0, None], pa.timestamp("us", "No/Where")),
        pa.array([2**31 - 1, None], pa.date32()),
    ):
        text, missing = texts(pack_frame(pa.table({"x": column}), CATEGORY))
        assert text
        assert missing is None


def test_durations_as_datetimes_are_counted() -> None:
    packed = pack_frame(pa.table({"x": [timedelta(1), None]}), DATETIME)
    assert packed.findings == (Finding("x", Problem.NOT_A_DATETIME, 1),)


def test_timestamps_are_exact_microseconds(make: Any) -> None:
    moment = datetime(2026, 3, 1, 12, 30, 0, 123_457, tzinfo=UTC)
    packed = pack_frame(make({"timestamp": [moment, None]}), Schema(()))
    assert packed.timestamps is not None
    assert packed.timestamps.tolist() == [int(moment.timestamp()) * 1_000_000 + 123_457, NO_TIME]
    assert packed.findings == (Finding("timestamp", Problem.NO_TIMESTAMP, 1),)


def test_a_frame_without_timestamps_and_one_with_numbers_as_timestamps(make: Any) -> None:
    assert pack_frame(make({"x": [1]}), NUMERIC).timestamps is None
    with pytest.raises(InvalidFrame, match="'timestamp' holds numbers") as caught:
        pack_frame(make({"timestamp": [1_700_000_000]}), Schema(()))
    assert caught.value.field == "timestamp"


@pytest.mark.parametrize("key", ["Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"])
def test_localise_agrees_with_the_zone_database(key: str) -> None:
    zone = ZoneInfo(key)
    walls = [datetime(2026, 1, 1) + timedelta(minutes=17 * i) for i in range(31_000)]
    micros = np.array(walls, "datetime64[us]").astype(np.int64)
    expected = [round(wall.replace(tzinfo=zone).timestamp() * 1e6) for wall in walls[::97]]
    assert localise(micros, zone)[::97].tolist() == expected


def test_localise_keeps_missing_and_far_away_times() -> None:
    zone = ZoneInfo("Europe/Berlin")
    assert localise(np.array([NO_TIME]), zone).tolist() == [NO_TIME]
    assert localise(np.array([2**62]), zone).tolist() == [2**62]


# --- prediction and score


def test_prediction_and_score_lie_where_the_layout_says() -> None:
    frame = pd.DataFrame({"x": [1.0], "p": [3.5], "s": [0.25]})
    schema = Schema((Feature("x", Kind.NUMERIC),), Task.REGRESSION, prediction="p", score="s")
    assert pack_frame(frame, schema).columns.float64.tolist() == [[3.5, 0.25]]
    absent = pack_frame(frame[["x"]], schema)
    assert np.isnan(absent.columns.float64).all()
    assert absent.findings == ()
    classes = Schema((Feature("x", Kind.NUMERIC),), Task.BINARY, prediction="p", score="s")
    assert texts(pack_frame(frame, classes)) == ["3.5"]
    assert texts(pack_frame(frame[["x"]], classes)) == [None]


def test_neither_pandas_nor_polars_is_needed() -> None:
    program = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pandas", "polars"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
import pyarrow as pa
from driftline.core.frame import infer_schema, pack_frame
table = pa.table({"x": [1.5], "c": ["a"]})
print(pack_frame(table, infer_schema(table)).columns.float32.tolist())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[[1.5]]"
