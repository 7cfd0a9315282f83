"""The sampler: what it keeps, by which weight, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
import xxhash

from driftline.core.moment import from_micros
from driftline.core.sampling import keep
from driftline.core.schema import JoinKey
from driftline.core.slices import SLICE
from driftline.log.batch_format import CONTENT_TYPE, encode_batch
from driftline.log.errors import OffsetConflict, RecordsLost
from driftline.log.postgres_log import PostgresRelay
from driftline.log.record import NewRecord
from driftline.log.topics import PREDICTION_LOGS, PREDICTION_SAMPLES
from driftline.settings import Settings
from driftline.store.database import Database
from driftline.store.sampling import announce_n
from driftline.workers import refused_records, sampler, slicing
from tests.workers.plant import (
    HOUR,
    MONDAY,
    SCHEMA,
    Plant,
    assert_equal,
    count_at_once,
    make_batch,
    make_reference,
)
from tests.workers.source import (
    FIRST,
    HEADERS,
    batches,
    kept,
    log,
    logged,
    prediction,
    running,
    sample,
    samples,
    slice_at,
)

BY_ENTITY = replace(SCHEMA, join_key=JoinKey.ENTITY_ID)


@pytest.fixture(autouse=True)
def told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "_IDLE_S", 0.0)


def announce(plant: Plant, n: int, *, since: int = 0, model_id: str = "fraud") -> None:
    with plant.database.transaction() as conn:
        announce_n(conn, model_id, "3", n)
    plant.execute(
        "UPDATE sampling_rates SET since = to_timestamp(%s) WHERE model_id = %s AND n = %s",
        since / 1e6,
        model_id,
        n,
    )


def reasons(plant: Plant) -> list[tuple[str, int]]:
    return [(letter.reason_code, letter.rows) for letter in plant.letters()]


def cap(plant: Plant, rows: int) -> None:
    plant.settings = Settings(sampler_slice_rows=rows)


def test_all_of_little_traffic_is_kept_with_weight_1(plant: Plant) -> None:
    batch = make_batch(range(300), FIRST + np.arange(300))
    log(plant, *logged(batch))
    sample(plant)
    assert kept(plant) == dict.fromkeys(batch.ids, 1)
    (record,) = samples(plant)
    assert (record.key, dict(record.headers)) == (
        b"fraud/3", {"model": "fraud", "version": "3", "content-type": CONTENT_TYPE},
    )  # fmt: skip
    assert plant.letters() == []


def test_sampled_windows_equal_those_of_predictions_sent_directly(plant: Plant) -> None:
    plant.register("direct")
    plant.refer(make_reference(), "direct")
    batch = make_batch(range(400), FIRST + np.arange(400) * 10**7, shift=0.3, seed=3)
    plant.send(replace(batch, model_id="direct"))
    log(plant, *logged(batch), appended=FIRST + HOUR)
    sample(plant)
    plant.drain()
    assert plant.windows().keys() == plant.windows("direct").keys()
    for start in plant.windows():
        assert_equal(plant.counted(start), plant.counted(start, "direct"))


def test_json_and_the_batch_format_give_the_same(plant: Plant) -> None:
    batch = make_batch(range(60), FIRST + np.arange(60), seed=4)
    rows = [batch.take(np.array([row])) for row in range(batch.rows)]
    packed = [
        NewRecord(row.ids[0].encode(), encode_batch(row, SCHEMA), HEADERS | {"content-type": CONTENT_TYPE})
        for row in rows
    ]
    log(plant, *packed[:30], *logged(batch)[30:])
    sample(plant)
    plant.drain()
    assert plant.letters() == []
    assert_equal(plant.counted(MONDAY), count_at_once(make_reference(), [batch]))


def test_more_than_a_slice_may_hold_raises_the_weight(plant: Plant) -> None:
    cap(plant, 100)
    batch = make_batch(range(2_000), FIRST)
    log(plant, *logged(batch))
    sample(plant)
    found = kept(plant)
    (n,) = set(found.values())
    assert n in (16, 32, 64)
    assert 0 < len(found) <= 100
    assert found.keys() == {text for text in batch.ids if keep(text, n)}
    assert sum(keep(text, n // 2) for text in batch.ids) > 100


def test_n_begins_at_the_announced_one(plant: Plant) -> None:
    announce(plant, 5)
    batch = make_batch(range(500), FIRST)
    log(plant, *logged(batch))
    sample(plant)
    assert kept(plant) == {text: 5 for text in batch.ids if keep(text, 5)}


def test_each_slice_has_the_n_that_was_in_force_when_it_began(plant: Plant) -> None:
    """However late it is sampled: labels were tested with the smallest N since then."""
    plant.execute("UPDATE sampling_rates SET since = to_timestamp(0)")
    announce(plant, 3, since=slice_at(1))
    announce(plant, 7, since=slice_at(2.5))
    for number in range(4):
        log(
            plant,
            *logged(make_batch([f"{number}-{i}" for i in range(80)], FIRST)),
            appended=slice_at(number + 0.9),
        )
    sample(plant)
    found = kept(plant)
    weights = {number: {w for text, w in found.items() if text.startswith(f"{number}-")} for number in range(4)}
    assert weights == {0: {1}, 1: {3}, 2: {3}, 3: {7}}


def test_versions_and_slices_do_not_share_their_room(plant: Plant) -> None:
    cap(plant, 50)
    plant.register("calm")
    log(plant, *logged(make_batch(range(1_000), FIRST)), *logged(make_batch(range(40), FIRST, model_id="calm")))
    log(plant, *logged(make_batch([f"later-{i}" for i in range(45)], FIRST)), appended=slice_at(1))
    sample(plant)
    weights = {(batch.model_id, len(batch.ids) > 39): batch.weight for batch in batches(plant)}
    assert {weight for (model, _), weight in weights.items() if model == "calm"} == {1}
    assert sum(text.startswith("later-") for text in kept(plant)) == 45


def test_an_id_sent_twice_in_a_slice_is_there_once(plant: Plant) -> None:
    cap(plant, 20)
    log(plant, *(prediction("p", score=score / 100) for score in range(50)), prediction("q"))
    sample(plant)
    assert kept(plant) == {"p": 1, "q": 1}
    assert batches(plant)[0].columns.float64[0, -1] == 0.0


def test_partitions_are_packed_together(database: Database, plant: Plant) -> None:
    three = Plant(database, plant.folder, partitions=3)
    for partition in range(3):
        log(three, *logged(make_batch([f"{partition}-{i}" for i in range(20)], FIRST)), partition=partition)
    sample(three)
    assert [batch.rows for batch in batches(three)] == [60]


def test_entities_are_kept_or_dropped_as_a_whole(plant: Plant) -> None:
    plant.register("churn", schema=BY_ENTITY)
    announce(plant, 4, model_id="churn")
    headers = HEADERS | {"model": "churn"}
    log(
        plant,
        *(
            prediction(f"{entity}/{i}", headers=headers | {"entity": f"c-{entity}"}, **fields)
            for entity in range(50)
            for i, fields in enumerate([{}, {"entity_id": f"c-{entity}"}, {"prediction_id": None}])
        ),
    )
    sample(plant)
    found = [batch for batch in batches(plant, BY_ENTITY) if batch.rows]
    entities = [entity for batch in found for entity in batch.entity_ids or ()]
    assert sorted(entities) == sorted([f"c-{e}" for e in range(50) if keep(f"c-{e}", 4)] * 3)
    assert {batch.weight for batch in found} == {4}
    assert plant.letters() == []


def test_predictions_keyed_by_their_entity_are_all_there(plant: Plant) -> None:
    plant.register("churn", schema=BY_ENTITY)
    headers = HEADERS | {"model": "churn", "entity": "c-1"}
    records = [prediction(f"p-{i}", key=b"c-1", headers=headers) for i in range(5)]
    log(plant, *records, *records)
    sample(plant)
    assert kept(plant, BY_ENTITY) == {f"p-{i}": 1 for i in range(5)}


def test_an_open_slice_is_not_handed_over(plant: Plant) -> None:
    with running(plant) as worker:
        log(plant, prediction("a"), prediction("b"), appended=slice_at(0))
        log(plant, prediction("c"), appended=slice_at(0.5))
        plant.execute("UPDATE log_partitions SET last_append = to_timestamp(%s)", slice_at(0.6) / 1e6)
        worker._told_at = float("inf")  # the log is not asked whether more can come
        worker.step()
        assert kept(plant) == {}
        log(plant, prediction("d"), appended=slice_at(1))
        worker.step()
        assert kept(plant).keys() == {"a", "b", "c"}
        worker._told_at = float("-inf")
        worker.step()
        assert kept(plant).keys() == {"a", "b", "c", "d"}


BAD = {
    "malformed_record": [
        NewRecord(b"x", b"", HEADERS),
        NewRecord(b"x", b"\xff\x00", HEADERS),
        NewRecord(b"x", b"[1]", HEADERS),
        NewRecord(b"x", b"[" * 100_000, HEADERS),
        NewRecord(b"x", b'{"predictions": []}', HEADERS),
        NewRecord(b"x", b"{}", HEADERS | {"content-type": "text/csv"}),
        NewRecord(b"x", b"\x80", HEADERS | {"content-type": CONTENT_TYPE}),
        NewRecord(
            b"0", encode_batch(make_batch(range(2), FIRST), SCHEMA), HEADERS | {"content-type": CONTENT_TYPE}
        ),
        NewRecord(
            b"0",
            encode_batch(make_batch([0], FIRST, weight=2), SCHEMA),
            HEADERS | {"content-type": CONTENT_TYPE},
        ),
        prediction("wide", score=[0.1] * 20_000),
    ],
    "wrong_key": [
        prediction("x", key=b"y"),
        prediction("x", key=b"\xff", prediction_id=None),
        prediction("x", model_id="other"),
        prediction("x", version=4),
        NewRecord(b"y", encode_batch(make_batch(["x"], FIRST), SCHEMA), HEADERS | {"content-type": CONTENT_TYPE}),
    ],
    "no_timestamp": [prediction("x", timestamp=None)],
    "invalid_timestamp": [prediction("x", timestamp="yesterday")],
    "timestamp_in_future": [prediction("x", timestamp=from_micros(FIRST + HOUR + SLICE + 1).isoformat())],
    "invalid_features": [prediction("x", features=7)],
    "invalid_prediction_id": [prediction("x" * 2_000)],
    "no_key": [prediction("x", key=b"")],
    "no_model": [prediction("x", headers={}), prediction("x", headers={"model": "fraud"})],
    "unknown_version": [
        prediction("x", headers=HEADERS | {"version": "4"}),
        prediction("x", headers=HEADERS | {"model": "nobody's"}),
    ],
    "record_too_large": [prediction("x", note="y" * slicing.MAX_RECORD_BYTES)],
}


@pytest.mark.parametrize(
    ("code", "record"), [(code, record) for code, records in BAD.items() for record in records]
)
def test_a_bad_record_is_kept_and_the_good_ones_go_through(plant: Plant, code: str, record: NewRecord) -> None:
    good = [prediction(f"good-{i}") for i in range(6)]
    offset = log(plant, *good[:3], record, *good[3:]) + 3
    sample(plant)
    assert kept(plant).keys() == {f"good-{i}" for i in range(6)}
    (letter,) = plant.letters()
    assert (letter.reason_code, letter.topic, letter.partition, letter.log_offset) == (
        code, PREDICTION_LOGS, 0, offset,
    )  # fmt: skip
    assert (letter.payload, letter.record_key, letter.headers) == (record.payload, record.key, record.headers)
    assert letter.reason


def test_a_prediction_with_other_classes_costs_nobody_the_scores(plant: Plant) -> None:
    log(plant, prediction("a", score=[0.2, 0.8]), prediction("b", score=[0.1] * 9), prediction("c", score=0.7))
    sample(plant)
    shapes = {batch.ids: batch.class_scores is not None and batch.class_scores.shape for batch in batches(plant)}
    assert shapes == {("a",): (1, 2), ("b",): (1, 9), ("c",): False}


def test_what_the_payload_leaves_out_is_taken_from_the_record(plant: Plant) -> None:
    headers = HEADERS | {"timestamp": from_micros(FIRST + 5).isoformat()}
    log(plant, prediction("a", headers=headers, prediction_id=None, timestamp=None))
    sample(plant)
    (batch,) = batches(plant)
    assert (batch.ids, batch.timestamps.tolist()) == (("a",), [FIRST + 5])


def test_an_entity_that_is_missing_or_another(plant: Plant) -> None:
    plant.register("churn", schema=BY_ENTITY)
    headers = HEADERS | {"model": "churn"}
    log(plant, prediction("a", headers=headers, entity_id="c-1"))
    log(plant, prediction("b", headers=headers | {"entity": "c-2"}, entity_id="c-1"))
    sample(plant)
    letters = plant.letters()
    assert sorted(letter.reason_code for letter in letters) == ["no_entity", "wrong_key"]
    assert any(
        "header 'entity' is missing: labels of model 'churn' come by entity" in each.reason for each in letters
    )


def test_very_many_refused_records_are_counted(plant: Plant) -> None:
    more = 180
    log(plant, *(prediction(str(i), headers=HEADERS | {"version": "9"}) for i in range(more)))
    log(plant, prediction("good"))
    sample(plant)
    whole = refused_records.KEPT_WHOLE
    assert reasons(plant) == [("unknown_version", 1)] * whole + [("unknown_version", more - whole)]
    rest = plant.letters()[-1]
    assert (rest.model_id, rest.model_version, rest.payload) == ("fraud", "9", b"")
    assert f"offsets {whole} to {more - 1} of partition 0" in rest.reason
    assert kept(plant).keys() == {"good"}


def test_names_without_end_take_no_memory(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refused_records, "_MAX_KINDS", 5)
    monkeypatch.setattr(slicing, "_MAX_UNKNOWN", 10)
    log(plant, *(prediction(str(i), headers=HEADERS | {"model": f"m{i}"}) for i in range(100)))
    sample(plant)
    assert sum(rows for _, rows in reasons(plant)) == 100
    assert len(plant.letters()) == 5 + refused_records.KEPT_WHOLE + 1


def test_large_refused_records_take_bounded_memory(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refused_records, "_MAX_BYTES", 10_000)
    log(plant, *(prediction(str(i), headers={}, note="x" * 4_000) for i in range(10)))
    sample(plant)
    assert reasons(plant) == [("no_model", 1)] * 2 + [("no_model", 8)] or sum(r for _, r in reasons(plant)) == 10
    assert len(plant.letters()) < 5


def test_more_of_one_entity_than_any_n_makes_room_for(plant: Plant) -> None:
    plant.register("churn", schema=BY_ENTITY)
    cap(plant, 10)
    entity = next(f"e{i}" for i in range(10**8) if xxhash.xxh3_64_intdigest(f"e{i}".encode()) < 2**44)
    headers = HEADERS | {"model": "churn", "entity": entity}
    log(plant, *(prediction(str(i), headers=headers) for i in range(25)))
    sample(plant)
    assert kept(plant, BY_ENTITY) == {str(i): 2**20 for i in range(10)}
    assert reasons(plant) == [("too_many_of_a_key", 1)] * 15


def test_a_version_is_known_from_the_next_slice_on(plant: Plant) -> None:
    with running(plant) as worker:
        log(plant, prediction("a", headers=HEADERS | {"model": "new"}))
        worker.step()
        plant.register("new")
        log(plant, prediction("b", headers=HEADERS | {"model": "new"}), appended=slice_at(1))
        worker.step()
    assert kept(plant).keys() == {"b"}
    assert reasons(plant) == [("unknown_version", 1)]


def test_records_deleted_before_they_were_read_are_said(plant: Plant) -> None:
    log(plant, *(prediction(str(i)) for i in range(10)))
    plant.execute("DELETE FROM log_records WHERE topic = %s AND log_offset < 7", PREDICTION_LOGS)
    sample(plant)
    sample(plant)
    assert kept(plant).keys() == {"7", "8", "9"}
    (letter,) = plant.letters()
    assert (letter.reason_code, "offsets 0 to 6" in letter.reason) == ("log_records_lost", True)


def test_records_deleted_while_it_runs_are_said(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    log(plant, *(prediction(str(i)) for i in range(5)))
    with running(plant) as worker:
        worker.step()
        log(plant, *(prediction(str(i)) for i in range(5, 10)), appended=slice_at(1))
        plant.execute("DELETE FROM log_records WHERE topic = %s AND log_offset < 8", PREDICTION_LOGS)
        with monkeypatch.context() as patch:

            def deleted(*_: object) -> None:
                raise RecordsLost("records 5 to 7 were deleted before they were read")

            patch.setattr(PostgresRelay, "read", deleted)  # as Kafka says it
            worker.step()
        worker.step()
    assert kept(plant).keys() == {"0", "1", "2", "3", "4", "8", "9"}
    assert [letter.reason_code for letter in plant.letters()] == ["log_records_lost"]


def test_records_that_are_deleted_before_a_slice_is_read_again_are_counted_once(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    log(plant, *(prediction(str(i)) for i in range(10)))
    log(plant, *(prediction(str(i)) for i in range(10, 20)), appended=slice_at(1))
    delete = "DELETE FROM log_records WHERE topic = %s AND log_offset < %s"

    def fail(*_: object) -> None:
        raise OffsetConflict("given to another worker")

    plant.execute(delete, PREDICTION_LOGS, 3)
    with running(plant) as worker, monkeypatch.context() as patch:
        patch.setattr(PostgresRelay, "hand_over", fail)
        worker.step()
        assert [(letter.reason_code, letter.rows) for letter in plant.letters()] == [("log_records_lost", 3)]
    plant.execute(delete, PREDICTION_LOGS, 12)
    sample(plant)
    assert kept(plant).keys() == {str(i) for i in range(12, 20)}
    assert reasons(plant) == [("log_records_lost", 12)]


def test_losses_within_a_slice_are_one_letter() -> None:
    slices = slicing.PartitionSlices(0, 0, lambda *_: None, slicing.Bounds(10, 1_000, 0))
    for first in (3, 9):
        slices.skip_lost(first)
        slices.next_offset += 1  # a record was read in between
    assert list(slices.harvest().refused) == []
    slices.complete(FIRST)
    (letter,) = slices.harvest().refused
    assert (letter.rows, letter.log_offset) == (8, 0)
    assert "8 records of partition 0, between offsets 0 and 8, were deleted" in letter.reason
    assert list(slices.harvest().refused) == []


def test_nothing_is_written_for_an_empty_topic(plant: Plant) -> None:
    sample(plant)
    assert samples(plant) == []
    assert plant.execute("SELECT topic, next_offset FROM relay_clocks") == [(PREDICTION_LOGS, 0)]
    assert plant.execute("SELECT count(*) FROM log_records WHERE topic = %s", PREDICTION_SAMPLES) == [(0,)]
