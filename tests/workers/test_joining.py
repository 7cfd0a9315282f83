"""Labels find their predictions: each case has one outcome."""

import json
import math
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from psycopg import Connection

from driftline.core.join_keys import make_keys
from driftline.core.labels import Labels
from driftline.core.sampling import keep
from driftline.log.errors import OffsetConflict, RecordsLost
from driftline.log.json_body import write_json
from driftline.log.record import LogRecord, NewRecord
from driftline.log.topics import LABELS
from driftline.store.joined_models import JoinedModel
from driftline.store.label_counts import LabelCounts
from driftline.store.labeled import read_window_predictions
from driftline.store.models import delete_model
from driftline.store.predictions import FoundPredictions, find_predictions
from driftline.workers import joiner, joining
from driftline.workers.joiner import Joiner
from driftline.workers.label_expiry import expire_labels
from driftline.workers.up import read_clock
from tests.workers.plant import DAY, HOUR, MINUTE, MONDAY, Plant, at, make_batch, record_of
from tests.workers.registry import BINARY, ENTITY, REGRESSION, Registry


@pytest.fixture
def registry(bare: Plant) -> Iterator[Registry]:
    """The model `loans` with version 1."""
    made = Registry(bare)
    made.register()
    yield made
    made.close()


def key_of(text: str) -> str:
    """The key as SQL shows it."""
    return str(uuid.UUID(bytes=make_keys([text]).tobytes()))


def pairs_of(**labels: str) -> dict[str, str]:
    return {key_of(name): label for name, label in labels.items()}


def test_a_label_joins_its_prediction(registry: Registry) -> None:
    registry.predict(["a", "b"], at(0.5), weight=7)
    registry.label(["a"], [True], at(2), weights=0.5)
    registry.join()
    assert registry.pairs() == pairs_of(a="1")
    assert registry.counts() == LabelCounts(joined=1)
    (window,) = registry.windows()
    assert (window.window_start, window.window_end) == (MONDAY, MONDAY + HOUR)
    assert (window.row_count, window.weight, window.labeled_count, window.labeled_weight) == (2, 14, 1, 7)
    assert window.seq == 1
    with registry.plant.database.transaction() as conn:
        rows = read_window_predictions(conn, [window])
        outcomes = rows.outcomes()
    assert (rows.classes, rows.labeled.sum(), rows.segments) == (("0", "1"), 1, {0: ("DE",)})
    assert rows.in_segment(0, ["DE"]).all()
    assert (outcomes.truth.tolist(), outcomes.prediction.tolist()) == ([1], [1])
    assert (outcomes.weights.tolist(), outcomes.groups) == ([3.5], None)
    assert outcomes.scores is not None
    assert outcomes.scores.tolist() == [0.75]


def test_a_label_before_its_prediction_waits_for_it(registry: Registry) -> None:
    registry.label(["a", "b"], ["1", "0"], at(1))
    registry.join()
    assert (registry.pairs(), registry.counts()) == ({}, LabelCounts(waiting=2))
    registry.predict(["a"], at(0.5))
    registry.join()
    assert registry.pairs() == pairs_of(a="1")
    assert registry.counts() == LabelCounts(joined=1, waiting=1)
    assert registry.windows()[0].seq == 1


def test_a_label_that_comes_twice_is_a_duplicate(registry: Registry) -> None:
    registry.predict(["a"], at(0.5))
    registry.label(["a", "a"], ["1", "1"], [at(2), at(1)])
    registry.join()
    registry.label(["a"], ["1"], at(9))
    registry.join()
    assert (registry.pairs(), registry.counts()) == (pairs_of(a="1"), LabelCounts(joined=1, duplicate=2))
    assert registry.windows()[0].seq == 1
    assert history(registry) == []
    # the one known first says how long it took, the one known last what holds
    ((first, last),) = registry.plant.execute("SELECT first_known_at, known_at FROM labeled_predictions")
    assert (first, last) == (at(1), at(9))


def test_the_label_known_last_wins_and_the_others_are_history(registry: Registry) -> None:
    registry.predict(["a"], at(0.5))
    for value, known in (("1", 5), ("0", 9), ("1", 7)):
        registry.label(["a"], [value], at(known))
        registry.join()
    assert (registry.pairs(), registry.counts()) == (
        pairs_of(a="0"),
        LabelCounts(joined=1, corrected=1, superseded=1),
    )
    assert history(registry) == [("1", at(5)), ("1", at(7))]
    assert (registry.windows()[0].seq, registry.windows()[0].labeled_count) == (2, 1)


def test_of_labels_known_at_once_the_later_in_the_log_wins(registry: Registry) -> None:
    registry.predict(["a"], at(0.5))
    registry.label(["a"], ["1"], at(5))
    registry.label(["a"], ["0"], at(5))
    registry.join()
    assert registry.pairs() == pairs_of(a="0")


def test_another_weight_is_a_correction(registry: Registry) -> None:
    registry.predict(["a"], at(0.5))
    registry.label(["a"], ["1"], at(5))
    registry.label(["a"], ["1"], at(6), weights=2.5)
    registry.join()
    assert registry.plant.execute("SELECT label_weight FROM labeled_predictions") == [(2.5,)]
    assert registry.counts() == LabelCounts(joined=1, superseded=1)


def test_a_late_label_is_counted_and_joined(bare: Plant) -> None:
    registry = Registry(bare)
    registry.register(max_label_delay_s=3600)
    registry.predict(["a", "b"], at(0.5))
    registry.label(["a", "b"], ["1", "1"], [at(1.5), at(1.5) + 1])
    registry.join()
    registry.close()
    assert (registry.pairs(), registry.counts()) == (pairs_of(a="1", b="1"), LabelCounts(joined=2, late=1))


def test_a_withdrawn_label_is_as_if_there_had_never_been_one(registry: Registry) -> None:
    registry.predict(["a"], at(0.5))
    registry.label(["a"], ["1"], at(5))
    registry.join()
    registry.label(["a"], [None], at(6))
    registry.join()
    assert (registry.pairs(), registry.windows()[0].labeled_count, registry.windows()[0].seq) == ({}, 0, 2)
    registry.label(["a"], ["0"], at(5.5))  # known before the withdrawal
    registry.join()
    assert registry.pairs() == {}
    registry.label(["a"], ["0"], at(7))
    registry.join()
    assert registry.pairs() == pairs_of(a="0")
    assert registry.counts() == LabelCounts(joined=2, withdrawn=1, superseded=1)


def test_a_withdrawal_waits_as_well(registry: Registry) -> None:
    registry.label(["a"], [None], at(6))
    registry.join()
    registry.label(["a"], ["1"], at(5))
    registry.join()
    registry.predict(["a"], at(0.5))
    registry.join()
    assert (registry.pairs(), registry.counts()) == ({}, LabelCounts(withdrawn=1, superseded=1))


def test_a_waiting_label_is_corrected(registry: Registry) -> None:
    for value, known in (("1", 5), ("0", 6), ("0", 6)):
        registry.label(["a"], [value], at(known))
        registry.join()
    assert registry.counts() == LabelCounts(waiting=1, corrected=1, duplicate=1)
    registry.predict(["a"], at(0.5))
    registry.join()
    assert (registry.pairs(), history(registry)) == (pairs_of(a="0"), [("1", at(5))])
    assert registry.counts() == LabelCounts(joined=1, corrected=1, duplicate=1)


def test_a_label_waits_for_the_longest_delay_and_is_unmatched_then(bare: Plant) -> None:
    registry = Registry(bare)
    registry.register(max_label_delay_s=3600)
    registry.label(["a", "b"], ["1", "1"], at(1))
    registry.join()
    registry.close()
    now = read_clock()
    expire_labels(bare.database, now)
    assert registry.counts() == LabelCounts(waiting=2)
    expire_labels(bare.database, now + HOUR + MINUTE)
    assert registry.counts() == LabelCounts(unmatched=2)
    assert bare.execute("SELECT 1 FROM waiting_labels") == []


def test_a_prediction_without_a_label_expires(bare: Plant) -> None:
    registry = Registry(bare)
    registry.register(max_label_delay_s=3600, label_on_expiry=False)
    registry.predict(["a", "b"], at(0.5))
    registry.label(["a"], ["1"], at(1))
    registry.join()
    registry.backdate()
    expire_labels(bare.database, at(2) - 1)
    assert registry.pairs() == pairs_of(a="1")
    for _ in range(2):
        expire_labels(bare.database, at(2))
    assert registry.pairs() == pairs_of(a="1", b="0")
    assert (registry.windows()[0].seq, registry.windows()[0].expired_at, registry.windows()[0].labeled_count) == (
        2,
        at(2),
        1,
    )
    registry.label(["b"], ["1"], at(9))  # the real one, late
    registry.join()
    registry.close()
    assert (registry.pairs(), registry.counts()) == (pairs_of(a="1", b="1"), LabelCounts(joined=2, late=1))
    assert registry.windows()[0].seq == 3


def test_a_replay_of_the_past_expires_a_delay_after_it_came(bare: Plant) -> None:
    registry = Registry(bare)
    registry.register(max_label_delay_s=3600, label_on_expiry=0)
    registry.predict(["a"], at(0.5))
    registry.join()
    registry.close()
    now = read_clock()
    expire_labels(bare.database, now + HOUR - MINUTE)
    assert registry.pairs() == {}
    expire_labels(bare.database, now + HOUR + MINUTE)
    assert registry.pairs() == pairs_of(a="0")


def test_without_the_setting_expired_predictions_have_no_label(bare: Plant) -> None:
    registry = Registry(bare)
    registry.register(max_label_delay_s=3600)
    registry.predict(["a"], at(0.5))
    registry.join()
    registry.close()
    registry.backdate()
    expire_labels(bare.database, at(2))
    (window,) = registry.windows()
    assert (registry.pairs(), window.seq, window.expired_at, window.expiry_label) == ({}, 0, at(2), None)


def test_numbers_expire_as_numbers(bare: Plant) -> None:
    registry = Registry(bare, REGRESSION)
    registry.register(max_label_delay_s=3600, label_on_expiry=1.5)
    registry.predict(["a", "b"], at(0.5))
    registry.label(["a"], [2], at(1))
    registry.join()
    registry.close()
    registry.backdate()
    expire_labels(bare.database, at(2))
    assert registry.pairs() == {key_of("a"): "2", key_of("b"): "1.5"}


def test_an_id_counts_once(registry: Registry) -> None:
    """Within a batch, again later, and at another time: the first one counts."""
    registry.predict(["a", "a", "b"], [at(0.5), at(0.6), at(0.5)])
    registry.join()
    registry.predict(["a", "c"], [at(30), at(30)])
    registry.label(["a"], ["1"], at(31))
    registry.join()
    assert [(window.window_start, window.row_count) for window in registry.windows()] == [(MONDAY, 2), (at(30), 1)]
    assert registry.plant.execute("SELECT predicted_at FROM labeled_predictions") == [(at(0.5),)]


def test_each_version_has_its_own_prediction_of_an_id(bare: Plant) -> None:
    """As when one model shadows the other, at once or a day later: both get the label, whenever that comes."""
    registry = Registry(bare)
    registry.register("1", "2")
    registry.predict(["a", "b"], at(0.5), version="1")
    registry.label(["a"], ["1"], at(1))
    registry.join()
    registry.predict(["a", "b"], at(26), version="2")
    registry.join()
    assert registry.pairs("2") == pairs_of(a="1")
    registry.label(["a", "b"], ["0", "1"], at(3))
    registry.join()
    registry.close()
    for version in ("1", "2"):
        assert registry.pairs(version) == pairs_of(a="0", b="1")
    assert registry.counts() == LabelCounts(joined=2, corrected=1)


def test_models_do_not_share_ids(bare: Plant) -> None:
    shared = str(uuid.UUID(int=7 << 76 | 2 << 62 | (MONDAY // 1000) << 80))
    loans, cards = Registry(bare, model="loans"), Registry(bare, model="cards")
    for registry in (loans, cards):
        registry.register()
        registry.predict([shared], at(0.1))
    loans.label([shared], ["1"], at(1))
    loans.join()
    loans.close()
    assert (loans.pairs(), cards.pairs()) == ({shared: "1"}, {})


def test_windows_are_days_of_the_models_zone(bare: Plant) -> None:
    schema = replace(BINARY, time_zone="Asia/Tokyo")
    registry = Registry(bare, schema)
    registry.register(window=DAY)
    registry.predict(["a", "b"], [at(14.9), at(15.1)])  # 23:54 and 0:06 there
    registry.join()
    registry.close()
    assert [(window.window_start, window.window_end) for window in registry.windows()] == [
        (at(-9), at(15)),
        (at(15), at(39)),
    ]


def test_segments_are_those_of_the_rows(registry: Registry) -> None:
    registry.predict(["a"], at(0.5))
    registry.label(["a"], ["1"], at(1))
    registry.join()
    assert registry.plant.execute("SELECT segments, predicted_class, score FROM labeled_predictions") == [
        (["DE"], "1", 0.75)
    ]


def test_true_is_one_for_two_classes(registry: Registry) -> None:
    names = ["a", "b", "c", "d"]
    registry.predict(names, at(0.5))
    registry.label(names, [True, 1, 1.0, "true"], at(1))
    registry.join()
    assert registry.pairs() == pairs_of(a="1", b="1", c="1", d="1")
    assert registry.plant.execute("SELECT class FROM class_codes") == [("1",)]


def test_imports_are_counted_apart(registry: Registry) -> None:
    registry.predict(["a", "b"], at(0.5))
    registry.label(["a"], ["1"], at(1))
    registry.join()
    registry.label(["a", "b", "nobody"], ["1", "1", "1"], at(1), import_id="chargebacks")
    registry.join()
    assert registry.counts("chargebacks") == LabelCounts(joined=1, duplicate=1, waiting=1)
    assert registry.counts() == LabelCounts(joined=2, duplicate=1, waiting=1)


def test_what_is_no_label_is_a_dead_letter(bare: Plant) -> None:
    registry = Registry(bare, REGRESSION)
    registry.register()
    bare.register("untold")
    registry.predict(["a"], at(0.5))
    registry.label(["a", "b", "c"], [2, "much", math.inf], at(1))
    for model, payload in (("loans", b"\xc1"), ("nobody's", b""), ("nobody's", b"")):
        registry.append_label(NewRecord(b"k", payload, {"model": model}))
    for model in ("untold", "nobody's"):
        other = Registry(bare, REGRESSION, model=model)
        other.label(["a"], [1], at(1))
    registry.join()
    registry.close()
    assert registry.pairs() == {key_of("a"): "2"}
    letters = [(letter.reason_code, letter.rows, letter.model_id) for letter in bare.letters()]
    assert sorted(letters) == [
        ("invalid_value", 2, "loans"),
        ("malformed_labels", 1, "loans"),
        ("malformed_labels", 1, "nobody's"),
        ("malformed_labels", 1, "nobody's"),
        ("no_task", 1, "untold"),
        ("unknown_model", 1, "nobody's"),
    ]


def test_any_producer_may_write_labels_as_json(registry: Registry) -> None:
    registry.plant.execute(
        "UPDATE sampling_rates SET n = 2, since = since - interval '1 year' WHERE model_id = 'loans';"
        "UPDATE model_versions SET sampling_n = 2 WHERE model_id = 'loans'"
    )
    kept, dropped = (
        next(f"id-{i}" for i in range(99) if keep(f"id-{i}", 2) == wanted) for wanted in (True, False)
    )
    registry.predict([kept], at(0.5))
    for line in (
        {"model_id": "loans", "prediction_id": kept, "value": 0, "known_at": "2026-01-05T09:00:00Z"},
        {"model_id": "loans", "prediction_id": kept, "value": 1},  # known when it was appended
        {"model_id": "loans", "labels": [{"prediction_id": dropped, "value": 1}, {"value": 1}]},
        {"model_id": "nobody's", "prediction_id": kept, "value": 1},
    ):
        registry.append_label(NewRecord(b"loans/x", write_json(line)))
    registry.append_label(NewRecord(b"loans/x", b"no JSON"))
    registry.join()
    assert registry.pairs() == {key_of(kept): "1"}
    assert registry.counts() == LabelCounts(joined=1, superseded=1, late=1)
    assert sorted(letter.reason_code for letter in registry.plant.letters()) == [
        "malformed_labels",
        "no_join_key",
        "unknown_model",
    ]


def test_poison_blocks_nothing(registry: Registry) -> None:
    """Whatever a producer may write: what can be used is joined, and the rest told."""
    far = 2**62
    registry.predict(["a", "b"], at(0.5))
    registry.plant.append(record_of(registry.make_batch([], []), BINARY))
    registry.label([], [], [])
    registry.label(["a", "a", "a\x00"], ["0", "1", "0\x00"], [-far, at(1), at(1)])
    registry.label(["b"], ["1"], at(1), import_id="i" * 200)
    registry.label(["b", "b"], ["1", "1"], at(1), timestamps=[far, at(0)], by_entity=True)
    for model in ("lo\x00ans", "loans\ud800"):
        line = {"model_id": model, "prediction_id": "a", "value": 1}
        registry.append_label(NewRecord(b"x", json.dumps(line).encode()))
    registry.join()
    assert registry.pairs() == pairs_of(a="1", b="1")
    letters = [(letter.reason_code, letter.rows) for letter in registry.plant.letters()]
    assert sorted(letters) == [
        ("invalid_value", 1),
        ("invalid_value", 1),
        ("invalid_value", 1),
        ("unknown_model", 1),
        ("unknown_model", 1),
    ]


def test_labels_that_make_joining_fail_are_set_aside(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    arrange = joiner.arrange_labels

    def fail(conn: Connection, model: JoinedModel, labels: Labels, imported: int) -> object:
        if labels.keys == ("a",):
            conn.execute("SELECT 1 / 0")
        return arrange(conn, model, labels, imported)

    monkeypatch.setattr(joiner, "arrange_labels", fail)
    registry.predict(["a", "b"], at(0.5))
    registry.label(["a"], ["1"], at(1))
    registry.label(["b"], ["1"], at(1))
    registry.join()
    assert registry.pairs() == pairs_of(b="1")
    (letter,) = registry.plant.letters()
    assert (letter.reason_code, registry.counts()) == ("not_joinable", LabelCounts(joined=1, refused=1))


def test_an_id_with_a_time_beyond_the_calendar_is_any_other(registry: Registry) -> None:
    far = "ffffffff-ffff-7fff-8fff-ffffffffffff"
    registry.label([far, "a"], ["1", "1"], at(1))
    registry.join()
    assert registry.counts() == LabelCounts(waiting=2)
    registry.predict([far, "a"], at(0.5))
    registry.join()
    assert registry.pairs() == {far: "1"} | pairs_of(a="1")


@pytest.mark.parametrize("replaced", [False, True])
def test_records_that_are_deleted_while_it_reads(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, *, replaced: bool
) -> None:
    """What was read before is flushed, unless another joiner has done so; then all partitions begin again."""

    def lose(partition: int, offset: int) -> list[LogRecord]:
        raise RecordsLost(f"{partition}: {offset}")

    registry.predict(["a"], at(0.5))
    registry.label(["a"], ["1"], at(1))
    mine = registry.joiner()
    assert mine.read() == 2
    if replaced:
        registry.join(Joiner(registry.plant.database, registry.readers))
    with monkeypatch.context() as patch:
        patch.setattr(registry.readers[LABELS], "read", lose)
        assert mine.read() == 0
    assert (registry.pairs(), registry.counts()) == (pairs_of(a="1"), LabelCounts(joined=1))
    registry.predict(["b"], at(0.5))
    registry.label(["b"], ["1"], at(1))
    registry.join(mine)
    assert registry.pairs() == pairs_of(a="1", b="1")


def test_labels_that_somebody_deleted_are_told_once(registry: Registry) -> None:
    registry.predict(["a", "b"], at(0.5))
    for name in ("a", "b"):
        registry.label([name], ["1"], at(1))
    registry.plant.execute("DELETE FROM log_records WHERE topic = 'labels' AND log_offset = 0")
    registry.join()
    assert registry.pairs() == pairs_of(b="1")
    (letter,) = registry.plant.letters()
    assert (letter.topic, letter.reason_code, letter.rows) == ("labels", "log_records_lost", 1)


def test_predictions_of_a_model_without_a_task_do_not_wait(bare: Plant) -> None:
    bare.register("untold")
    bare.send(make_batch(["a"], at(0.5), model_id="untold"))
    registry = Registry(bare, model="untold")
    registry.join()
    registry.close()
    assert bare.execute("SELECT 1 FROM predictions") == []


def test_a_zombie_is_fenced(registry: Registry) -> None:
    registry.predict(["a"], at(0.5))
    registry.label(["a"], ["1"], at(1))
    zombie = registry.joiner()
    zombie.read()
    registry.join()  # another one, as the log has given it the partitions
    with pytest.raises(OffsetConflict):
        zombie.flush()
    assert (registry.pairs(), registry.counts()) == (pairs_of(a="1"), LabelCounts(joined=1))


def test_a_model_that_is_deleted_leaves_nothing(registry: Registry) -> None:
    registry.predict(["a"], at(0.5))
    registry.label(["a", "b"], ["1", "1"], at(1))
    registry.label(["a"], ["0"], at(2))
    registry.join()
    with registry.plant.database.transaction() as conn:
        delete_model(conn, "loans")
    for table in ("predictions", "waiting_labels", "label_history", "label_counts", "performance_windows"):
        assert registry.plant.execute(f"SELECT 1 FROM {table}") == []


def test_entities_that_have_no_id_of_their_own_join_by_the_nearest(bare: Plant) -> None:
    """The example of docs/labels.md."""
    registry = Registry(bare, ENTITY)
    registry.register(join_tolerance_s=7200)
    registry.predict(["p1", "p2", "p3"], [at(1), at(2), at(1)], entities=["ann", "ann", "bob"])
    registry.label(
        ["ann", "ann", "bob"], ["1", "0", "1"], at(9), timestamps=[at(1.5), at(2.5), at(4)], by_entity=True
    )
    registry.join()
    assert read_by_time(registry) == [(at(1), "1"), (at(2), "0")]
    assert registry.counts() == LabelCounts(joined=2, waiting=1)
    registry.predict(["p4"], [at(3)], entities=["bob"])  # nearer
    registry.predict(["p5"], [at(1.2)], entities=["ann"])
    registry.join()
    assert read_by_time(registry) == [(at(1.2), "1"), (at(2), "0"), (at(3), "1")]
    assert registry.counts() == LabelCounts(joined=3)
    with bare.database.transaction() as conn:
        rows = read_window_predictions(conn, registry.windows())
    registry.close()
    assert rows.groups is not None
    assert len(set(rows.groups.tolist())) == 2  # five predictions of two customers are two


def test_a_busy_entity_is_looked_up_once(bare: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = []

    def find(*arguments: Any, **more: Any) -> FoundPredictions:
        found = find_predictions(*arguments, **more)
        fetched.append((len(arguments[2]), len(found.asked)))
        return found

    registry = Registry(bare, ENTITY)
    registry.register("1", "2")
    stored, new = ([f"{kind}{number}" for number in range(2_000)] for kind in ("old", "new"))
    registry.predict(stored, at(1), entities=["ann"] * 2_000)
    registry.join()
    monkeypatch.setattr(joining, "find_predictions", find)
    registry.predict([*new[3:], *stored[:3]], at(2), entities=["ann"] * 2_000)
    registry.predict(stored[:1], at(2), entities=["ann"], version="2")
    registry.join()
    registry.close()
    assert fetched == [(1, 3)]
    assert bare.execute("SELECT count(*) FROM predictions") == [(3_998,)]


def test_an_entitys_label_without_timestamp_is_of_its_newest_prediction(bare: Plant) -> None:
    registry = Registry(bare, ENTITY)
    registry.register()
    registry.predict(["p1", "p2"], [at(1), at(2)], entities=["ann", "ann"])
    registry.label(["ann"], ["1"], at(1.5), by_entity=True)
    registry.join()
    registry.label(["ann"], ["0"], at(48), by_entity=True)
    registry.join()
    registry.close()
    assert read_by_time(registry) == [(at(1), "1"), (at(2), "0")]


def read_by_time(registry: Registry) -> list[tuple[object, ...]]:
    return registry.plant.execute("SELECT predicted_at, label_class FROM labeled_predictions ORDER BY 1")


def history(registry: Registry) -> list[tuple[object, ...]]:
    return registry.plant.execute(
        "SELECT class, known_at FROM label_history h JOIN class_codes c USING (model_no) WHERE c.code = h.label"
        " ORDER BY known_at"
    )
