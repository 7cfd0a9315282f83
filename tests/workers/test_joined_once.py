"""Whatever comes in whatever order, and however often the joiner dies: the pairs are those of a simple model."""

from contextlib import suppress
from dataclasses import astuple, dataclass, field
from itertools import count
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftline.store.labeled import read_window_predictions
from driftline.workers import joiner as joiner_module
from driftline.workers import joining, joining_entities
from driftline.workers.joiner import Joiner
from driftline.workers.label_expiry import expire_labels
from driftline.workers.label_tally import LabelTally
from driftline.workers.up import read_clock
from tests.workers.plant import DAY, HOUR, MONDAY, Plant, at
from tests.workers.registry import BINARY, ENTITY, Registry
from tests.workers.test_exactly_once import Crash, DyingDatabase, dying

DELAY_H, TOLERANCE_H = 30, 6
VERSIONS = ("1", "2")
NAMES = 9


def make_id(name: int) -> str:
    """Ids of each kind: of the SDK in time, of the SDK at another time than its prediction, and any other."""
    if name % 3 == 2:
        return f"order {name}"
    milliseconds = (at(hour_of(name)) + (name % 3) * 40 * DAY) // 1000
    return str(UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62 | name))


def hour_of(name: int) -> int:
    """When the prediction was made: no two at the same time."""
    return name * 7 % 23


def entity_of(name: int) -> int:
    return name % 2


@dataclass(frozen=True, slots=True)
class Predict:
    """Predictions (version, name), in one batch a version."""

    rows: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Label:
    """Labels (name or entity, value, hour when known, hour of its timestamp), in one record."""

    rows: tuple[tuple[int, str | None, int, int | None], ...]


@dataclass(frozen=True, slots=True)
class Fail:
    """The process ends while it flushes: before or after a step, or once committed."""

    step: int
    after: bool


@dataclass(slots=True)
class Reference:
    """What the pairs must be: sets and lists, and no thought of speed or order."""

    by_entity: bool
    predictions: set[tuple[int, int]] = field(default_factory=set)
    labels: list[tuple[int, str | None, int, int | None]] = field(default_factory=list)

    def pairs(self, version: int) -> dict[int, str]:
        """Give hour of prediction -> label."""
        held: dict[tuple[int, float], tuple[int, str | None, bool]] = {}
        for key, value, known, stamp in self.labels:  # in the order of the log
            moment = (known if stamp is None else stamp + 0.5) if self.by_entity else 0
            if (key, moment) not in held or known >= held[key, moment][0]:
                held[key, moment] = (known, value, stamp is not None)
        best: dict[int, tuple[tuple[int, float], str | None]] = {}
        for (key, moment), (known, value, dated) in held.items():
            hour = self.find(version, key, moment, TOLERANCE_H if dated else DELAY_H)
            if hour is not None and (value is not None or not self.by_entity):
                rank = (known, moment)
                if hour not in best or rank > best[hour][0]:
                    best[hour] = (rank, value)
        return {hour: value for hour, (_, value) in best.items() if value is not None}

    def expire(self) -> None:
        """Drop the labels of entities that no prediction has had: those in no one's reach."""
        self.labels = [
            row for row in self.labels
            if any(
                self.find(version, row[0], row[2] if row[3] is None else row[3] + 0.5,
                          DELAY_H if row[3] is None else TOLERANCE_H) is not None
                for version in range(len(VERSIONS))
            )
        ]  # fmt: skip

    def find(self, version: int, key: int, moment: float, reach: int) -> int | None:
        if not self.by_entity:
            return hour_of(key) if (version, key) in self.predictions else None
        hours = [hour_of(name) for of, name in self.predictions if (of, entity_of(name)) == (version, key)]
        earlier = [hour for hour in hours if hour <= moment]
        return max(earlier) if earlier and moment - max(earlier) <= reach else None


STEPS: list[tuple[Any, str]] = [
    (joiner_module, "advance_offset"),
    (joiner_module, "lock_models"),
    (joining, "store_arriving"),
    (joining, "take_waiting"),
    (joining, "set_labels"),
    (joining_entities, "set_labels"),
    (joining, "add_history"),
    (joining, "mark_windows"),
    (joining, "keep_labels"),
    (joining_entities, "mark_joined"),
    (LabelTally, "store"),
    (joiner_module, "add_dead_letters"),
]
COMMITTED = len(STEPS)
PREDICT = st.builds(
    Predict,
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, NAMES - 1)), min_size=1, max_size=8).map(tuple),
)
VALUES = st.sampled_from(["0", "1", None])
HOURS = st.sampled_from([-2, 3, 8, 9, 24, 60])  # few, so that labels are known at the same moment


def label(keys: int, stamps: st.SearchStrategy[int | None]) -> st.SearchStrategy[Label]:
    row = st.tuples(st.integers(0, keys - 1), VALUES, HOURS, stamps)
    return st.builds(Label, st.lists(row, min_size=1, max_size=8).map(tuple))


def events(labels: st.SearchStrategy[Label]) -> st.SearchStrategy[list[object]]:
    acts = st.sampled_from(["read", "flush", "flush", "crash"])
    fails = st.builds(Fail, st.integers(0, COMMITTED), st.booleans())
    return st.lists(st.one_of(PREDICT, labels, labels, acts, fails), min_size=3, max_size=16)


_runs = count()
_ONCE = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)


@_ONCE
@given(events=events(label(NAMES, st.none())), expires=st.booleans())
def test_labels_by_id_give_the_same_pairs(bare: Plant, events: list[object], *, expires: bool) -> None:
    registry = Registry(bare, BINARY, model=f"ids-{next(_runs)}")
    reference = Reference(by_entity=False)
    run(registry, reference, events)
    check(registry, reference)
    check_expiry(registry, reference, expires=expires)


@_ONCE
@given(events=events(label(2, st.one_of(st.none(), st.integers(0, 30)))))
def test_labels_by_entity_give_the_same_pairs(bare: Plant, events: list[object]) -> None:
    registry = Registry(bare, ENTITY, model=f"entities-{next(_runs)}")
    reference = Reference(by_entity=True)
    run(registry, reference, events)
    check(registry, reference)


@_ONCE
@given(
    events=events(label(2, st.one_of(st.none(), st.integers(0, 30)))),
    later=st.lists(PREDICT, min_size=1, max_size=4),
)
def test_pairs_of_entities_outlive_the_delay(bare: Plant, events: list[object], later: list[Predict]) -> None:
    """After labels that no prediction had are dropped, predictions that come find those that some had."""
    registry = Registry(bare, ENTITY, model=f"old-entities-{next(_runs)}")
    reference = Reference(by_entity=True)
    run(registry, reference, events)
    expire_labels(registry.plant.database, read_clock() + (DELAY_H + 1) * HOUR)
    reference.expire()
    for event in later:
        reference.predictions |= set(event.rows)
        send_predictions(registry, event)
        registry.join()
    registry.close()
    for number, version in enumerate(VERSIONS):
        assert read_pairs(registry, version) == reference.pairs(number)
    assert min(astuple(registry.counts())) >= 0


def run(registry: Registry, reference: Reference, events: list[object]) -> None:
    """Send what is to be sent to both; only one of them dies now and then."""
    registry.register(*VERSIONS, max_label_delay_s=DELAY_H * 3600, join_tolerance_s=TOLERANCE_H * 3600)
    joiner = registry.joiner()
    for event in events:
        if isinstance(event, Predict):
            reference.predictions |= set(event.rows)
            send_predictions(registry, event)
        elif isinstance(event, Label):
            reference.labels += event.rows
            send_labels(registry, event, by_entity=reference.by_entity)
        elif event == "read":
            joiner.read()
        elif event == "flush":
            joiner.flush()
        else:
            if isinstance(event, Fail):
                die(joiner, event)
            joiner = registry.joiner()
    registry.join(joiner)
    registry.close()


def send_predictions(registry: Registry, event: Predict) -> None:
    for number, version in enumerate(VERSIONS):
        names = [name for of, name in event.rows if of == number]
        if names:
            registry.predict(
                [make_id(name) for name in names],
                [at(hour_of(name)) for name in names],
                version=version,
                entities=[f"customer {entity_of(name)}" for name in names],
            )


def send_labels(registry: Registry, event: Label, *, by_entity: bool) -> None:
    keys, values, known, stamps = zip(*event.rows, strict=True)
    for dated in (False, True):  # a record has timestamps or not; those with one are half hours
        rows = [row for row, stamp in enumerate(stamps) if (stamp is not None) == dated]
        if rows:
            registry.label(
                [f"customer {keys[row]}" if by_entity else make_id(keys[row]) for row in rows],
                [values[row] for row in rows],
                [at(known[row]) for row in rows],
                timestamps=[at(stamps[row] + 0.5) for row in rows] if dated else None,
                by_entity=by_entity,
            )


def die(joiner: Joiner, fail: Fail) -> None:
    with pytest.MonkeyPatch.context() as patch:
        joiner.read()
        if fail.step == COMMITTED:
            patch.setattr(joiner, "_database", DyingDatabase(joiner._database, [1]))
        else:
            where, name = STEPS[fail.step]
            patch.setattr(where, name, dying(getattr(where, name), after=fail.after))
        with suppress(Crash):
            joiner.flush()


def check(registry: Registry, reference: Reference) -> None:
    """Compare the pairs, as users and as metrics see them, and that every label was counted once."""
    assert registry.plant.letters() == []
    for number, version in enumerate(VERSIONS):
        expected = reference.pairs(number)
        assert read_pairs(registry, version) == expected
        hours = {hour_of(name) for of, name in reference.predictions if of == number}
        windows = registry.windows(version)
        assert {window.window_start for window in windows} == {at(hour) for hour in hours}
        for window in windows:
            hour = (window.window_start - MONDAY) // HOUR
            assert (window.row_count, window.labeled_count) == (1, hour in expected)
            assert (window.seq > 0) >= (hour in expected)
            with registry.plant.database.transaction() as conn:
                outcomes = read_window_predictions(conn, [window]).outcomes()
            assert outcomes.truth.tolist() == [int(label) for of, label in expected.items() if of == hour]
    counts = registry.counts()
    assert sum(astuple(counts)) - counts.late == len(reference.labels)
    assert min(astuple(counts)) >= 0


def read_pairs(registry: Registry, version: str) -> dict[int, str]:
    rows = registry.plant.execute(
        "SELECT predicted_at, label_class FROM labeled_predictions WHERE model_id = %s AND model_version = %s",
        registry.model,
        version,
    )
    return {(time - MONDAY) // HOUR: name for time, name in rows}  # type: ignore[operator,misc]


def check_expiry(registry: Registry, reference: Reference, *, expires: bool) -> None:
    """Let the delay of the first hours pass: what has no label counts as 0, if the model says so."""
    if expires:
        registry.plant.execute(
            "UPDATE models SET settings = settings || '{\"label_on_expiry\": 0}' WHERE model_id = %s",
            registry.model,
        )
    registry.backdate()
    for until in (10, 10, 100):
        expire_labels(registry.plant.database, at(until + 1 + DELAY_H))
        for number, version in enumerate(VERSIONS):
            passed = {hour_of(name) for of, name in reference.predictions if of == number} & set(range(until + 1))
            expired = dict.fromkeys(passed, "0") if expires else {}
            assert read_pairs(registry, version) == expired | reference.pairs(number)
