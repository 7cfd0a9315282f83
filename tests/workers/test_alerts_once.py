"""A law: whatever is computed again, rolled back or restarted, alerts are those of each window judged once."""

from collections.abc import Sequence

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftline.core.alert_states import States
from driftline.core.alert_window import JudgedWindow
from driftline.core.alerting import Happening, judge_window
from driftline.core.rules import Comparison, Rule
from driftline.core.window import Window
from driftline.store.alerts import AlertFilter, list_alerts
from driftline.store.database import Database
from driftline.store.incidents import close_incident, list_incidents
from driftline.workers.alerts import judge
from tests.workers.plant import HOUR

FEATURES = ("amount", "country")
RULES = (
    Rule("psi", "psi", Comparison.ABOVE, 0.2, feature="*", consecutive_windows=2, recover_windows=2),
    Rule("share", "drifted_share", Comparison.ABOVE, 0.4, consecutive_windows=3, recover_windows=1),
)
NOW = 10**15
ALERT = ("rule_id", "feature_name", "opened", "is_open")

numbers = st.sampled_from([0.05, 0.19, 0.4, float("nan")])
verdicts = st.tuples(numbers, numbers, st.sampled_from(["ok", "pooling", "too_few"]))
commands = st.lists(
    st.one_of(
        st.tuples(st.just("window"), verdicts),
        st.tuples(st.just("crash"), verdicts),  # all is done but the commit; then again
        st.tuples(st.just("again"), verdicts),  # the newest window, with other rows in it
        st.tuples(st.just("close"), verdicts),  # people are told that it is over, and the incident ends
    ),
    max_size=25,
)


def make_window(number: int, verdict: tuple[float, float, str]) -> JudgedWindow:
    first, second, status = verdict
    return JudgedWindow(
        model_id="fraud",
        model_version="3",
        window=Window(number * HOUR, (number + 1) * HOUR),
        pool_start=number * HOUR,
        features=FEATURES,
        columns={"psi_score": np.array([first, second]), "qvalue": np.zeros(2)},
        status=np.array([status, status], object),
        window_status=status,
        totals={"drifted_share": float(np.mean([first > 0.2, second > 0.2]))},
        n_eff=1_000,
    )


def judge_once(windows: Sequence[JudgedWindow]) -> set[tuple[object, ...]]:
    """The alerts of windows that are judged by the engine alone, one after the other."""
    states: dict[str, States] = {}
    alerts: dict[tuple[str, str, int], bool] = {}
    for window in windows:
        judgement = judge_window(RULES, states, window, NOW)
        states = dict(judgement.states)
        for event in judgement.events:
            alerts[event.rule_id, event.feature, event.opened] = event.happening is Happening.FIRED
    return {(*name, is_open) for name, is_open in alerts.items()}


def has_verdict(window: JudgedWindow) -> bool:
    """Whether every feature has been judged: one that was not may be, once, by later numbers."""
    return window.window_status == "ok" and not np.isnan(window.columns["psi_score"]).any()


def run(database: Database, window: JudgedWindow, *, crash: bool = False) -> None:
    with database.transaction() as conn:
        judge(conn, RULES, window, NOW)
        if crash:
            conn.rollback()


@given(commands)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_alerts_are_those_of_each_window_judged_once(
    database: Database, said: list[tuple[str, tuple[float, float, str]]]
) -> None:
    with database.transaction() as conn:
        conn.execute("TRUNCATE alert_states, drift_alerts, incidents CASCADE")
    first_verdicts: list[JudgedWindow] = []
    for command, verdict in said:
        if command == "close":
            _close_what_is_over(database)
            continue
        if command == "again":
            if first_verdicts and has_verdict(first_verdicts[-1]):
                run(database, make_window(len(first_verdicts) - 1, (*verdict[:2], "ok")))
            continue
        window = make_window(len(first_verdicts), verdict)
        if command == "crash":
            run(database, window, crash=True)
        run(database, window)
        first_verdicts.append(window)
    with database.transaction() as conn:
        alerts = list_alerts(conn, AlertFilter(), limit=1_000)
        due = {incident.incident_id: incident for incident in list_incidents(conn)}
    names = [tuple(getattr(alert, name) for name in ALERT) for alert in alerts]
    assert set(names) == judge_once(first_verdicts)
    assert len(names) == len(set(names))
    for alert in alerts:
        incident = due[alert.incident_id]
        assert incident.resolved_at is None or not alert.is_open, "an open alert that nobody is told about"
        assert incident.due_at is not None or incident.resolved_at is not None


def _close_what_is_over(database: Database) -> None:
    with database.transaction() as conn:
        open_ones = {alert.incident_id for alert in list_alerts(conn, AlertFilter(is_open=True), limit=1_000)}
        for incident in list_incidents(conn, is_open=True):
            if incident.incident_id not in open_ones:
                close_incident(conn, incident.incident_id, NOW)
