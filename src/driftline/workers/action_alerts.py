"""What runs of actions mean for alerts: they say what was done, and end when a new version was trained."""

from psycopg import Connection

from driftline.core.action_runs import OPEN, STARTED, Status
from driftline.core.window import DAY
from driftline.store.actions import clear_news, get_run, list_news, list_retrained, step_run
from driftline.store.alerts import end_alert, list_run_alerts, lock_run_alerts, tell_alerts
from driftline.store.audit import DRIFTLINE, record_audit
from driftline.store.database import Database
from driftline.store.incidents import lock_incidents, make_due

_REMEMBERED = 90 * DAY
"""So long after its start a retraining is the reason for a new version."""
_BATCH = 100


def tell_news(database: Database, now: int) -> None:
    """Let alerts say what was done about them, and have their incidents looked at."""
    with database.transaction() as conn:
        news = list_news(conn, _BATCH)
    for run_id, count in news:
        with database.transaction() as conn:
            told = tell_alerts(conn, run_id)
        if told:
            with database.transaction() as conn:
                make_due(conn, {alert.incident_id for alert in list_run_alerts(conn, run_id)}, now)
                clear_news(conn, run_id, count)


def end_retrained(database: Database, now: int) -> None:
    """End the alerts that led to a retraining once a newer version has its reference, and the run with them."""
    with database.transaction() as conn:
        found = list_retrained(conn, now - _REMEMBERED)
    for run_id, version in found:
        with database.transaction() as conn:
            _end(conn, run_id, version, now)


def _end(conn: Connection, run_id: str, version: str, now: int) -> None:
    """Incidents are locked first, as those that fire alerts do; alerts that somebody else has are for later."""
    alerts = [alert for alert in list_run_alerts(conn, run_id) if alert.is_open]
    lock_incidents(conn, {alert.incident_id for alert in alerts})
    free = lock_run_alerts(conn, run_id)
    mine = [alert for alert in alerts if alert.alert_id in free and alert.model_version != version]
    for alert in mine:
        end_alert(conn, alert, f"retrained as version {version}", now)
    make_due(conn, {alert.incident_id for alert in mine}, now)
    if any(alert.alert_id not in free for alert in alerts):
        return
    run = get_run(conn, run_id, lock=True)
    joined = [alert for alert in list_run_alerts(conn, run_id) if alert.is_open and alert.model_version != version]
    if joined:
        return  # they fired just now
    done = run.status
    if run.status in OPEN:
        done = Status.SUCCEEDED if run.status in STARTED else Status.EXPIRED
    reason = f"retrained as version {version}"
    step_run(conn, run, done, now, reason=reason, retrained_as=version)
    details = {"version": version, "alerts": [alert.alert_id for alert in mine]}
    record_audit(conn, now, DRIFTLINE, "ended the alerts of", run.subject, details)
