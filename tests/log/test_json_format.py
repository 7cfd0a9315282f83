"""JSON and NDJSON: rows by version, packed columns, and what bad rows get."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batches import FULL, OUTPUTS, PLAIN, REGRESSION, SCHEMA, assert_equal, batches, texts
from hypothesis import given
from hypothesis import strategies as st
from json_schema import valid

from driftline.core.batch import Batch
from driftline.core.columns import check_columns
from driftline.core.errors import InvalidPayload
from driftline.core.finding import Finding, Problem
from driftline.core.moment import NO_TIME
from driftline.core.schema import Dtype, Feature, Kind, Schema, layout
from driftline.log import received
from driftline.log.json_format import FIELDS, Submission, prediction_schema, read_predictions
from driftline.log.json_rows import json_row, pack_predictions
from driftline.log.received import LATEST, Reason, Received, TooManyRows, accept_rows

NOW = 1_795_420_800_000_000  # 2026-11-23T08:00:00Z
HOUR = 3_600_000_000
DOCS = Path(__file__).parents[2] / "docs" / "wire.md"


def row(**changes: Any) -> dict[str, Any]:
    its: dict[str, Any] = {
        "prediction_id": "a",
        "timestamp": "2026-11-23T08:00:00Z",
        "features": {"amount": 12.5, "country": "DE", "new_customer": True, "signed_up": "2026-01-01"},
        "prediction": 1,
        "score": 0.83,
    }
    return {key: value for key, value in (its | changes).items() if value is not ...}


def pack(*rows: dict[str, Any], schema: Schema = SCHEMA, latest: int = NOW + HOUR) -> Received:
    submission = Submission("fraud", "3", rows, range(len(rows)))
    return pack_predictions(submission, schema, batch_id="b", latest=latest)


def packed(*rows: dict[str, Any], schema: Schema = SCHEMA) -> Batch:
    received = pack(*rows, schema=schema)
    assert received.rejected == ()
    assert received.batch is not None
    check_columns(received.batch.columns, layout(schema))
    return received.batch


def body(*rows: Any, **named: Any) -> bytes:
    return json.dumps({"model_id": "fraud", "version": "3", "predictions": rows} | named).encode()


# --- from bytes to rows


def test_an_object_of_predictions() -> None:
    submissions, rejected = read_predictions(body(row(), row(prediction_id="b")))
    assert [(its.model_id, its.version, len(its.rows), list(its.indexes)) for its in submissions] == [
        ("fraud", "3", 2, [0, 1])
    ]
    assert rejected == []


def test_one_event_that_names_its_version() -> None:
    (submission,), _ = read_predictions(json.dumps(row(model_id="m", version=7)).encode(), "application/json")
    assert (submission.model_id, submission.version, len(submission.rows)) == ("m", "7", 1)


@pytest.mark.parametrize("content_type", ["application/x-ndjson", "application/NDJSON; charset=utf-8"])
def test_lines_of_several_versions(content_type: str) -> None:
    lines = [row(version="1"), row(version="2"), row(version="1"), "junk", row(model_id=5)]
    data = b"\n".join(json.dumps(line).encode() for line in lines) + b"\n\nnot json\r\n"
    submissions, rejected = read_predictions(data, content_type, model_id="fraud")
    assert [(its.version, list(its.indexes)) for its in submissions] == [("1", [0, 2]), ("2", [1])]
    assert [(its.index, its.reason_code) for its in rejected] == [
        (3, Reason.NOT_AN_OBJECT),
        (4, Reason.NO_MODEL),
        (5, Reason.NOT_AN_OBJECT),
    ]
    assert rejected[2].raw == b"not json"
    assert "not JSON" in rejected[2].reason
    assert rejected[1].prediction_id == "a"


def test_names_come_from_the_row_then_the_body_then_the_query() -> None:
    data = body(row(version="9"), row())
    submissions, _ = read_predictions(data, model_id="query", version="query")
    assert [(its.model_id, its.version) for its in submissions] == [("fraud", "9"), ("fraud", "3")]
    nameless = json.dumps({"predictions": [row()]}).encode()
    (submission,), _ = read_predictions(nameless, model_id="query", version="query")
    assert (submission.model_id, submission.version) == ("query", "query")


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ({}, "model_id"),
        ({"model_id": ""}, "model_id"),
        ({"model_id": "m"}, "version"),
        ({"model_id": "m", "version": ""}, "version"),
    ],
)
def test_rows_that_name_no_version(named: dict[str, Any], reason: str) -> None:
    submissions, (rejected,) = read_predictions(json.dumps({"predictions": [row()]} | named).encode())
    assert submissions == []
    assert rejected.reason_code is Reason.NO_MODEL
    assert rejected.reason.startswith(f"{reason} is missing")
    assert json.loads(rejected.raw) == row()


def test_rows_that_are_no_objects_lose_nothing_else() -> None:
    (submission,), rejected = read_predictions(body(1, row(), None, [row()]))
    assert list(submission.indexes) == [1]
    assert [its.index for its in rejected] == [0, 2, 3]
    assert [its.raw for its in rejected[:2]] == [b"1", b"null"]


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"[1]", "body"),
        (b'"x"', "body"),
        (b"\xff", "body"),
        (b"[" * 100_000, "body"),
        (b"{}", "predictions"),
        (b'{"predictions": {}}', "predictions"),
    ],
)
def test_bodies_that_cannot_be_read(data: bytes, field: str) -> None:
    with pytest.raises(InvalidPayload) as caught:
        read_predictions(data, model_id="m", version="1")
    assert caught.value.field == field


def test_an_unknown_content_type() -> None:
    with pytest.raises(InvalidPayload, match="'text/csv' is not application/json"):
        read_predictions(b"", "text/csv")


def test_what_python_writes_is_read_though_it_is_no_json() -> None:
    data = body(row(features={"amount": float("nan")}), row(prediction_id="\ud800"), row(score=10**400))
    (submission,), rejected = read_predictions(data)
    assert rejected == []
    received = pack(*submission.rows)
    assert received.batch is not None
    assert received.batch.ids == ("a", "?", "a")
    assert np.isnan(received.batch.columns.float32[0, 0])
    assert received.findings == (Finding("__score__", Problem.NOT_A_NUMBER, 1),)


_keys = st.sampled_from(["predictions", "features", "model_id", "prediction_id", "timestamp", "score", "x"])
_values = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("2026-01-01T00:00:00Z")
_json = st.recursive(_values, lambda its: st.lists(its) | st.dictionaries(_keys, its))


@given(st.binary(max_size=60) | _json.map(lambda content: json.dumps(content).encode()))
def test_any_body_is_read_or_refused(data: bytes) -> None:
    for content_type in ("application/json", "application/x-ndjson"):
        try:
            submissions, _ = read_predictions(data, content_type, model_id="m", version="1")
        except InvalidPayload:
            continue
        for submission in submissions:
            pack_predictions(submission, SCHEMA, batch_id="b", latest=NOW)


# --- from rows to columns


def test_packs_every_kind() -> None:
    batch = packed(row(entity_id="c-17", group_id=4, rank=2, segments={"store": "eu-1"}))
    assert (batch.model_id, batch.version, batch.batch_id) == ("fraud", "3", "b")
    assert batch.schema_id == SCHEMA.schema_id
    assert batch.ids == ("a",)
    assert batch.timestamps.tolist() == [NOW]
    assert batch.columns.float32.tolist() == [[12.5, 1.0]]
    assert batch.columns.float64.tolist() == [[1_767_225_600.0, 0.83]]
    assert texts(batch.columns) == [["DE"], ["1"], ["eu-1"]]
    assert (batch.entity_ids, batch.group_ids) == (("c-17",), ("4",))
    assert batch.ranks is not None
    assert batch.ranks.tolist() == [2]
    assert batch.weight == 1


def test_what_is_not_sent_is_missing() -> None:
    batch = packed(row(features={}, prediction=..., score=...), row(features={"amount": None}, prediction=None))
    assert np.isnan(batch.columns.float32).all()
    assert np.isnan(batch.columns.float64[:, 0]).all()
    assert texts(batch.columns) == [[None, None], [None, None], [None, None]]
    assert batch.entity_ids is batch.group_ids is batch.ranks is batch.class_scores is None


def test_a_model_that_predicts_numbers() -> None:
    its = {"features": {"area": 80.5}}
    batch = packed(row(**its, prediction=1e5), row(**its, prediction="much"), schema=REGRESSION)
    np.testing.assert_array_equal(batch.columns.float64, [[1e5, 0.83], [np.nan, 0.83]])


def test_a_model_watched_on_its_outputs_only_needs_no_features() -> None:
    assert packed(row(features=...), schema=OUTPUTS).columns.float32.shape == (1, 0)


@pytest.mark.parametrize(
    ("value", "number", "wrong"),
    [
        (3, 3.0, 0),
        (True, 1.0, 0),
        (None, np.nan, 0),
        ("NaN", np.nan, 0),
        ("Infinity", np.inf, 0),
        ("-Infinity", -np.inf, 0),
        ("12.5", np.nan, 1),
        ("", np.nan, 1),
        ([1], np.nan, 1),
        ({"a": 1}, np.nan, 1),
        (10**400, np.nan, 1),
        (1e39, np.inf, 0),
    ],
)
@pytest.mark.parametrize("name", ["amount", "large"])
def test_numbers_and_what_is_none(value: Any, number: float, wrong: int, name: str) -> None:
    large = Feature("large", Kind.NUMERIC, Dtype.FLOAT64)
    schema = Schema((Feature("amount", Kind.NUMERIC), large, Feature("z", Kind.NUMERIC)))
    received = pack(row(features={name: value, "z": 1.5}), row(features={name: 2}), schema=schema)
    assert received.batch is not None
    block = received.batch.columns.float32 if name == "amount" else received.batch.columns.float64
    expected = value if name == "large" and isinstance(value, float) else number
    np.testing.assert_array_equal(block[:, 0], [expected, 2])
    assert received.batch.columns.float32[0, 1] == 1.5
    assert received.findings == ((Finding(name, Problem.NOT_A_NUMBER, wrong),) if wrong else ())


def test_one_column_of_numbers() -> None:
    assert packed(row(features={"area": 7}), schema=REGRESSION).columns.float32.tolist() == [[7.0]]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("DE", "DE"),
        (1, "1"),
        (1.0, "1"),
        (1.5, "1.5"),
        (True, "true"),
        (None, None),
        ("", ""),
        ("a\x00", "a\ufffd"),
    ],
)
def test_categories_have_the_same_text_as_in_frames(value: Any, text: str | None) -> None:
    batch = packed(row(features={"country": value}, prediction=value))
    assert texts(batch.columns)[:2] == [[text], [text]]


def test_categories_that_are_nested_are_counted() -> None:
    received = pack(
        row(features={"country": ["DE"]}), row(features={"country": "FR"}), row(features={"country": 1})
    )
    assert received.batch is not None
    assert texts(received.batch.columns)[0] == [None, "FR", "1"]
    assert received.findings == (Finding("country", Problem.NOT_A_CATEGORY, 1),)


def test_texts_that_become_equal_are_one_category() -> None:
    its = [row(features={"country": value}) for value in (1, "1", 1.0, True, "\x00", "\ufffd")]
    batch = packed(*its)
    assert texts(batch.columns)[0] == ["1", "1", "1", "true", "\ufffd", "\ufffd"]
    assert batch.columns.tables[0] == ("1", "true", "\ufffd")


@pytest.mark.parametrize(
    ("value", "seconds", "wrong"),
    [
        ("2026-01-01T00:00:00Z", 1_767_225_600.0, 0),
        ("2026-01-01", 1_767_225_600.0, 0),
        (1_767_225_600, 1_767_225_600.0, 0),
        (None, np.nan, 0),
        ("soon", np.nan, 1),
        (True, np.nan, 1),
        ([], np.nan, 1),
        ("Infinity", np.nan, 1),
    ],
)
def test_datetimes(value: Any, seconds: float, wrong: int) -> None:
    received = pack(row(features={"signed_up": value}))
    assert received.batch is not None
    np.testing.assert_array_equal(received.batch.columns.float64[0, 0], seconds)
    assert received.findings == ((Finding("signed_up", Problem.NOT_A_DATETIME, 1),) if wrong else ())


def test_datetimes_without_a_zone_are_in_the_models() -> None:
    schema = Schema((Feature("at", Kind.DATETIME),), time_zone="Europe/Berlin")
    batch = packed(row(features={"at": "2026-07-01T12:00:00"}), schema=schema)
    assert batch.columns.float64[0, 0] == 1_782_900_000.0


def test_scores_of_classes() -> None:
    received = pack(row(score=[0.2, 0.7, 0.1]), row(score=0.5), row(score=[0.5]), row(score=["NaN", 0.3, "x"]))
    assert received.batch is not None
    np.testing.assert_array_equal(received.batch.columns.float64[:, 1], [0.7, 0.5, np.nan, 0.3])
    np.testing.assert_array_equal(
        received.batch.class_scores, [[0.2, 0.7, 0.1], [np.nan] * 3, [np.nan] * 3, [np.nan, 0.3, np.nan]]
    )
    assert [finding.count for finding in received.findings] == [1, 1]
    with pytest.raises(InvalidPayload, match="at most 10000 classes"):
        pack(row(score=[0.0] * 10_001))


def test_ranks_that_are_none() -> None:
    received = pack(row(rank=0), row(rank="1"), row(rank=-1), row(rank=2**31), row())
    assert received.batch is not None
    assert received.batch.ranks is not None
    assert received.batch.ranks.tolist() == [0, -1, -1, -1, -1]
    assert received.findings == (Finding("rank", Problem.NOT_A_NUMBER, 3),)


def test_names_that_the_schema_does_not_know_are_counted() -> None:
    received = pack(row(features={"amonut": 1}), row(features={"amonut": 1, "amount": 2}, predicton=1))
    assert set(received.findings) == {
        Finding("amonut", Problem.UNKNOWN_FEATURE, 2),
        Finding("predicton", Problem.UNKNOWN_FEATURE, 1),
    }
    many = pack(row(features={f"x{i}": 1 for i in range(1000)}))
    assert len(many.findings) == 100


def test_segments_that_are_no_object() -> None:
    assert texts(packed(row(segments="eu")).columns)[2] == [None]


# --- rows that cannot be placed


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"prediction_id": ...}, Reason.NO_ID, "prediction_id is missing"),
        ({"prediction_id": ""}, Reason.NO_ID, "prediction_id is missing"),
        ({"prediction_id": True}, Reason.NO_ID, "prediction_id is missing"),
        ({"prediction_id": ["a"]}, Reason.NO_ID, "prediction_id is missing"),
        ({"prediction_id": "x" * 1025}, Reason.BAD_ID, "1 to 1024 characters"),
        ({"prediction_id": "x\x00"}, Reason.BAD_ID, "no NUL"),
        ({"timestamp": ...}, Reason.NO_TIME, "timestamp is missing"),
        ({"timestamp": "yesterday"}, Reason.BAD_TIME, "'yesterday' is not ISO 8601"),
        ({"timestamp": "x" * 999}, Reason.BAD_TIME, r"x\.\.\. is not"),
        ({"timestamp": 1_795_420_800}, Reason.BAD_TIME, "1795420800 is not ISO 8601 text"),
        ({"timestamp": {}}, Reason.BAD_TIME, "not ISO 8601"),
        ({"timestamp": "1969-12-31T23:59:59Z"}, Reason.BAD_TIME, "before 1970"),
        ({"timestamp": "2026-11-23T08:00:00"}, Reason.TIME_WITHOUT_ZONE, "has no zone"),
        ({"timestamp": "2026-11-23"}, Reason.TIME_WITHOUT_ZONE, "has no zone"),
        ({"timestamp": "2026-11-23T09:00:00.000001Z"}, Reason.TIME_IN_FUTURE, "sender's clock"),
        ({"timestamp": "9999-12-31T23:59:59-12:00"}, Reason.TIME_IN_FUTURE, "sender's clock"),
        ({"features": ...}, Reason.BAD_FEATURES, "must be an object"),
        ({"features": [1, 2]}, Reason.BAD_FEATURES, "must be an object"),
    ],
)
def test_a_row_that_cannot_be_placed_is_rejected_alone(change: dict[str, Any], code: Reason, words: str) -> None:
    bad = row(**change)
    received = pack(row(prediction_id="first"), bad, row(prediction_id="last"))
    assert received.batch is not None
    assert received.batch.ids == ("first", "last")
    (rejected,) = received.rejected
    assert (rejected.index, rejected.reason_code) == (1, code)
    assert json.loads(rejected.raw) == bad
    assert re.search(words, rejected.reason)
    alone = pack(bad)
    assert alone.batch is None
    assert len(alone.rejected) == 1


@pytest.mark.parametrize(
    "timestamp",
    ["2026-11-23T08:00:00Z", "2026-11-23T09:00:00+01:00", "2026-11-23 08:00:00.000000+00:00", "20261123T080000Z"],
)
def test_timestamps_that_mean_the_same(timestamp: str) -> None:
    assert packed(row(timestamp=timestamp)).timestamps.tolist() == [NOW]


def test_the_allowance_for_the_future_is_inclusive_and_microseconds_are_kept() -> None:
    assert packed(row(timestamp="2026-11-23T09:00:00Z")).timestamps.tolist() == [NOW + HOUR]
    assert packed(row(timestamp="2026-11-23T08:00:00.123457Z")).timestamps.tolist() == [NOW + 123_457]


@pytest.mark.parametrize("given_id", [{"request_id": "r"}, {"prediction_id": None, "request_id": "r"}])
def test_request_id_is_a_name_for_prediction_id(given_id: dict[str, Any]) -> None:
    assert packed(row(**{"prediction_id": ...} | given_id)).ids == ("r",)


def test_ids_that_are_integers_are_text() -> None:
    assert packed(row(prediction_id=7), row(prediction_id=0)).ids == ("7", "0")


# --- packed batches, row by row


def test_rows_of_a_batch_are_refused_alone() -> None:
    times = np.array([NOW, NO_TIME, -1, NOW + 2, LATEST, 5], np.int64)
    six = FULL.take(np.array([0, 0, 0, 0, 0, 0]))
    batch = replace(six, timestamps=times, ids=("a", "b", "c", "d", "e", ""))
    received = accept_rows(batch, latest=NOW + 1, raw=lambda i: b"%d" % i)
    assert received.batch is not None
    assert received.batch.ids == ("a",)
    assert [(its.index, its.prediction_id, its.reason_code, its.raw) for its in received.rejected] == [
        (1, "b", Reason.NO_TIME, b"1"),
        (2, "c", Reason.BAD_TIME, b"2"),
        (3, "d", Reason.TIME_IN_FUTURE, b"3"),
        (4, "e", Reason.TIME_IN_FUTURE, b"4"),
        (5, None, Reason.NO_ID, b"5"),
    ]
    nothing = accept_rows(batch.take(np.array([1])), latest=NOW, raw=lambda _: b"")
    assert nothing.batch is None


def test_a_good_batch_is_accepted_as_it_is() -> None:
    received = accept_rows(FULL, latest=NOW, raw=lambda _: b"")
    assert received == Received(FULL, ())
    assert accept_rows(FULL.take(np.array([], np.intp)), latest=NOW, raw=lambda _: b"") == Received(None, ())


@pytest.mark.parametrize(("batch", "schema"), [(FULL, SCHEMA), (PLAIN, REGRESSION)])
def test_a_row_written_as_json_is_read_the_same(batch: Batch, schema: Schema) -> None:
    lines = b"\n".join(json_row(batch, schema, i) for i in range(batch.rows))
    (submission,), rejected = read_predictions(lines, "application/x-ndjson")
    assert rejected == []
    received = pack_predictions(submission, schema, batch_id=batch.batch_id, latest=2**60)
    assert received.findings == received.rejected == ()
    assert received.batch is not None
    assert_equal(replace(received.batch, weight=batch.weight), batch)


@given(batches())
def test_any_row_of_any_batch_can_be_written_as_json(case: tuple[Batch, Schema]) -> None:
    batch, schema = case
    for i in range(batch.rows):
        assert isinstance(json.loads(json_row(batch, schema, i), parse_constant=pytest.fail), dict)


# --- the JSON Schema


def test_the_schema_has_the_fields_that_are_read() -> None:
    assert set(prediction_schema()["$defs"]["prediction"]["properties"]) == FIELDS


@pytest.mark.parametrize(
    "content",
    [
        json.loads(body(row())),
        json.loads(body()),
        row(model_id="fraud", version="3"),
        json.loads(body(row(prediction_id=..., request_id="r", score=[0.1, "NaN"], rank=1, segments={"s": "x"}))),
        json.loads(body(row(features={"amount": "Infinity", "country": None, "new_customer": True}))),
    ],
)
def test_what_the_schema_allows_is_read(content: Any) -> None:
    schema = prediction_schema()
    assert valid(content, schema, schema)
    submissions, rejected = read_predictions(json.dumps(content).encode())
    assert rejected == []
    for submission in submissions:
        assert pack(*submission.rows).rejected == ()


@pytest.mark.parametrize(
    "content",
    [
        {},
        [],
        {"predictions": {}},
        json.loads(body(1)),
        json.loads(body(row(prediction_id=...))),
        json.loads(body(row(prediction_id=""))),
        json.loads(body(row(prediction_id="x" * 1025))),
        json.loads(body(row(timestamp=...))),
        json.loads(body(row(timestamp=5))),
        json.loads(body(row(features=[1]))),
    ],
)
def test_what_the_schema_forbids_is_refused(content: Any) -> None:
    schema = prediction_schema()
    assert not valid(content, schema, schema)
    try:
        submissions, rejected = read_predictions(json.dumps(content).encode())
    except InvalidPayload:
        return
    assert rejected or any(pack(*submission.rows).rejected for submission in submissions)


def test_the_examples_of_the_documentation_are_valid() -> None:
    schema = prediction_schema()
    page = DOCS.read_text().partition("\n## Labels")[0]
    blocks = [part.partition("```")[0] for part in page.split("```json\n")[1:]]
    assert len(blocks) >= 2
    for block in blocks:
        content = json.loads(block)
        assert valid(content, schema, schema)
        (submission,), rejected = read_predictions(json.dumps(content).encode())
        assert rejected == []
        assert pack(*submission.rows).rejected == ()


@pytest.mark.parametrize(
    ("data", "content_type", "says"),
    [
        (b'{"predictions":[' + b"7," * 200_000 + b"7]}", "application/json", "has 200,001 predictions; at most"),
        (b'{"predictions":[' + b"{}," * 1_000_000 + b"{}]}", "application/json", "1,000,003 objects and lists;"),
        (b"7\n" * 200_001, "application/x-ndjson", "200,001 lines;"),
        (b"7\r" * 200_001, "application/x-ndjson", "200,001 lines;"),
        (b"{}" * 500_000 + b"[" * 500_001, "application/x-ndjson", "1,000,001 objects and lists;"),
    ],
)
def test_very_many_rows_are_refused_before_they_are_read(data: bytes, content_type: str, says: str) -> None:
    with pytest.raises(TooManyRows, match=re.escape(says)) as error:
        read_predictions(data, content_type)
    assert "send it in several requests" in str(error.value)


def test_as_many_rows_as_may_be_are_read() -> None:
    _, rejected = read_predictions(b"7\n" * 200_000, "application/x-ndjson")
    assert len(rejected) == 200_000


def test_a_batch_with_very_many_bad_rows_is_refused_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(received, "MAX_ROWS", 3)
    batch = packed(*(row(prediction_id=str(i)) for i in range(5)))
    made: list[int] = []

    def raw(index: int) -> bytes:
        made.append(index)
        return b"{}"

    with pytest.raises(InvalidPayload, match="too many rows cannot be used, the first because timestamp"):
        accept_rows(batch, latest=0, raw=raw)
    assert made == [0]
    three = batch.take(np.arange(3))
    assert len(accept_rows(three, latest=0, raw=raw).rejected) == 3


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"version": 3.0}, "version is 3.0; write the model's version as text"),
        ({"version": True}, "version is true; write the model's version as text"),
        ({"model_id": 7}, "model_id is 7; write the name of a model as text"),
        ({"model_id": ["m"] * 99}, 'model_id is ["m","m","m","m","m","m","m","m","m",...; write the name'),
        ({"version": None}, "version is missing: the model's version, as text"),
        ({"model_id": ""}, "model_id is missing: the name of a model, as text"),
    ],
)
def test_names_that_are_no_text_are_shown(changes: dict[str, Any], says: str) -> None:
    submissions, (rejected,) = read_predictions(body(row(**changes)))
    assert submissions == []
    assert rejected.reason.startswith(says)
    assert rejected.reason_code == Reason.NO_MODEL
