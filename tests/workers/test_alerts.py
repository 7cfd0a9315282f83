"""Alerts: fired by closed windows in the transaction of their drift, once, and made known by their incident."""

import threading
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from psycopg.errors import DeadlockDetected

from driftline.core.action_runs import Status
from driftline.core.rule_presets import Preset, make_preset
from driftline.core.rules import Comparison, Rule, Severity
from driftline.core.schema import PREDICTION, SCORE, Schema, Task
from driftline.store.actions import RunFilter, list_runs
from driftline.store.alert_rules import delete_rules, list_rules, upsert_rules
from driftline.store.alerts import (
    MODEL_DELETED,
    Alert,
    AlertFilter,
    list_alerts,
    list_incident_alerts,
    list_run_alerts,
)
from driftline.store.audit import list_audit, record_audit
from driftline.store.incidents import Incident, close_incident, list_incidents, postpone_incident
from driftline.store.models import delete_model
from driftline.workers import monitor
from driftline.workers.alerts import end_model_alerts, end_orphans, end_rules, end_unwatched
from driftline.workers.catalog import Catalog
from driftline.workers.verdict import judge_closed
from tests.workers.plant import FAR, HOUR, MONDAY, SCHEMA, Plant, at, make_batch, make_reference

PSI = Rule("psi", "psi", Comparison.ABOVE, 0.2, model="fraud", feature="*")
SILENT = Rule("silent", "volume", Comparison.BELOW, 50, consecutive_windows=1, recover_windows=1)
SHARE = Rule("share", "drifted_share", Comparison.ABOVE, 0.3, severity=Severity.HIGH)


def write(plant: Plant, *rules: Rule) -> None:
    with plant.database.transaction() as conn:
        upsert_rules(conn, rules, "api")
    plant.catalog.forget()


def feed(plant: Plant, hours: Iterable[int], shift: float = 0.0, rows: int = 150, version: str = "3") -> None:
    """Let hours pass, each with rows whose amounts are shifted by so many deviations."""
    for hour in hours:
        ids = [f"{version}-{hour}-{i}" for i in range(rows)]
        times = at(hour) + np.arange(rows) * (HOUR // rows)
        plant.send(make_batch(ids, times, shift=shift, seed=hour, version=version))
    plant.drain()
    plant.let_pass(1000)
    plant.cycle()


def fired(plant: Plant, **which: object) -> list[Alert]:
    with plant.database.transaction() as conn:
        return list_alerts(conn, AlertFilter(**which))[::-1]  # type: ignore[arg-type]


def incidents(plant: Plant) -> list[Incident]:
    with plant.database.transaction() as conn:
        return list_incidents(conn)[::-1]


def test_three_drifted_windows_in_a_row_fire_one_alert_of_the_feature_that_drifted(plant: Plant) -> None:
    write(plant, PSI)
    feed(plant, range(3))
    feed(plant, range(3, 5), shift=2)
    assert fired(plant) == []
    feed(plant, [5], shift=2)
    (alert,) = fired(plant)
    assert (alert.rule_id, alert.feature_name, alert.metric_type) == ("psi", "amount", "psi")
    assert (alert.model_id, alert.model_version, alert.segment) == ("fraud", "3", "")
    assert alert.opened == at(6)
    assert [(window.start, window.end) for window in alert.windows] == [(at(h), at(h + 1)) for h in (3, 4, 5)]
    assert alert.metric_value == pytest.approx(plant.drift(metrics=("psi_score",)).metrics["psi_score"][5, 0])
    assert alert.metric_value > alert.threshold == 0.2
    (incident,) = incidents(plant)
    assert (incident.incident_id, incident.model_id) == (alert.incident_id, "fraud")
    assert (incident.due_at, incident.resolved_at) == (plant.now, None)
    feed(plant, [6], shift=2)
    assert fired(plant) == [alert]  # it goes on


def test_an_alert_proposes_the_actions_of_its_rule_in_the_same_transaction(plant: Plant) -> None:
    write(plant, replace(PSI, actions=("retrain", "tell")))
    feed(plant, range(3), shift=2)
    (alert,) = fired(plant)
    with plant.database.transaction() as conn:
        runs = list_runs(conn, RunFilter())
        assert {(run.action, run.model_id, run.model_version, run.status) for run in runs} == {
            ("retrain", "fraud", "3", Status.PROPOSED),
            ("tell", "fraud", "3", Status.PROPOSED),
        }
        assert {run.proposed_at for run in runs} == {alert.fired_at}
        assert [list_run_alerts(conn, run.run_id) for run in runs] == [[alert], [alert]]
    feed(plant, range(3, 5), shift=2)
    with plant.database.transaction() as conn:
        assert list_runs(conn, RunFilter()) == runs


def test_an_alert_recovers_and_its_incident_is_looked_at_again(plant: Plant) -> None:
    write(plant, PSI)
    feed(plant, range(3), shift=2)
    (alert,) = fired(plant)
    with plant.database.transaction() as conn:
        postpone_incident(conn, alert.incident_id, None)
    feed(plant, range(3, 6))
    (after,) = fired(plant)
    assert after == replace(alert, resolved_at=plant.now, ended="recovered")
    assert incidents(plant)[0].due_at == plant.now


def test_rows_that_come_late_change_numbers_and_no_alert(plant: Plant) -> None:
    write(plant, PSI)
    feed(plant, range(3), shift=2)
    alert = fired(plant)
    late = [f"late-{i}" for i in range(3_000)]
    plant.send(make_batch(late, at(0) + np.arange(3_000), seed=9))
    plant.drain()
    plant.cycle()
    assert plant.drift(metrics=("psi_score",)).metrics["psi_score"][0, 0] < 0.2
    assert fired(plant) == alert
    assert len(incidents(plant)) == 1


def test_a_window_computed_again_from_the_start_fires_nothing_twice(plant: Plant) -> None:
    write(plant, PSI)
    feed(plant, range(4), shift=2)
    before = fired(plant)
    plant.execute("UPDATE windows SET computed_seq = 0")
    plant.catalog.forget()
    plant.cycle()
    assert fired(plant) == before


def test_what_is_not_committed_has_not_fired(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    write(plant, PSI)
    feed(plant, range(2), shift=2)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(monitor, "mark_computed", die)
    with pytest.raises(KeyboardInterrupt):
        feed(plant, [2], shift=2)
    assert fired(plant) == incidents(plant) == []
    monkeypatch.undo()
    plant.cycle()
    assert len(fired(plant)) == 1


def test_volume_is_judged_of_windows_that_are_too_small_for_drift(plant: Plant) -> None:
    write(plant, SILENT)
    feed(plant, [0])
    feed(plant, [1], rows=20)
    (alert,) = fired(plant)
    assert (alert.feature_name, alert.metric_value, alert.windows[0].start) == ("", 20, at(1))
    feed(plant, [2])
    assert fired(plant)[0].ended == "recovered"


def test_weighted_rows_stand_for_the_predictions_that_were_not_kept(plant: Plant) -> None:
    write(plant, SILENT)
    ids = [f"w-{i}" for i in range(20)]
    plant.send(make_batch(ids, at(0) + np.arange(20), weight=100))
    plant.drain()
    plant.let_pass(1000)
    plant.cycle()
    assert fired(plant) == []


def test_a_model_has_one_open_incident_whose_severity_only_rises(plant: Plant) -> None:
    write(plant, PSI, SHARE)
    feed(plant, range(3), shift=2)
    assert [alert.rule_id for alert in fired(plant)] == ["psi", "share"]
    (incident,) = incidents(plant)
    assert incident.severity is Severity.HIGH
    with plant.database.transaction() as conn:
        assert len(list_incident_alerts(conn, incident.incident_id)) == 2


def test_after_an_incident_is_closed_the_next_alert_opens_another(plant: Plant) -> None:
    write(plant, PSI)
    feed(plant, range(3), shift=2)
    feed(plant, range(3, 6))
    with plant.database.transaction() as conn:
        close_incident(conn, incidents(plant)[0].incident_id, plant.now)
    feed(plant, range(6, 9), shift=2)
    first, second = fired(plant)
    assert first.incident_id != second.incident_id
    assert second.opened == at(9)


def test_segments_are_judged_apart(bare: Plant) -> None:
    schema = Schema(SCHEMA.features, segments=("country",))
    bare.register(schema=schema)
    bare.refer(make_reference(schema=schema))
    write(bare, replace(PSI, segment="country=*"))
    for hour in range(3):
        ids = [f"{hour}-{i}" for i in range(600)]
        bare.send(make_batch(ids, at(hour) + np.arange(600), shift=2, seed=hour, schema=schema), schema=schema)
    bare.drain()
    bare.let_pass(1000)
    bare.cycle()
    assert {alert.segment for alert in fired(bare)} == {"country=DE", "country=FR", "country=US"}
    assert len(incidents(bare)) == 1


def test_a_deleted_rule_ends_its_alerts_and_an_edited_one_goes_on(plant: Plant) -> None:
    write(plant, PSI)
    feed(plant, range(3), shift=2)
    write(plant, replace(PSI, threshold=0.15))
    feed(plant, [3], shift=2)
    assert len(fired(plant)) == 1
    with plant.database.transaction() as conn:
        end_rules(conn, {each.rule.rule_id: each.rule for each in list_rules(conn)}, plant.now)
        delete_rules(conn, ["psi"])
    assert fired(plant)[0].ended == "no longer watched"
    assert plant.execute("SELECT FROM alert_states") == []


def test_an_edited_rule_ends_its_alerts_where_it_does_not_watch_any_more(plant: Plant) -> None:
    write(plant, PSI)
    feed(plant, range(3), shift=2)
    edited = replace(PSI, segment="country=*")
    with plant.database.transaction() as conn:
        end_unwatched(conn, {"psi": replace(PSI, threshold=9, feature="amount")}, plant.now)
        (alert,) = list_alerts(conn, AlertFilter())
        assert alert.is_open
        postpone_incident(conn, alert.incident_id, None)
        end_unwatched(conn, {"psi": edited}, plant.now)
    assert fired(plant)[0].ended == "no longer watched"
    assert incidents(plant)[0].due_at == plant.now
    assert plant.execute("SELECT FROM alert_states") == []


def test_an_alert_of_a_rule_that_is_gone_ends(plant: Plant) -> None:
    write(plant, PSI, SHARE)
    feed(plant, range(3), shift=2)
    with plant.database.transaction() as conn:
        delete_rules(conn, ["psi"])  # as seen by a monitor that fires by it in this instant
        count = end_orphans(conn, plant.now)
    ended = {alert.rule_id: alert.ended for alert in fired(plant)}
    assert (count, ended) == (1, {"psi": "no longer watched", "share": ""})
    assert plant.execute("SELECT rule_id FROM alert_states") == [("share",)]


def test_a_deleted_model_leaves_its_alerts_ended_for_the_record(plant: Plant) -> None:
    write(plant, PSI)
    feed(plant, range(3), shift=2)
    with plant.database.transaction() as conn:
        delete_model(conn, "fraud")
        end_model_alerts(conn, "fraud", None, "model deleted", plant.now)
    assert fired(plant)[0].ended == "model deleted"
    assert plant.execute("SELECT FROM alert_states") == []


def test_models_of_a_team_that_share_a_drifted_source_share_an_incident(bare: Plant) -> None:
    shared = Schema((replace(SCHEMA.features[0], source="feast:payments"), *SCHEMA.features[1:]))
    models = {"fraud": shared, "churn": shared, "other": SCHEMA}
    for model, schema in models.items():
        bare.register(model_id=model, schema=schema)
        bare.refer(make_reference(schema=schema), model_id=model)
    write(bare, replace(PSI, model="*"))
    for model, schema in models.items():
        for hour in range(3):
            ids = [f"{model}-{hour}-{i}" for i in range(150)]
            batch = make_batch(ids, at(hour) + np.arange(150), shift=2, seed=hour, model_id=model, schema=schema)
            bare.send(batch, schema=schema)
    bare.drain()
    bare.let_pass(1000)
    bare.cycle()
    by_model = {alert.model_id: alert for alert in fired(bare)}
    assert by_model["fraud"].source == "feast:payments"
    assert by_model["fraud"].incident_id == by_model["churn"].incident_id != by_model["other"].incident_id


def test_presets_are_silent_on_a_healthy_model_and_speak_of_a_sick_one(plant: Plant) -> None:
    write(plant, *make_preset(Preset.DEFAULT, "fraud", outputs=(PREDICTION, SCORE), task=Task.BINARY))
    feed(plant, range(6))
    assert fired(plant) == []
    feed(plant, range(6, 9), shift=3)
    assert {alert.rule_id for alert in fired(plant)} == {"fraud.drifted_share"}  # one of its three inputs


def test_two_monitors_at_once_fire_once(plant: Plant) -> None:
    write(plant, PSI)
    for hour in range(3):
        plant.send(make_batch([f"{hour}-{i}" for i in range(150)], at(hour) + np.arange(150), shift=2, seed=hour))
    plant.drain()
    plant.let_pass(1000)

    def work() -> None:
        catalog = Catalog()
        while monitor.run_cycle(plant.database, plant.log, catalog, plant.settings, lambda: plant.now, plant.stop):
            pass

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fired(plant)) == len(incidents(plant)) == 1


def test_alerts_are_found_by_what_they_are_of(plant: Plant) -> None:
    write(plant, PSI, SHARE)
    feed(plant, range(3), shift=2)
    psi, share = fired(plant)
    assert fired(plant, feature_name="amount") == fired(plant, rule_id="psi") == [psi]
    assert fired(plant, severity="HIGH") == [share]
    assert fired(plant, model_id="churn") == fired(plant, is_open=False) == fired(plant, since=FAR) == []
    assert fired(plant, is_open=True, since=MONDAY, until=FAR) == [psi, share]
    with plant.database.transaction() as conn:
        assert list_alerts(conn, AlertFilter(), before=share.alert_id, limit=1) == [psi]


def test_the_audit_trail_only_grows(plant: Plant) -> None:
    with plant.database.transaction() as conn:
        record_audit(conn, plant.now, "ana", "acknowledged", "incident/1", {"comment": "on it"})
        (entry,) = list_audit(conn, subject="incident/1")
    assert (entry.actor, entry.act, entry.at, entry.details) == (
        "ana",
        "acknowledged",
        plant.now,
        {"comment": "on it"},
    )
    for statement in ("UPDATE audit_trail SET actor = 'bob'", "DELETE FROM audit_trail", "TRUNCATE audit_trail"):
        with pytest.raises(Exception, match="never changed"):
            plant.execute(statement)


def test_a_model_made_again_and_replayed_has_its_alerts_again(plant: Plant) -> None:
    write(plant, PSI)
    feed(plant, range(3), shift=2)
    (before,) = fired(plant)
    with plant.database.transaction() as conn:
        delete_model(conn, "fraud")
        end_model_alerts(conn, "fraud", None, MODEL_DELETED, plant.now)
        close_incident(conn, before.incident_id, plant.now)
    plant.register()
    plant.refer(make_reference())
    feed(plant, range(3), shift=2)
    (after,) = fired(plant)
    assert (after.alert_id, after.ended, after.is_open) == (before.alert_id, "", True)
    assert after.incident_id != before.incident_id


def test_a_window_that_was_deadlocked_is_tried_again(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    write(plant, PSI)
    deaths = iter([DeadlockDetected("two wait for one another")])

    def judge_late(*arguments: object) -> object:
        for death in deaths:
            raise death
        return judge_closed(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(monitor, "judge_closed", judge_late)
    feed(plant, range(3), shift=2)
    assert len(fired(plant)) == 1
    assert set(plant.drift(metrics=()).status) == {"ok"}
