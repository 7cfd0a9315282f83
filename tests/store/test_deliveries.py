"""Deliveries: one after the other for an incident, one attempt at a time, each possible repetition counted."""

from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from psycopg import Connection
from tests.notify.notices import make_notice, notices
from tests.workers.plant import wait_for

from driftline.core.notice import Kind, Notice
from driftline.core.notice_payload import write_notice
from driftline.core.rules import Severity
from driftline.store.database import Database
from driftline.store.deliveries import (
    CHANNEL,
    NewDelivery,
    Status,
    StoredDelivery,
    add_deliveries,
    begin_delivery,
    end_delivery,
    find_next_attempt,
    find_thread,
    get_delivery,
    hold_destination,
    list_deliveries,
    postpone_delivery,
    refuse_abandoned,
)
from driftline.store.incidents import place_incident

NOW = 1_767_225_600_000_000
SECOND = 1_000_000
KINDS = (Kind.TRIGGER, Kind.UPDATE, Kind.RESOLVE)


def add(conn: Connection, incident: int, *kinds: Kind, destination: str = "chat", now: int = NOW) -> list[UUID]:
    return add_deliveries(
        conn, [NewDelivery(incident, destination, make_notice(kind=kind)) for kind in kinds], now
    )


def begin(conn: Connection, now: int = NOW, destination: str = "chat") -> StoredDelivery | None:
    return begin_delivery(conn, destination, now, copied=[Kind.TRIGGER])


@pytest.fixture
def incident(conn: Connection) -> int:
    return place_incident(conn, "fraud", "risk", [], Severity.HIGH, NOW)


def test_the_notice_is_read_back_as_it_was(conn: Connection, incident: int) -> None:
    (made,) = add(conn, incident, Kind.TRIGGER)
    stored = get_delivery(conn, made)
    assert stored is not None
    assert (stored.notice, stored.kind, stored.status) == (make_notice(), "trigger", Status.PENDING)
    assert (stored.created_at, stored.attempts, stored.sending_since) == (NOW, 0, None)
    assert (made.version, UUID(int=made.int).variant) == (7, made.variant)


def test_ids_are_in_the_order_of_time_and_of_the_list(conn: Connection, incident: int) -> None:
    made = [each for later in (0, 1, SECOND) for each in add(conn, incident, *KINDS, now=NOW + later)]
    assert made == sorted(made)
    assert [each.delivery_id for each in list_deliveries(conn)] == made[::-1]
    assert [each.delivery_id for each in list_deliveries(conn, before=made[2], limit=1)] == [made[1]]


def test_what_is_added_later_comes_later_though_the_clock_is_behind(conn: Connection, incident: int) -> None:
    made = [each for now in (NOW, NOW, NOW - SECOND) for each in add(conn, incident, Kind.TRIGGER, now=now)]
    assert made == sorted(made)
    stored = [(each.created_at, each.next_attempt_at) for each in list_deliveries(conn)[::-1]]
    assert stored == [(NOW, NOW), (NOW + 1, NOW), (NOW + 2, NOW - SECOND)]


def test_one_after_the_other_for_an_incident(conn: Connection, incident: int) -> None:
    made = add(conn, incident, *KINDS)
    for delivery_id in made:
        taken = begin(conn)
        assert taken is not None
        assert taken.delivery_id == delivery_id
        end_delivery(conn, delivery_id, Status.SENT, NOW + 5)
    assert begin(conn) is None
    assert [each.sent_at for each in list_deliveries(conn, status=Status.SENT)] == [NOW + 5] * 3


def test_incidents_and_destinations_do_not_wait_for_one_another(conn: Connection, incident: int) -> None:
    other = place_incident(conn, "churn", "risk", [], Severity.HIGH, NOW)
    first, second, elsewhere = (
        *add(conn, incident, Kind.TRIGGER),
        *add(conn, other, Kind.TRIGGER, now=NOW + 1),
        *add(conn, incident, Kind.TRIGGER, destination="pager"),
    )
    taken = begin(conn, NOW + 1)
    postpone_delivery(conn, first, NOW + 2, "503")
    taken = [taken, begin(conn, NOW + 1), begin(conn, NOW + 1, "pager")]
    assert [each.delivery_id for each in taken if each] == [first, second, elsewhere]


def test_what_failed_waits_and_holds_up_what_comes_after_it(conn: Connection, incident: int) -> None:
    first, second = add(conn, incident, Kind.TRIGGER, Kind.RESOLVE)
    assert begin(conn) is not None
    postpone_delivery(conn, first, NOW + 10 * SECOND, "503")
    assert begin(conn, NOW + 9 * SECOND) is None
    taken = begin(conn, NOW + 10 * SECOND)
    assert taken is not None
    assert (taken.delivery_id, taken.attempts, taken.maybe_repeated, taken.detail) == (first, 2, 0, "503")
    end_delivery(conn, first, Status.REFUSED, NOW, detail="no such channel")
    taken = begin(conn, NOW + 10 * SECOND)
    assert taken is not None
    assert taken.delivery_id == second


def test_an_attempt_that_was_cut_off_is_made_again_and_counted(conn: Connection, incident: int) -> None:
    (delivery_id,) = add(conn, incident, Kind.TRIGGER)
    assert begin(conn) is not None
    taken = begin(conn)
    assert taken is not None
    assert (taken.delivery_id, taken.attempts, taken.maybe_repeated) == (delivery_id, 2, 1)
    taken = begin_delivery(conn, "chat", NOW, copied=[])  # there a second copy is not seen
    assert taken is not None
    assert (taken.attempts, taken.maybe_repeated) == (3, 1)


def test_a_clock_that_is_ahead_delays_nothing(conn: Connection, incident: int) -> None:
    (delivery_id,) = add(conn, incident, Kind.TRIGGER, now=NOW + 60 * SECOND)
    assert begin(conn) is not None
    postpone_delivery(conn, delivery_id, NOW + SECOND, "503")
    assert begin(conn) is None


def test_what_may_have_arrived_is_counted(conn: Connection, incident: int) -> None:
    (delivery_id,) = add(conn, incident, Kind.TRIGGER)
    assert begin(conn) is not None
    postpone_delivery(conn, delivery_id, NOW, "no answer", copied=True)
    taken = begin(conn)
    assert taken is not None
    assert taken.maybe_repeated == 1


def test_an_end_is_final(conn: Connection, incident: int) -> None:
    (delivery_id,) = add(conn, incident, Kind.TRIGGER)
    end_delivery(conn, delivery_id, Status.SENT, NOW, reference="17.5")
    end_delivery(conn, delivery_id, Status.REFUSED, NOW + 1, detail="late\x00")
    postpone_delivery(conn, delivery_id, NOW + 1, "later still")
    stored = get_delivery(conn, delivery_id)
    assert stored is not None
    assert (stored.status, stored.reference, stored.detail) == (Status.SENT, "17.5", "")


def test_the_thread_is_what_arrived_first(conn: Connection, incident: int) -> None:
    first, second, third = add(conn, incident, *KINDS)
    assert find_thread(conn, incident, "chat") == ""
    end_delivery(conn, first, Status.REFUSED, NOW, reference="0")
    end_delivery(conn, second, Status.SENT, NOW, reference="1")
    end_delivery(conn, third, Status.SENT, NOW, reference="2")
    assert find_thread(conn, incident, "chat") == "1"
    assert find_thread(conn, incident, "pager") == ""


def test_when_the_next_attempt_is_due(conn: Connection, incident: int) -> None:
    assert find_next_attempt(conn, "chat") is None
    (delivery_id,) = add(conn, incident, Kind.TRIGGER)
    assert find_next_attempt(conn, "chat") == NOW
    postpone_delivery(conn, delivery_id, NOW + 7, "")
    assert find_next_attempt(conn, "chat") == NOW + 7
    add(conn, incident, Kind.RESOLVE, now=NOW + 1)  # waits for the first
    assert find_next_attempt(conn, "chat") == NOW + 7


def test_who_sends_is_woken_by_the_commit(database: Database) -> None:
    with database.connection() as listener:
        listener.execute(f"LISTEN {CHANNEL}")
        with database.transaction() as conn:
            incident = place_incident(conn, "fraud", "", [], Severity.LOW, NOW)
            add(conn, incident, Kind.TRIGGER)
        assert [each.channel for each in listener.notifies(timeout=10, stop_after=1)] == [CHANNEL]


def test_only_one_holds_a_destination(database: Database) -> None:
    with database.connection() as one, database.connection() as other:
        assert hold_destination(one, "chat")
        assert not hold_destination(other, "chat")
        assert hold_destination(other, "pager")
        one.close()
        wait_for(lambda: hold_destination(other, "chat"))


def test_what_waits_for_nobody_is_refused(database: Database) -> None:
    with database.transaction() as conn:
        incident = place_incident(conn, "fraud", "", [], Severity.LOW, NOW)
        (old,) = add(conn, incident, Kind.TRIGGER, destination="old")
        add(conn, incident, Kind.TRIGGER, destination="old", now=NOW + 1)
        for destination in ("chat", "held"):
            add(conn, incident, Kind.TRIGGER, destination=destination)
    with database.connection() as holder, database.transaction() as conn:
        assert hold_destination(holder, "held")
        assert refuse_abandoned(conn, ["chat"], NOW) == {"old": 1}
        [refused] = list_deliveries(conn, status=Status.REFUSED)
    assert (refused.delivery_id, "no destination of this name" in refused.detail) == (old, True)


@given(notice=notices)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_database_takes_every_notice(conn: Connection, incident: int, notice: Notice) -> None:
    (made,) = add_deliveries(conn, [NewDelivery(incident, "chat", notice)], NOW)
    stored = get_delivery(conn, made)
    assert stored is not None
    assert write_notice(stored.notice) == write_notice(notice)
