"""Batches for the tests of the log: a small one with everything in it, and hypothesis strategies."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from driftline.core.batch import Batch
from driftline.core.columns import Columns
from driftline.core.schema import Feature, Kind, Schema, Task, layout

SCHEMA = Schema(
    (
        Feature("amount", Kind.NUMERIC, unit="EUR"),
        Feature("country", Kind.CATEGORICAL),
        Feature("new_customer", Kind.BOOLEAN),
        Feature("signed_up", Kind.DATETIME),
    ),
    Task.BINARY,
    segments=("country", "store"),
)
REGRESSION = Schema((Feature("area", Kind.NUMERIC),), Task.REGRESSION)
OUTPUTS = Schema((), Task.BINARY)
NAN = float("nan")

FULL = Batch(
    model_id="fraud",
    version="3",
    schema_id=SCHEMA.schema_id,
    batch_id="0b5e",
    ids=("a-1", "a-2", "ü-3"),
    timestamps=np.array([1_763_884_800_000_000, 1_763_884_800_000_001, 0], np.int64),
    columns=Columns(
        np.array([[12.5, 1], [NAN, 0], [np.inf, NAN]], np.float32),
        np.array([[1.7e9, 0.83], [NAN, NAN], [0.25, 0.5]]),
        np.array([[0, 0, 1], [2, 1, 1], [1, 2, 0]], np.int32),
        (("DE", "FR"), ("1", "0"), ("eu-1", "eu-2")),
    ),
    weight=100,
    entity_ids=("c-17", None, "c-18"),
    group_ids=("g", "g", None),
    ranks=np.array([0, 1, -1], np.int32),
    class_scores=np.array([[0.17, 0.83], [NAN, NAN], [0.5, 0.5]]),
)
PLAIN = Batch(
    model_id="houses",
    version="2026-11",
    schema_id=REGRESSION.schema_id,
    batch_id="b",
    ids=("x", "y"),
    timestamps=np.array([1, 2], np.int64),
    columns=Columns(
        np.array([[80.5], [120]], np.float32), np.array([[1e5, NAN], [2e5, NAN]]), np.empty((2, 0), np.int32), ()
    ),
)


def assert_equal(one: Batch, other: Batch) -> None:
    """Compare batches by what they say: categories by their texts."""
    for name in ("model_id", "version", "schema_id", "batch_id", "ids", "weight", "entity_ids", "group_ids"):
        assert getattr(one, name) == getattr(other, name), name
    for name in ("timestamps", "ranks", "class_scores"):
        mine, theirs = getattr(one, name), getattr(other, name)
        assert (mine is None) == (theirs is None), name
        if mine is not None:
            assert mine.dtype == theirs.dtype
            np.testing.assert_array_equal(mine, theirs)
    for name in ("float32", "float64"):
        np.testing.assert_array_equal(getattr(one.columns, name), getattr(other.columns, name))
        assert getattr(one.columns, name).dtype == np.dtype(name)
    assert texts(one.columns) == texts(other.columns)


def texts(columns: Columns) -> list[list[str | None]]:
    """Give the texts of each code column."""
    return [
        [(*table, None)[code] for code in codes]
        for table, codes in zip(columns.tables, columns.codes.T.tolist(), strict=True)
    ]


_names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=8
).filter(lambda name: not name.startswith("__"))


@st.composite
def schemas(draw: st.DrawFn) -> Schema:
    names = draw(st.lists(_names, max_size=6, unique=True))
    features = tuple(Feature(name, draw(st.sampled_from(Kind))) for name in names)
    extra = draw(st.lists(_names.filter(lambda name: name not in names), max_size=2, unique=True))
    return Schema(features, draw(st.none() | st.sampled_from(Task)), tuple(extra))


@st.composite
def batches(draw: st.DrawFn) -> tuple[Batch, Schema]:
    schema = draw(schemas())
    plan = layout(schema)
    rows = draw(st.integers(0, 5))

    def each(values: st.SearchStrategy[Any], count: int = rows) -> list[Any]:
        return draw(st.lists(values, min_size=count, max_size=count))

    floats = st.floats(width=32)
    doubles = st.floats()
    tables = [draw(st.lists(_names, max_size=3, unique=True)) for _ in plan.codes]
    codes = [each(st.integers(0, len(table))) for table in tables]
    optional = st.none() | _names
    classes = draw(st.none() | st.integers(0, 3))
    return Batch(
        model_id=draw(_names),
        version=draw(_names),
        schema_id=schema.schema_id,
        batch_id=draw(_names),
        ids=tuple(each(_names)),
        timestamps=np.array(each(st.integers(-(2**63), 2**63 - 1)), np.int64),
        columns=Columns(
            np.array(each(floats, rows * len(plan.float32)), np.float32).reshape(rows, len(plan.float32)),
            np.array(each(doubles, rows * len(plan.float64)), np.float64).reshape(rows, len(plan.float64)),
            np.array(codes, np.int32).reshape(len(plan.codes), rows).T,
            tuple(map(tuple, tables)),
        ),
        weight=draw(st.integers(1, 2**20)),
        entity_ids=draw(st.none() | st.just(tuple(each(optional)))),
        group_ids=draw(st.none() | st.just(tuple(each(optional)))),
        ranks=draw(st.none() | st.just(np.array(each(st.integers(-1, 9)), np.int32))),
        class_scores=None
        if classes is None
        else np.array(each(doubles, rows * classes), np.float64).reshape(rows, classes),
    ), schema
