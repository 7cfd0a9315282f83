"""The batches of the SDK are those that the server makes of the same rows sent as JSON."""

import json
import math
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.core.schema import Dtype, Feature, Kind, Schema, Task
from driftline.log import kafka_cluster
from driftline.log.batch_format import CONTENT_TYPE, FORMAT, decode_batch
from driftline.log.json_format import read_predictions
from driftline.log.json_rows import pack_predictions
from driftline.log.topics import LABELS, PREDICTION_SAMPLES
from driftline.sdk.batch import encode_rows, plan_of
from driftline.sdk.parcel import BATCH_TYPE, Content
from driftline.sdk.rows import Row, micros_of, plain_output, plain_score, snapshot
from driftline.sdk.transports.kafka import MAX_RECORD_BYTES, TOPICS
from tests.log.batches import NAN, assert_equal, schemas

FAR = 2**62
FULL = Schema(
    (
        Feature("amount", Kind.NUMERIC),
        Feature("country", Kind.CATEGORICAL),
        Feature("user", Kind.NUMERIC, Dtype.FLOAT64),
        Feature("new", Kind.BOOLEAN),
        Feature("since", Kind.DATETIME),
    ),
    Task.MULTICLASS,
    segments=("store",),
    time_zone="Europe/Berlin",
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5) | st.sampled_from(["NaN", "-Infinity", "7"])
values = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | texts
    | st.datetimes(timezones=st.none() | st.just(UTC)).map(datetime.isoformat)
    | st.lists(st.integers(), max_size=2)
)
scores = st.floats() | texts | st.none() | st.lists(st.floats() | st.none(), min_size=2, max_size=3)


def as_row(prediction):
    """Take a prediction as `Monitor.log` does."""
    return Row(
        prediction["prediction_id"],
        micros_of(prediction["timestamp"]),
        snapshot(prediction["features"]),
        plain_output(prediction.get("prediction")),
        plain_score(prediction.get("score")),
        prediction.get("entity_id"),
        prediction.get("group_id"),
        prediction.get("rank"),
        prediction.get("segments"),
        weight=1,
    )


def encode(rows, schema):
    return encode_rows(rows, schema, model_id="m", version="1", batch_id="b")


def of_json(predictions, schema):
    body = json.dumps({"model_id": "m", "version": "1", "predictions": predictions}).encode()
    (submission,), rejected = read_predictions(body)
    assert not rejected
    received = pack_predictions(submission, schema, batch_id="b", latest=FAR)
    assert not received.rejected
    return received.batch


def one(value, feature):
    schema = Schema((feature,), segments=())
    return decode_batch(encode([as_row(prediction("p", {feature.name: value}))], schema), schema).columns


def prediction(prediction_id, features, **fields):
    return {"prediction_id": prediction_id, "timestamp": "2024-01-01T00:00:00Z", "features": features, **fields}


@st.composite
def submissions(draw):
    schema = draw(schemas())
    names = [feature.name for feature in schema.features]
    rows = []
    for i in range(draw(st.integers(1, 4))):
        features = draw(st.fixed_dictionaries({}, optional=dict.fromkeys(names, values)))
        rows.append(
            prediction(
                f"p-{i}",
                features,
                prediction=draw(values.filter(lambda value: not isinstance(value, list))),
                score=draw(
                    st.floats() | texts | st.none() | st.lists(st.floats() | st.none(), min_size=2, max_size=3)
                ),
                entity_id=draw(st.none() | texts | st.integers()),
                group_id=draw(st.none() | texts),
                rank=draw(st.none() | st.integers(-5, 2**33) | st.booleans()),
                segments=draw(st.fixed_dictionaries({}, optional=dict.fromkeys(schema.segments, values))),
            )
        )
    return rows, schema


@given(submissions())
def test_the_same_rows_as_json_make_the_same_batch(sent):
    rows, schema = sent
    assert_equal(decode_batch(encode(list(map(as_row, rows)), schema), schema), of_json(rows, schema))


@given(submissions())
def test_rows_in_the_order_of_the_schema_are_those_by_name(sent):
    rows, schema = sent
    by_place = [
        row | {"features": [row["features"].get(feature.name) for feature in schema.features]} for row in rows
    ]
    assert encode(list(map(as_row, by_place)), schema) == encode(list(map(as_row, rows)), schema)


def test_a_row_of_an_array_is_the_row_of_its_values():
    schema = Schema(
        (Feature("a", Kind.NUMERIC), Feature("b", Kind.NUMERIC, Dtype.FLOAT64), Feature("c", Kind.BOOLEAN))
    )
    for dtype in (np.float64, np.float32, np.int64, object):
        array = np.array([3, 4, 1], dtype)
        batch = decode_batch(encode([as_row(prediction("p", array))], schema), schema)
        assert batch.columns.float32.tolist() == [[3, 1]]
        assert batch.columns.float64[0, 0] == 4


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float32(0.1), "0.1"),
        (np.float64(0.1), "0.1"),
        (np.int8(7), "7"),
        (np.bool_(True), "true"),
        (Decimal("1.50"), "1.5"),
        (date(2024, 1, 2), "2024-01-02"),
        ("a\x00b\ud800", "a\ufffdb?"),
        (pd.NA, None),
        (pd.NaT, None),
        (float("nan"), None),
        (np.float32("nan"), None),
    ],
)
def test_categories_of_any_library_have_one_text(value, text):
    columns = one(value, Feature("x", Kind.CATEGORICAL))
    assert columns.tables[0] == (() if text is None else (text,))


def test_a_float32_array_gives_the_categories_of_float32():
    schema = Schema((Feature("x", Kind.CATEGORICAL), Feature("y", Kind.NUMERIC)))
    batch = decode_batch(encode([as_row(prediction("p", np.array([0.1, 0.1], np.float32)))], schema), schema)
    assert batch.columns.tables[0] == ("0.1",)
    assert batch.columns.float32.tolist() == [[np.float32(0.1)]]


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (np.float32(1.5), 1.5),
        (np.int64(3), 3),
        (Decimal("2.5"), 2.5),
        (np.bool_(True), 1),
        (1e300, math.inf),
        ("12", NAN),
        (b"12", NAN),
        (pd.NA, NAN),
        (10**400, NAN),
        (1 + 2j, NAN),
        ({"a": 1}, NAN),
        (object(), NAN),
    ],
)
def test_numbers_are_read_and_everything_else_is_missing(value, number):
    np.testing.assert_equal(one(value, Feature("x", Kind.NUMERIC)).float32[0, 0], np.float32(number))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (datetime(1970, 1, 2, tzinfo=UTC), 86_400),
        (datetime(1970, 1, 1, 0, 0, 1), 1),
        (date(1970, 1, 2), 86_400),
        (pd.Timestamp("1970-01-01T00:00:01Z"), 1),
        (np.datetime64("1970-01-01T00:00:01", "ns"), 1),
        ("1970-01-01T01:00:01+01:00", 1),
        (1.5, 1.5),
        (True, NAN),
        (pd.NaT, NAN),
        (np.datetime64("NaT"), NAN),
        ("yesterday", NAN),
    ],
)
def test_datetimes_are_seconds_since_the_epoch(value, seconds):
    np.testing.assert_equal(one(value, Feature("x", Kind.DATETIME)).float64[0, 0], float(seconds))


def test_the_formats_and_topics_are_those_of_the_log():
    assert BATCH_TYPE == CONTENT_TYPE
    assert encode([as_row(prediction("p", {}))], Schema(()))[1:9] == b"\xa6format" + bytes([FORMAT])
    assert TOPICS == {Content.PREDICTIONS: PREDICTION_SAMPLES, Content.LABELS: LABELS}
    assert MAX_RECORD_BYTES == kafka_cluster.MAX_RECORD_BYTES


def test_a_plan_knows_the_places_of_all_columns():
    plan = plan_of(FULL)
    assert (plan.float32.names, plan.float32.positions) == (("amount", "new"), (0, 3))
    assert (plan.float64.names, plan.datetimes) == (("user", "since"), (False, True))
    assert (plan.categories.names, plan.segments, plan.classes) == (("country",), ("store",), True)
