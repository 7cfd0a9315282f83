"""What destinations were told, and for how long that is kept."""

from dataclasses import replace

from psycopg import Connection
from tests.notify.notices import make_notice

from driftline.core.decision import Decision
from driftline.core.incident import Told
from driftline.core.notice import Kind
from driftline.core.rules import Severity
from driftline.core.silence import Matcher
from driftline.store.decisions import list_decisions, record_decisions
from driftline.store.deliveries import NewDelivery, add_deliveries, list_deliveries
from driftline.store.incidents import close_incident, list_incidents, place_incident
from driftline.store.silences import add_silence, list_silences
from driftline.store.told import forget_told, read_told, write_told

NOW = 1_767_225_600_000_000
CHAT = Told("chat", Severity.HIGH, {3: NOW, 1: NOW - 5}, NOW, None)
PAGER = Told("pager", Severity.CRITICAL, {}, NOW, NOW + 7)


def open_incident(conn: Connection, model: str = "fraud") -> int:
    return place_incident(conn, model, "", [], Severity.HIGH, NOW)


def test_what_is_read_is_what_was_written(conn: Connection) -> None:
    incident, other = open_incident(conn), open_incident(conn, "churn")
    assert read_told(conn, incident) == {}
    write_told(conn, incident, [CHAT, PAGER])
    write_told(conn, other, [CHAT])
    assert read_told(conn, incident) == {"chat": CHAT, "pager": PAGER}
    more = Told("chat", Severity.CRITICAL, {**CHAT.alerts, 8: NOW + 9}, NOW + 9, NOW + 7)
    write_told(conn, incident, [more])
    assert read_told(conn, incident) == {"chat": more, "pager": PAGER}
    over = replace(more, escalated=frozenset({8, 3}), resolved_at=NOW + 10)
    write_told(conn, incident, [over])
    assert read_told(conn, incident) == {"chat": over, "pager": PAGER}
    assert read_told(conn, other) == {"chat": CHAT}


def test_it_is_kept_for_a_while_after_the_incident(conn: Connection) -> None:
    over, lately, standing = (open_incident(conn, model) for model in ("a", "b", "c"))
    for incident in (over, lately, standing):
        write_told(conn, incident, [CHAT])
        record_decisions(conn, incident, [Decision("chat", None, Kind.TRIGGER)], NOW)
        add_deliveries(conn, [NewDelivery(incident, "chat", make_notice())], NOW)
    close_incident(conn, over, NOW + 10)
    close_incident(conn, lately, NOW + 20)
    for end in (10, 20):
        add_silence(conn, Matcher(model="a"), NOW, NOW + end, "ana", "why", NOW)
    forget_told(conn, NOW + 20)
    assert {each.incident_id for each in list_deliveries(conn)} == {lately, standing}
    assert {each.incident_id for each in list_decisions(conn)} == {lately, standing}
    assert [bool(read_told(conn, incident)) for incident in (over, lately, standing)] == [False, True, True]
    assert [silence.ends_at for silence in list_silences(conn)] == [NOW + 20]
    assert len(list_incidents(conn)) == 3
