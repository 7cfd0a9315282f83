"""On the database no sequence of firings, looks, deaths and deliveries loses an alert or tells of one twice."""

from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from driftline.core.notice import Kind
from driftline.core.routing import QuietHours, find_routes
from driftline.core.rules import Severity
from driftline.core.silence import Matcher
from driftline.store.alerts import Alert, AlertFilter, list_alerts
from driftline.store.database import Database, open_pool
from driftline.store.deliveries import Status, begin_delivery, end_delivery, postpone_delivery
from driftline.store.incidents import list_incidents
from driftline.workers import notices
from tests.databases import Databases
from tests.timelines import MINUTE, START, look_until, route
from tests.workers.test_notices import StoredWorld

ROUTES = (
    route("pager", Severity.CRITICAL),
    route("chat", Severity.HIGH, quiet_hours=QuietHours(22 * 60, 7 * 60)),
    route("log"),
)
MODELS = ("fraud", "churn")
STEPS = ("add_deliveries", "write_told", "record_decisions", "postpone_incident")


class Told(RuleBasedStateMachine):
    """Two models that share a source, three destinations, and workers that may die anywhere."""

    databases: Databases

    def __init__(self) -> None:
        super().__init__()
        self.url = self.databases.take()
        self.database: Database = open_pool(self.url, connections=4)
        self.worlds = {name: StoredWorld(self.database, ROUTES, name) for name in MODELS}
        for world in self.worlds.values():
            world.names = self.worlds[MODELS[0]].names
        self.now = START
        self.received: list[UUID] = []

    @rule(
        model=st.sampled_from(MODELS),
        name=st.sampled_from(["a", "a:missing_rate", "b", "model"]),
        severity=st.sampled_from(Severity),
        source=st.sampled_from(["", "payments"]),
    )
    def fire(self, model: str, name: str, severity: Severity, source: str) -> None:
        self.now += MINUTE  # an alert is known by the window that fired it
        self.worlds[model].fire(name, severity, self.now, source)

    @precondition(lambda self: self._open_alerts())
    @rule(data=st.data())
    def resolve(self, data: st.DataObject) -> None:
        alert = data.draw(st.sampled_from(self._open_alerts()), label="alert")
        world = self.worlds[alert.model_id]
        world.resolve(world.names[alert.alert_id], self.now)

    @rule()
    def acknowledge(self) -> None:
        self.worlds[MODELS[0]].acknowledge("ana", self.now)

    @rule(matcher=st.sampled_from([Matcher(feature="a"), Matcher(model="f*")]), minutes=st.integers(1, 900))
    def silence(self, matcher: Matcher, minutes: int) -> None:
        self.worlds[MODELS[0]].silence(matcher, self.now, self.now + minutes * MINUTE)

    @rule()
    def end_silences(self) -> None:
        self.worlds[MODELS[0]].end_silences(self.now)

    @rule()
    def look(self) -> None:
        self.worlds[MODELS[0]].look(self.now)

    @rule(step=st.sampled_from(STEPS))
    def die_while_looking(self, step: str) -> None:
        def die(*_: Any) -> None:
            raise KeyboardInterrupt

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(notices, step, die)
            try:
                self.worlds[MODELS[0]].look(self.now)
            except KeyboardInterrupt:
                return

    @rule(minutes=st.integers(1, 600))
    def wait(self, minutes: int) -> None:
        self.now += minutes * MINUTE
        look_until(self.worlds[MODELS[0]], self.now)

    @rule(
        destination=st.sampled_from([each.name for each in ROUTES]),
        ends=st.sampled_from(["sent", "refused", "failed", "killed before sending", "killed after sending"]),
    )
    def deliver(self, destination: str, ends: str) -> None:
        self._deliver(destination, ends)

    @invariant()
    def notices_are_in_order(self) -> None:
        kinds = defaultdict(list)
        for each in self.worlds[MODELS[0]].deliveries():
            kinds[each.incident_id, each.destination].append(each.kind)
        for told in kinds.values():
            assert told[0] == "trigger"
            assert all((kind == "trigger") == (before == "resolve") for before, kind in pairwise(told))

    @invariant()
    def every_alert_is_told_once(self) -> None:
        """Again only where a destination was told that all that concerned it was over."""
        rows = self._execute(
            "SELECT alert_id, destination, count(*) FROM decisions d WHERE outcome IN ('trigger', 'update')"
            " AND alert_id IS NOT NULL GROUP BY incident_id, 1, 2 HAVING count(*) > 1 + ("
            "SELECT count(*) FROM deliveries r WHERE r.incident_id = d.incident_id"
            " AND r.destination = d.destination AND r.kind = 'resolve')"
        )
        assert rows == []

    @invariant()
    def every_incident_is_due_or_has_been_looked_at(self) -> None:
        """An alert that is open and neither told nor held has an incident that is due."""
        waiting = self._execute(
            "SELECT a.alert_id FROM drift_alerts a JOIN incidents i USING (incident_id)"
            " WHERE a.resolved_at IS NULL AND i.due_at IS NULL"
            " AND NOT EXISTS (SELECT FROM decisions d WHERE d.alert_id = a.alert_id)"
        )
        assert waiting == []

    @invariant()
    def copies_are_counted(self) -> None:
        counted = {each.delivery_id: each for each in self.worlds[MODELS[0]].deliveries()}
        for delivery_id, times in Counter(self.received).items():
            assert times - 1 <= counted[delivery_id].maybe_repeated

    def teardown(self) -> None:
        try:
            self._end()
        finally:
            self.database.close()
            self.databases.give_back(self.url)

    def _end(self) -> None:
        world = self.worlds[MODELS[0]]
        self.end_silences()
        self.wait(2 * 24 * 60)
        self._deliver_all()
        self._check_open_alerts()
        for alert in self._open_alerts():
            self.worlds[alert.model_id].resolve(world.names[alert.alert_id], self.now)
        world.look(self.now)
        self._deliver_all()
        with self.database.transaction() as conn:
            assert list_incidents(conn, is_open=True) == []
        deliveries = world.deliveries()
        assert {each.delivery_id for each in deliveries if each.status is Status.SENT} <= set(self.received)
        assert {each.status for each in deliveries} <= {Status.SENT, Status.REFUSED}
        last = {(each.incident_id, each.destination): each.kind for each in deliveries}
        assert set(last.values()) <= {"resolve"}
        self._check_order(deliveries)

    def _check_open_alerts(self) -> None:
        """Nothing is held any more but drift of features whose data are broken."""
        told = {
            (destination, alert_id)
            for destination, ids in self._execute("SELECT destination, alert_ids FROM incident_destinations")
            for alert_id in ids
        }
        inhibited = {row[0] for row in self._execute("SELECT alert_id FROM decisions WHERE outcome = 'inhibited'")}
        for alert in self._open_alerts():
            for each in find_routes(ROUTES, "", Severity(alert.severity)):
                assert (each.name, alert.alert_id) in told or alert.alert_id in inhibited

    def _check_order(self, deliveries: list[Any]) -> None:
        place = {each.delivery_id: number for number, each in enumerate(deliveries)}
        queues = defaultdict(list)
        for delivery_id in self.received:
            each = deliveries[place[delivery_id]]
            queues[each.incident_id, each.destination].append(place[delivery_id])
        assert all(one <= other for queue in queues.values() for one, other in pairwise(queue))

    def _deliver_all(self) -> None:
        self.now += 1
        for each in ROUTES:
            while self._deliver(each.name, "sent"):
                pass

    def _deliver(self, destination: str, ends: str) -> bool:
        with self.database.transaction() as conn:
            taken = begin_delivery(conn, destination, self.now, copied=tuple(Kind))
        if taken is None:
            return False
        if ends in ("sent", "killed after sending"):
            self.received.append(taken.delivery_id)
        record: dict[str, Callable[[Any], None]] = {
            "sent": lambda conn: end_delivery(conn, taken.delivery_id, Status.SENT, self.now),
            "refused": lambda conn: end_delivery(conn, taken.delivery_id, Status.REFUSED, self.now),
            "failed": lambda conn: postpone_delivery(conn, taken.delivery_id, self.now + 1, "503"),
        }
        if ends in record:
            with self.database.transaction() as conn:
                record[ends](conn)
        return True

    def _open_alerts(self) -> list[Alert]:
        with self.database.transaction() as conn:
            return list_alerts(conn, AlertFilter(is_open=True), limit=1000)

    def _execute(self, query: str) -> list[tuple[Any, ...]]:
        with self.database.transaction() as conn:
            return conn.execute(query).fetchall()  # type: ignore[call-overload]


@pytest.mark.slow
def test_nothing_is_lost_and_nothing_told_twice(databases: Databases) -> None:
    machine = type("Machine", (Told,), {"databases": databases})
    run_state_machine_as_test(machine, settings=settings(max_examples=30, stateful_step_count=30))
