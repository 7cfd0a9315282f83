"""Scores by class in frames of any library: one list a row."""

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from driftline.core.class_scores import split_scores
from driftline.core.errors import InvalidFrame
from driftline.core.frame import pack_frame
from driftline.core.labelled import read_labelled
from driftline.core.schema import Schema, Task

LISTS = [[0.25, 0.75], [0.5, None], [None, None]]
EXPECTED = [[0.25, 0.75], [0.5, np.nan], [np.nan, np.nan]]
FRAMES = {
    "arrow": pa.table({"score": LISTS}),
    "arrow of chunks": pa.concat_tables([pa.table({"score": LISTS[:1]}), pa.table({"score": LISTS[1:]})]),
    "fixed size": pa.table({"score": pa.array(LISTS, pa.list_(pa.float32(), 2))}),
    "pandas": pd.DataFrame({"score": LISTS}),
    "pandas of arrays": pd.DataFrame({"score": [np.array(row, float) for row in LISTS]}),
    "polars": pl.DataFrame({"score": LISTS}),
    "polars of fixed size": pl.DataFrame({"score": LISTS}, schema={"score": pl.Array(pl.Float64, 2)}),
}


@pytest.mark.parametrize("name", FRAMES)
def test_they_are_split_from_the_largest(name: str) -> None:
    frame, scores = split_scores(FRAMES[name], "score")
    np.testing.assert_array_equal(scores, EXPECTED)
    assert type(frame) is type(FRAMES[name])
    packed = pack_frame(FRAMES[name], Schema(()))
    np.testing.assert_array_equal(packed.class_scores, EXPECTED)
    np.testing.assert_array_equal(packed.columns.float64[:, 1], [0.75, 0.5, np.nan])


@pytest.mark.parametrize(
    "frame",
    [
        pa.table({"score": [0.5]}),
        pa.table({"x": [[0.5]]}),
        pd.DataFrame({"score": ["0.5", None]}),
        pd.DataFrame({"x": [1]}),
        pl.DataFrame({"score": [0.5]}),
    ],
)
def test_a_column_without_lists_stays(frame: Any) -> None:
    same, scores = split_scores(frame, "score")
    assert same is frame
    assert scores is None


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ([[0.5], [0.5, 0.5]], "column 'score': every row needs a score for each of the 2 classes"),
        ([[0.5], None], "each of the 1 classes"),
        ([["a"], ["b"]], "column 'score' holds list<.*>; scores are numbers"),
    ],
)
def test_lists_of_no_use_are_refused(lists: Any, message: str) -> None:
    for frame in (pa.table({"score": lists}), pd.DataFrame({"score": lists})):
        with pytest.raises(InvalidFrame, match=message) as caught:
            pack_frame(frame, Schema(()))
        assert caught.value.field == "score"


def test_of_two_classes_the_second_ones_is_the_score() -> None:
    frame = pa.table({"score": LISTS, "prediction": [1, 0, 0], "label": [1, 1, 0]})
    rows = read_labelled(frame, Schema((), Task.BINARY))
    assert rows is not None
    np.testing.assert_array_equal(rows.scores, [0.75, 0.5, np.nan])
    assert rows.class_scores is None
    several = read_labelled(frame, Schema((), Task.MULTICLASS))
    assert several is not None
    np.testing.assert_array_equal(several.class_scores, EXPECTED)
