"""Labels in frames: classes and numbers as predictions are, so that they match the labels that come later."""

from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from driftline.core.batch import hash_ids
from driftline.core.errors import InvalidFrame, InvalidSchema
from driftline.core.finding import Problem
from driftline.core.frame import infer_schema
from driftline.core.joining import name_class
from driftline.core.labelled import LabelledRows, labelled_columns, read_labelled
from driftline.core.schema import Feature, JoinKey, Kind, Schema, Task

BINARY, REGRESSION = Schema((), Task.BINARY), Schema((), Task.REGRESSION)
LIBRARIES = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "arrow": pa.table}


def read(frame: Any, schema: Schema = BINARY) -> LabelledRows:
    rows = read_labelled(frame, schema)
    assert rows is not None
    return rows


def labels(rows: LabelledRows) -> list[str | None]:
    return [None if np.isnan(code) else rows.classes[int(code)] for code in rows.truth]


@pytest.mark.parametrize(
    "values",
    [
        [True, False, None],
        [1, 0, None],
        [1.0, 0.0, None],
        ["yes", "no", None],
        ["1", "0", None],
        [2.5, 10.0, float("nan")],
    ],
)
@pytest.mark.parametrize("task", [Task.BINARY, Task.MULTICLASS])
@pytest.mark.parametrize("library", LIBRARIES)
def test_labels_are_the_classes_that_they_are_when_they_are_sent(
    values: list[Any], task: Task, library: str
) -> None:
    frame = LIBRARIES[library]({"label": values, "prediction": values})
    rows = read(frame, Schema((), task))
    sent = [None if value is None else name_class(value, task) for value in values]
    assert labels(rows) == sent
    np.testing.assert_array_equal(rows.truth, rows.prediction)
    assert rows.findings == ()


def test_labels_and_predictions_of_different_types_are_the_same_classes() -> None:
    rows = read(pa.table({"label": [True, False, True], "prediction": ["0", "1", "1"]}))
    assert labels(rows) == ["1", "0", "1"]
    assert [rows.classes[int(code)] for code in rows.prediction] == ["0", "1", "1"]


def test_numbers_are_read_and_what_is_none_is_counted() -> None:
    values = ["1.5", "x", None, "inf", "2"]
    rows = read(pa.table({"label": values, "prediction": [1.0, 2.0, 3.0, 4.0, 5.0]}), REGRESSION)
    np.testing.assert_array_equal(rows.truth, [1.5, np.nan, np.nan, np.nan, 2])
    assert rows.classes == ()
    assert {(found.column, found.problem, found.count) for found in rows.findings} == {
        ("label", Problem.NOT_A_NUMBER, 1)
    }
    numbers = read(pd.DataFrame({"label": [1, 2], "prediction": [1.0, 2.0]}), REGRESSION)
    assert numbers.truth.tolist() == [1, 2]


def test_what_belongs_to_a_label_comes_with_it() -> None:
    schema = Schema(
        (Feature("amount", Kind.NUMERIC), Feature("country", Kind.CATEGORICAL)),
        Task.BINARY,
        segments=("country", "shop"),
        join_key=JoinKey.ENTITY_ID,
        label="bad",
    )
    frame = pd.DataFrame(
        {
            "amount": ["not", "looked at"],
            "country": ["DE", None],
            "shop": ["a", "b"],
            "entity_id": ["c-17", None],
            "timestamp": [datetime(2026, 1, 1), datetime(2026, 1, 2)],
            "prediction": [1, 0],
            "score": [0.9, np.nan],
            "bad": [1, 1],
        }
    )
    rows = read(frame, schema)
    np.testing.assert_array_equal(rows.scores, [0.9, np.nan])
    assert rows.groups is not None
    assert rows.groups.tolist() == [int(hash_ids(("c-17",)).view(np.int64)[0]), 0]
    assert rows.timestamps is not None
    assert np.diff(rows.timestamps).tolist() == [86_400_000_000]
    assert [[*table, None][code] for table, code in zip(rows.tables, rows.segments[0], strict=True)] == ["DE", "a"]
    assert [[*table, None][code] for table, code in zip(rows.tables, rows.segments[1], strict=True)] == [None, "b"]


def test_a_ranking_has_lists_and_its_rank_where_there_is_no_score() -> None:
    schema = Schema((), Task.RANKING)
    frame = pa.table({"label": [3, 0, 1], "group_id": ["q1", "q1", None], "rank": [1, 2, 3]})
    rows = read(frame, schema)
    assert rows.groups is not None
    assert rows.groups[0] == rows.groups[1] != 0
    assert rows.groups[2] == 0
    assert rows.scores.tolist() == [-1, -2, -3]
    assert rows.truth.tolist() == [3, 0, 1]
    scored = read(frame.append_column("score", pa.array([0.1, 0.5, None])), schema)
    assert scored.scores.tolist() == [0.1, 0.5, -3]
    assert read(frame.drop_columns(["group_id"]), schema).groups is None


@pytest.mark.parametrize(
    ("frame", "schema"),
    [
        ({"prediction": [1]}, BINARY),
        ({"label": [1], "prediction": [1]}, Schema(())),
        ({"label": [1], "prediction": [1]}, Schema((), Task.BINARY, label="late")),
        ({"label": ["a"], "prediction": [1]}, Schema((Feature("label", Kind.CATEGORICAL),), Task.BINARY)),
        ({"label": ["a"], "prediction": [1]}, Schema((), Task.BINARY, segments=("label",))),
        ({"label": [1]}, Schema((), Task.BINARY, prediction="label")),
    ],
    ids=["no column", "no task", "another name", "a feature", "a segment", "the prediction"],
)
def test_without_a_column_of_labels_there_are_none(frame: dict[str, Any], schema: Schema) -> None:
    assert read_labelled(pa.table(frame), schema) is None


def test_labels_that_cannot_be_read_name_the_column() -> None:
    with pytest.raises(InvalidFrame, match="column 'label' holds list") as caught:
        read_labelled(pa.table({"label": [[1]], "prediction": [1]}), BINARY)
    assert caught.value.field == "label"


def test_the_label_is_never_a_feature() -> None:
    frame = pd.DataFrame({"amount": [1.0], "label": [1], "late": [0], "prediction": [1]})
    assert [feature.name for feature in infer_schema(frame).features] == ["amount", "late"]
    schema = infer_schema(frame, label="late")
    assert [feature.name for feature in schema.features] == ["amount", "label"]
    assert schema.label_column == "late"
    assert infer_schema(frame, categorical=["label"]).label_column is None
    ranked = pa.table({"x": [1], "group_id": ["a"], "rank": [1]})
    assert [feature.name for feature in infer_schema(ranked, task=Task.RANKING).features] == ["x"]
    assert len(infer_schema(ranked).features) == 3


def test_a_named_label_that_is_something_else_is_refused() -> None:
    for others in ({"segments": ("late",)}, {"prediction": "late"}, {"entity_id": "late"}):
        with pytest.raises(InvalidSchema, match="'late' is a feature, a segment or an output as well") as caught:
            Schema((), label="late", **others)
        assert caught.value.field == "label"
    with pytest.raises(InvalidSchema, match="leave `label` out"):
        Schema((Feature("late", Kind.NUMERIC),), label="late")


def test_a_schema_says_its_label_only_where_it_has_another_name() -> None:
    assert "label" not in Schema(()).to_dict()
    assert Schema((), label="label").schema_id == Schema(()).schema_id
    named = Schema((), label="late")
    assert named.to_dict()["label"] == "late"
    assert Schema.from_dict(named.to_dict()) == named
    assert named != Schema(())


def test_only_what_is_needed_is_read() -> None:
    assert labelled_columns(Schema(())) == ()
    assert labelled_columns(Schema((Feature("x", Kind.NUMERIC),), Task.BINARY, segments=("shop",))) == (
        "label",
        "prediction",
        "score",
        "timestamp",
        "shop",
    )
    assert "entity_id" in labelled_columns(Schema((), Task.BINARY, join_key=JoinKey.ENTITY_ID))
    assert {"group_id", "rank"} <= {*labelled_columns(Schema((), Task.RANKING))}
