"""Silences as they are kept, and what they make due."""

import pytest
from psycopg import Connection

from driftline.core.rules import Severity
from driftline.core.silence import Matcher, Silence
from driftline.store.errors import NotFound
from driftline.store.incidents import (
    close_incident,
    find_next_due,
    get_incident,
    place_incident,
    postpone_incident,
)
from driftline.store.silences import add_silence, end_silence, get_silence, list_active_silences, list_silences

NOW = 1_767_225_600_000_000
MATCHER = Matcher(model="fraud-*", segment="")


def add(conn: Connection, start: int, end: int) -> int:
    return add_silence(conn, MATCHER, NOW + start, NOW + end, "ana", "new sensors", NOW).silence_id


def ids(silences: list[Silence]) -> list[int]:
    return [silence.silence_id for silence in silences]


def test_one_is_read_back_as_it_was_added(conn: Connection) -> None:
    number = add(conn, 0, 100)
    assert get_silence(conn, number) == Silence(number, MATCHER, NOW, NOW + 100, "ana", "new sensors")
    with pytest.raises(NotFound, match="no silence 99"):
        get_silence(conn, 99)


def test_those_that_hold_and_those_that_are_over(conn: Connection) -> None:
    over, holds, later = add(conn, 0, 10), add(conn, 0, 100), add(conn, 50, 100)
    assert ids(list_active_silences(conn, NOW + 10)) == [holds]
    assert ids(list_active_silences(conn, NOW + 50)) == [holds, later]
    assert ids(list_silences(conn)) == [later, holds, over]
    assert ids(list_silences(conn, ending_after=NOW + 10)) == [later, holds]
    assert ids(list_silences(conn, before=later, limit=1)) == [holds]


def test_ending_one(conn: Connection) -> None:
    holds, later, over = add(conn, 0, 100), add(conn, 50, 100), add(conn, 0, 10)
    assert end_silence(conn, holds, NOW + 20).ends_at == NOW + 20
    assert end_silence(conn, later, NOW + 20).ends_at == NOW + 50  # before it began: it never holds
    assert end_silence(conn, over, NOW + 20).ends_at == NOW + 10
    assert list_active_silences(conn, NOW + 60) == []
    with pytest.raises(NotFound, match="no silence 99"):
        end_silence(conn, 99, NOW)


def test_open_incidents_are_looked_at_when_silences_change(conn: Connection) -> None:
    incident = place_incident(conn, "fraud", "", [], Severity.HIGH, NOW)
    closed = place_incident(conn, "churn", "", [], Severity.HIGH, NOW)
    close_incident(conn, closed, NOW)
    postpone_incident(conn, incident, None)
    number = add(conn, 0, 100)
    assert find_next_due(conn) == NOW
    postpone_incident(conn, incident, NOW + 100)
    end_silence(conn, number, NOW + 20)
    assert find_next_due(conn) == NOW + 20
    assert get_incident(conn, closed).due_at is None
