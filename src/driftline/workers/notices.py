"""Notices: looks at incidents that are due, and decides whom to tell what of them.

A look at an incident is a transaction that holds the incident: what is to be sent is committed with what counts as
told, so that a look that is cut off is taken again as if it had not been. Several workers share the work.
"""

import threading
from collections.abc import Callable, Sequence

import structlog
from psycopg import Connection, OperationalError

from driftline.core.alert import Alert
from driftline.core.incident import Incident
from driftline.core.notices import look_at_incident
from driftline.core.routing import Route
from driftline.core.rules import Severity
from driftline.core.window import MICROSECONDS
from driftline.core.wording import compose_notice
from driftline.settings import Settings
from driftline.store.alerts import Alert as StoredAlert
from driftline.store.alerts import list_incident_alerts
from driftline.store.database import Database
from driftline.store.decisions import record_decisions
from driftline.store.deliveries import NewDelivery, add_deliveries
from driftline.store.incidents import (
    CHANNEL,
    close_incident,
    escalate_incident,
    make_open_due,
    postpone_incident,
    take_due_incidents,
)
from driftline.store.incidents import Incident as StoredIncident
from driftline.store.silences import list_active_silences
from driftline.store.told import read_told, write_told
from driftline.workers.approval_key import list_approval_links

IDLE_S = 1.0
_RETRY = 60 * MICROSECONDS

logger = structlog.get_logger("driftline.notices")


def run_notices(
    database: Database,
    routes: Sequence[Route],
    settings: Settings,
    clock: Callable[[], int],
    stop: threading.Event,
) -> None:
    """Look at incidents when they are due, again and again, until told to stop.

    Begins with all open ones, as the destinations may be others than last time. Raises when the database is away:
    a look is a transaction, so run it again (`keep_running`).
    """
    teller = Teller(database, routes, settings)
    with database.transaction() as conn:
        make_open_due(conn, clock())
    with database.connection() as listener:
        listener.execute(f"LISTEN {CHANNEL}")
        while not stop.is_set():
            if not teller.look(clock()):
                for _ in listener.notifies(timeout=IDLE_S, stop_after=1):
                    pass


class Teller:
    """Decides what destinations are told of incidents."""

    def __init__(self, database: Database, routes: Sequence[Route], settings: Settings) -> None:
        self._database = database
        self._routes = routes
        self._settings = settings
        self._public_url = settings.public_url
        self._update_interval = settings.notices_update_interval_s * MICROSECONDS

    def look_at_all(self, now: int) -> int:
        """Look at incidents until none is due; gives how many looks that were."""
        looks = 0
        while self.look(now):
            looks += 1
        return looks

    def look(self, now: int) -> bool:
        """Look at the incident that has waited longest; False when none is due that nobody else looks at.

        One that fails is tried again a minute later, and does not stop the others.
        """
        incident = None
        try:
            with self._database.transaction() as conn:
                taken = take_due_incidents(conn, now, 1)
                if not taken:
                    return False
                incident = taken[0]
                self._decide(conn, incident, now)
        except OperationalError:
            raise
        except Exception:
            if incident is None:
                raise
            logger.exception("notices failed", incident=incident.incident_id, model=incident.model_id)
            with self._database.transaction() as conn:
                postpone_incident(conn, incident.incident_id, now + _RETRY)
        return True

    def _decide(self, conn: Connection, stored: StoredIncident, now: int) -> None:
        alerts = [read_alert(alert) for alert in list_incident_alerts(conn, stored.incident_id)]
        incident = _read_incident(stored, alerts)
        look = look_at_incident(
            incident,
            alerts,
            read_told(conn, stored.incident_id),
            self._routes,
            list_active_silences(conn, now),
            now,
            update_interval=self._update_interval,
        )
        url = f"{self._public_url}/incidents/{stored.incident_id}" if self._public_url else ""
        approvals = self._list_approvals(conn, alerts)
        add_deliveries(
            conn,
            [
                NewDelivery(
                    stored.incident_id, message.destination, compose_notice(incident, message, url, approvals)
                )
                for message in look.messages
            ],
            now,
        )
        write_told(conn, stored.incident_id, look.told)
        record_decisions(conn, stored.incident_id, look.decisions, now)
        if look.escalated:
            escalate_incident(conn, stored.incident_id, stored.escalations + 1)
        if look.is_over:
            close_incident(conn, stored.incident_id, now)
        else:
            postpone_incident(conn, stored.incident_id, look.due_at)

    def _list_approvals(self, conn: Connection, alerts: Sequence[Alert]) -> list[tuple[str, str]]:
        """List where actions can be approved: nowhere, as long as nobody knows how people reach driftline."""
        if not self._public_url:
            return []
        return list_approval_links(conn, self._settings, [alert.alert_id for alert in alerts if alert.is_open])


def _read_incident(stored: StoredIncident, alerts: Sequence[Alert]) -> Incident:
    versions = [alert.model_version for alert in alerts if alert.model_id == stored.model_id]
    return Incident(
        stored.incident_id,
        stored.model_id,
        versions[0] if versions else "",
        stored.team,
        stored.opened_at,
        stored.acknowledged_at,
        stored.acknowledged_by,
        stored.acknowledged_alert_id,
    )


def read_alert(stored: StoredAlert) -> Alert:
    """Read a stored alert as those see it who decide whom to tell of it."""
    return Alert(
        alert_id=stored.alert_id,
        rule_id=stored.rule_id,
        model_id=stored.model_id,
        model_version=stored.model_version,
        metric=stored.metric_type,
        value=stored.metric_value,
        threshold=stored.threshold,
        severity=Severity(stored.severity),
        fired_at=stored.fired_at,
        resolved_at=stored.resolved_at,
        feature=stored.feature_name,
        segment=stored.segment,
        worst=stored.worst,
        windows=tuple((window.start, window.end) for window in stored.windows),
        owner=stored.owner,
        runbook=stored.runbook,
    )
