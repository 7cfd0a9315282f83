"""Alerts: judges a window by the rules that watch it, in the transaction that computed it.

What fires is kept once, joins the incident of its model, and makes that incident due: this is the durable job by
which people are told.
"""

from collections.abc import Mapping, Sequence

from psycopg import Connection

from driftline.core.alert import worst_severity
from driftline.core.alert_window import JudgedWindow
from driftline.core.alerting import Event, Happening, end_alerts, judge_window
from driftline.core.rules import Rule, select_rules
from driftline.core.system_rules import SYSTEM_RULES
from driftline.store.actions import propose_runs
from driftline.store.alert_states import (
    Subject,
    delete_orphaned_states,
    delete_states,
    list_subjects,
    read_states,
    write_states,
)
from driftline.store.alerts import (
    Alert,
    add_alert,
    end_alert,
    find_open_alert,
    list_open_alerts,
    list_orphaned_alerts,
)
from driftline.store.incidents import lock_alerts, make_due, place_incident

RECOVERED, NOT_WATCHED = "recovered", "no longer watched"
_ENDED = {Happening.RESOLVED: RECOVERED, Happening.ENDED: NOT_WATCHED}


def judge(conn: Connection, rules: Sequence[Rule], window: JudgedWindow, now: int, *, source: str = "") -> None:
    """Judge a window by the rules that watch it; keep where they stand, and what fired.

    Another call with the same window, or one whose rows were judged already, changes nothing. `source` is what is
    to blame for alerts on numbers that are of no feature.
    """
    whose = (window.model_id, window.model_version, window.segment)
    watching = {rule.rule_id: rule for rule in select_rules(rules, *whose, window.reference_kind)}
    if not watching:
        return
    states = read_states(conn, *whose, list(watching))
    judgement = judge_window(list(watching.values()), states, window, now)
    write_states(
        conn,
        *whose,
        {name: after for name, after in judgement.states.items() if after is not states.get(name)},
    )
    record_events(conn, watching, judgement.events, now, source=source)


def record_events(
    conn: Connection, rules: Mapping[str, Rule], events: Sequence[Event], now: int, *, source: str = ""
) -> None:
    """Keep what happened to alerts of one model version, and have their incidents looked at."""
    if not events:
        return
    lock_alerts(conn, events[0].model_id)
    fired = [event for event in events if event.happening is Happening.FIRED]
    alerts = _fire(conn, rules, fired, now, source) if fired else []
    touched = set()
    for event in events:
        if event.happening is not Happening.FIRED and (alert := _find(conn, event)) is not None:
            end_alert(conn, alert, _ENDED[event.happening], now)
            touched.add(alert.incident_id)
    if touched:
        make_due(conn, touched, now)
    propose_runs(conn, alerts, now)  # last: runs are locked after incidents, by everybody


def end_rules(conn: Connection, rules: Mapping[str, Rule], now: int) -> None:
    """End the open alerts of rules that are deleted, and forget where they stood."""
    _end(conn, rules, list_subjects(conn, list(rules)), now)


def end_unwatched(conn: Connection, rules: Mapping[str, Rule], now: int) -> None:
    """End the open alerts of rules on models, versions and segments that they do not watch any more as edited."""
    subjects = [
        subject
        for subject in list_subjects(conn, list(rules))
        if not rules[subject.rule_id].applies(
            subject.model_id, subject.model_version, subject.segment, rules[subject.rule_id].reference_kind
        )
    ]
    _end(conn, rules, subjects, now)


def _end(conn: Connection, rules: Mapping[str, Rule], subjects: Sequence[Subject], now: int) -> None:
    found = []
    for subject in subjects:  # all states are locked before the first incident, as by those who judge
        whose = (subject.model_id, subject.model_version, subject.segment)
        found += [(whose, *each) for each in read_states(conn, *whose, [subject.rule_id]).items()]
    for whose, rule_id, states in found:
        record_events(conn, rules, end_alerts(rules[rule_id], states, *whose, now), now)
    delete_states(conn, subjects)


def end_orphans(conn: Connection, now: int) -> int:
    """End the open alerts of rules that are not there, and forget where those stood; gives how many alerts.

    For a moment after a rule was deleted somebody may still have judged by it.
    """
    kept = [rule.rule_id for rule in SYSTEM_RULES]
    delete_orphaned_states(conn, kept)
    alerts = list_orphaned_alerts(conn, kept)
    for alert in alerts:
        end_alert(conn, alert, NOT_WATCHED, now)
    if alerts:
        make_due(conn, {alert.incident_id for alert in alerts}, now)
    return len(alerts)


def end_model_alerts(conn: Connection, model_id: str, version: str | None, ended: str, now: int) -> list[Alert]:
    """End the open alerts of a model, or of one version of it, and say why; gives them.

    Rules go on from where they stand: what still breaches does not fire again.
    """
    alerts = list_open_alerts(conn, model_id, version)
    for alert in alerts:
        end_alert(conn, alert, ended, now)
    if alerts:
        make_due(conn, {alert.incident_id for alert in alerts}, now)
    return alerts


def _fire(
    conn: Connection, rules: Mapping[str, Rule], fired: Sequence[Event], now: int, source: str
) -> list[Alert]:
    first = fired[0]
    sources = _read_sources(conn, first.model_id, first.model_version)
    named = {event: sources.get(event.feature or event.worst, source) for event in fired}
    worst = worst_severity({event.severity for event in fired})
    team = _read_team(conn, first.model_id)
    incident_id = place_incident(conn, first.model_id, team, {s for s in named.values() if s}, worst, now)
    alerts = [
        add_alert(conn, _make_alert(event, rules[event.rule_id], incident_id, named[event], now))
        for event in fired
    ]
    return [alert for alert in alerts if alert is not None]


def _make_alert(event: Event, rule: Rule, incident_id: int, source: str, now: int) -> Alert:
    return Alert(
        alert_id=0,
        incident_id=incident_id,
        rule_id=event.rule_id,
        model_id=event.model_id,
        model_version=event.model_version,
        segment=event.segment,
        feature_name=event.feature,
        opened=event.opened,
        metric_type=event.metric,
        metric_value=event.value,
        threshold=event.threshold,
        severity=event.severity,
        worst=event.worst,
        source=source,
        windows=event.windows,
        owner=rule.owner,
        runbook=rule.runbook,
        actions=rule.actions,
        fired_at=now,
        resolved_at=None,
        ended="",
        action_taken="",
    )


def _find(conn: Connection, event: Event) -> Alert | None:
    return find_open_alert(
        conn, event.model_id, event.model_version, event.segment, event.rule_id, event.feature, event.opened
    )


def _read_team(conn: Connection, model_id: str) -> str:
    row = conn.execute("SELECT coalesce(team, '') FROM models WHERE model_id = %s", (model_id,)).fetchone()
    return "" if row is None else str(row[0])


def _read_sources(conn: Connection, model_id: str, version: str) -> dict[str, str]:
    """Read where features come from, as the version's schema says."""
    rows = conn.execute(
        "SELECT f ->> 'name', f ->> 'source' FROM model_versions v, jsonb_array_elements(v.schema -> 'features') f"
        " WHERE v.model_id = %s AND v.model_version = %s AND f ? 'source'",
        (model_id, version),
    )
    return dict(rows)
