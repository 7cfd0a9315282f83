"""Actions: proposed by alerts, held back by guard rails, approved, started once, followed to their end."""

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import httpx
import pytest

from driftline.core.action_runs import Status
from driftline.core.approval import make_token
from driftline.notify.secret import Secret
from driftline.notify.webhook import is_authentic
from driftline.store.actions import get_run, propose_runs, step_run
from driftline.store.audit import list_audit
from driftline.store.database import Database
from driftline.store.drift import DriftWindow, upsert_drift
from driftline.store.models import delete_model, get_model, update_model
from driftline.store.references import StoredReference, store_reference
from driftline.store.versions import create_version, set_schema
from driftline.workers import action_steps
from driftline.workers.actions import refuse_nameless
from driftline.workers.alerts import end_model_alerts
from tests.log.json_schema import valid
from tests.notify.provider import HANG_UP, Reply, run_provider
from tests.workers.action_yard import EAGER, KEY, Yard
from tests.workers.plant import HOUR, wait_for


@pytest.fixture
def yard(database: Database) -> Iterator[Yard]:
    with httpx.Client(timeout=2, trust_env=False) as client:
        made = Yard(database, client)
        made.register("fraud", "credit")
        yield made
        made.close()


def hook(url: str, kind: str = "retrain_webhook", **more: object) -> dict:
    return {"type": kind, "url": url, "key": "env:KEY", **more}


def approve(yard: Yard, run_id: str, who: str = "ana") -> None:
    with yard.database.transaction() as conn:
        run = get_run(conn, run_id, lock=True)
        done = step_run(
            conn, run, Status.APPROVED, yard.now, actor=who, due_at=yard.now, decided_by=who, decided_at=yard.now
        )
        assert done is not None


def test_an_alert_proposes_a_run_once_and_others_of_its_model_join_it(yard: Yard) -> None:
    first = yard.fire("fraud", "retrain")
    second = yard.fire("fraud", "retrain", "page")
    yard.fire("credit", "retrain")
    with yard.database.transaction() as conn:
        assert propose_runs(conn, [first, second], yard.now) == []
    assert [(run.action, run.model_id) for run in yard.runs()].count(("retrain", "fraud")) == 1
    assert len(yard.runs()) == 3
    assert yard.execute("SELECT count(*) FROM action_run_alerts") == [(4,)]


def test_a_retraining_waits_for_approval_then_starts_with_all_that_the_trainer_needs(yard: Yard) -> None:
    with run_provider(lambda _: Reply(202)) as provider:
        work = yard.configure(**hook(f"{provider.url}/train?secret=1", min_windows=0))
        alert = yard.fire("fraud", "retrain")
        yard.work_off()
        assert (yard.run.status, provider.requests) == (Status.WAITING, [])
        assert yard.again(alert).action_taken == "retrain: waiting for approval"
        approve(yard, yard.run.run_id)
        yard.work_off()
    assert (yard.run.status, yard.run.starts, yard.run.maybe_repeated) == (Status.RUNNING, 1, 0)
    (request,) = provider.requests
    assert request.headers["Idempotency-Key"] == f"{yard.run.run_id}/start"
    stamp = int(request.headers["Driftline-Timestamp"])
    assert is_authentic(Secret("signing-key"), request.headers, request.body, stamp)
    content = request.content
    assert (content["schema"], content["phase"]) == ("urn:driftline:action:1", "start")
    assert (content["model_id"], content["model_version"], content["approved_by"]) == ("fraud", "3", "ana")
    assert content["drifted_features"] == ["amount"]
    assert content["windows"] == {"start": "2026-01-04T21:00:00Z", "end": "2026-01-05T00:00:00Z"}
    assert content["samples"] == {"url": "s3://lake/root/model=fraud/version=3", "format": "parquet"}
    assert content["callback"]["token"] == make_token(KEY, yard.run.run_id)
    assert content["callback"]["url"].endswith(f"/actions/runs/{yard.run.run_id}/callback")
    assert "token" not in (yard.run.request or {})["callback"]
    schema = json.loads(files("driftline.actions").joinpath("action.schema.json").read_text())
    assert valid(content, schema, schema)
    assert not valid({**content, "phase": "stop"}, schema, schema)
    assert yard.again(alert).action_taken == "retrain: running"
    with yard.database.transaction() as conn:
        entries = list_audit(conn, subject=yard.run.subject)[::-1]
    acts = [(entry.actor, entry.act) for entry in entries]
    assert entries[-1].details == {"was": "starting", "external_id": yard.run.run_id}
    assert acts == [
        ("driftline", "proposed"),
        ("driftline", "waiting_for_approval"),
        ("ana", "approved"),
        ("driftline", "starting"),
        ("driftline", "running"),
    ]
    assert work.action.policy.approval


def test_the_trainer_is_told_which_features_make_up_a_share(yard: Yard) -> None:
    names = ("amount", "__score__", "country", "age")
    windows = ([False, True, True, False], [True, True, True, False])
    with yard.database.transaction() as conn:
        set_schema(
            conn, "fraud", "3", schema={}, schema_id="s", feature_names=names, feature_kinds=("numeric",) * 4
        )
        for hours, drifted in zip((2, 1), windows, strict=True):
            start = yard.now - hours * HOUR
            window = DriftWindow(
                "fraud", "3", "", "training", start, start + HOUR, HOUR, start, "g", "ok", False, 9, 9.0, yard.now
            )
            arrays = {"sample_count": [9] * 4, "level": [0] * 4, "feature_status": ["ok"] * 4}
            upsert_drift(conn, window, {**arrays, "drifted": drifted, "psi_score": [0.9, 0.8, 0.3, 0.0]})
    with run_provider(lambda _: Reply(202)) as provider:
        yard.configure(**(hook(provider.url) | EAGER))
        yard.fire("fraud", "retrain", metric="drifted_share", feature="")
        yard.fire("credit", "retrain", metric="drifted_share", feature="")
        yard.work_off()
    told = {request.content["model_id"]: request.content["drifted_features"] for request in provider.requests}
    assert told == {"fraud": ["amount", "country"], "credit": []}


def test_nobody_approves(yard: Yard) -> None:
    yard.configure(**hook("http://127.0.0.1:9", min_windows=0))
    yard.fire("fraud", "retrain")
    yard.work_off()
    yard.let_pass(hours=72)
    yard.work_off()
    assert (yard.run.status, yard.run.reason) == (Status.EXPIRED, "nobody approved it within 3 days, 0:00:00")
    assert yard.run.due_at is None


def test_a_run_whose_alerts_are_over_does_not_start(yard: Yard) -> None:
    yard.configure(**hook("http://127.0.0.1:9", min_windows=0))
    alert = yard.fire("fraud", "retrain")
    yard.work_off()
    approve(yard, yard.run.run_id)
    yard.resolve(alert)
    yard.work_off()
    assert (yard.run.status, yard.run.reason, yard.run.starts) == (Status.EXPIRED, "its alerts are over", 0)


@pytest.mark.parametrize(
    ("policy", "metric", "reason"),
    [
        ({"models": ["credit*"]}, "psi", "the action is only for models credit*"),
        ({"min_windows": 2}, "psi", "0 of 2 windows (min_windows) have closed since it began"),
        ({"min_labels": 500}, "psi", "0 of 500 labels (min_labels) are mature since it began"),
        ({}, "missing_rate", "data-quality alerts fire for amount: mend the data first"),
    ],
)
def test_a_guard_rail_says_why_a_run_does_not_start(yard: Yard, policy: dict, metric: str, reason: str) -> None:
    yard.configure(**(hook("http://127.0.0.1:9") | EAGER | policy))
    alert = yard.fire("fraud", "retrain", metric=metric)
    yard.work_off()
    assert (yard.run.status, yard.run.reason, yard.run.starts) == (Status.BLOCKED, reason, 0)
    assert yard.again(alert).action_taken == f"retrain: blocked ({reason})"


def test_a_dry_run_only_says_what_it_would_have_done(yard: Yard) -> None:
    yard.configure(**(hook("http://127.0.0.1:9") | EAGER | {"dry_run": True}))
    yard.fire("fraud", "retrain")
    yard.work_off()
    assert (yard.run.status, yard.run.starts) == (Status.DRY_RUN, 0)


def test_so_many_runs_go_on_at_once(yard: Yard) -> None:
    with run_provider(lambda _: Reply(202)) as provider:
        yard.configure(**(hook(provider.url, at_once=1, time_out="1h") | EAGER))
        yard.fire("fraud", "retrain")
        yard.fire("credit", "retrain")
        yard.work_off()
        assert sorted(run.status for run in yard.runs()) == [Status.BLOCKED, Status.RUNNING]
        yard.let_pass(hours=2)
        yard.work_off()
    assert sorted(run.status for run in yard.runs()) == [Status.FAILED, Status.RUNNING]


def test_cooldown_holds_the_next_run_back_until_it_is_over(yard: Yard) -> None:
    with run_provider(lambda _: Reply(204)) as provider:
        yard.configure("tell", **hook(provider.url, "webhook", cooldown="2h"))
        yard.fire("fraud", "tell")
        yard.work_off()
        yard.let_pass(hours=1)
        yard.fire("fraud", "tell")
        yard.work_off()
        assert [run.status for run in yard.runs()] == [Status.SUCCEEDED, Status.BLOCKED]
        assert yard.runs()[1].reason.endswith("cooldown until 2026-01-05T02:00:00Z")
        yard.let_pass(hours=1)
        yard.work_off()
    assert [run.status for run in yard.runs()] == [Status.SUCCEEDED, Status.SUCCEEDED]
    assert len(provider.requests) == 2


def test_a_start_that_failed_is_tried_again_with_the_same_key_and_the_doubtful_ones_are_counted(
    yard: Yard,
) -> None:
    with run_provider(lambda _: Reply(202)) as provider:
        provider.troubles = [Reply(503), HANG_UP]
        yard.configure(**(hook(provider.url) | EAGER))
        yard.fire("fraud", "retrain")
        for _ in range(3):
            yard.work_off()
            yard.let_pass(minutes=6)
    assert (yard.run.status, yard.run.starts, yard.run.maybe_repeated) == (Status.RUNNING, 3, 1)
    assert len({(request.headers["Idempotency-Key"], request.body) for request in provider.requests}) == 1


def test_a_refused_start_is_a_failure_that_shows_no_credential(yard: Yard) -> None:
    with run_provider(lambda request: Reply(401, {"bad": request.path})) as provider:
        yard.configure(**(hook(f"{provider.url}/train?secret=hunter2") | EAGER))
        yard.fire("fraud", "retrain")
        yard.work_off()
    assert yard.run.status is Status.FAILED
    assert "HTTP 401" in yard.run.detail
    assert "hunter2" not in yard.run.detail


def test_a_run_that_does_not_end_fails(yard: Yard) -> None:
    with run_provider(lambda _: Reply(202)) as provider:
        yard.configure(**(hook(provider.url, time_out="2h") | EAGER))
        yard.fire("fraud", "retrain")
        yard.work_off()
        yard.let_pass(hours=3)
        yard.work_off()
    assert (yard.run.status, yard.run.detail) == (Status.FAILED, "it did not end within 2:00:00 (time_out)")


def test_a_new_version_with_its_reference_ends_the_run_and_the_alerts_that_led_to_it(yard: Yard) -> None:
    with run_provider(lambda _: Reply(202)) as provider:
        yard.configure(**(hook(provider.url) | EAGER))
        alert, other = yard.fire("fraud", "retrain"), yard.fire("fraud")
        yard.work_off()
        yard.let_pass(hours=1)
        with yard.database.transaction() as conn:
            create_version(conn, "fraud", "4")
        yard.work_off()
        assert yard.run.status is Status.RUNNING
        with yard.database.transaction() as conn:
            store_reference(conn, StoredReference("fraud", "4", "grid", b"", 1, yard.now, 0), [])
        yard.work_off()
    assert (yard.run.status, yard.run.retrained_as) == (Status.SUCCEEDED, "4")
    ended = yard.again(alert)
    assert (ended.ended, ended.resolved_at) == ("retrained as version 4", yard.now)
    assert ended.action_taken == "retrain: succeeded (retrained as version 4)"
    assert yard.again(other).is_open


@pytest.mark.parametrize("policy", [{"min_windows": 0}, {"min_windows": 2}])
def test_a_new_version_ends_a_retraining_that_has_not_started(yard: Yard, policy: dict) -> None:
    yard.configure(**hook("http://127.0.0.1:9", **policy))
    alert = yard.fire("fraud", "retrain")
    yard.work_off()
    assert yard.run.status in (Status.WAITING, Status.BLOCKED)
    yard.let_pass(hours=1)
    with yard.database.transaction() as conn:
        create_version(conn, "fraud", "4")
        store_reference(conn, StoredReference("fraud", "4", "grid", b"", 1, yard.now, 0), [])
    yard.work_off()
    assert (yard.run.status, yard.run.reason) == (Status.EXPIRED, "retrained as version 4")
    assert (yard.again(alert).ended, yard.run.retrained_as) == ("retrained as version 4", "4")


def test_the_fallback_flag_is_set_while_the_alerts_fire(yard: Yard) -> None:
    with yard.database.transaction() as conn:
        update_model(conn, "fraud", {"settings": {"expected_rows": 7}})
    yard.configure("backup", type="fallback_flag", approval=False)
    alert = yard.fire("fraud", "backup")
    yard.work_off()
    assert settings_of(yard) == {"expected_rows": 7, "fallback_active": True}
    later = yard.fire("fraud", "backup")
    yard.resolve(alert)
    yard.let_pass(minutes=1)
    yard.work_off()
    assert settings_of(yard)["fallback_active"]
    yard.resolve(later)
    yard.let_pass(minutes=1)
    yard.work_off()
    assert not settings_of(yard)["fallback_active"]
    assert (yard.run.status, yard.run.detail) == (Status.SUCCEEDED, "its alerts are over")


def test_a_flag_that_somebody_took_back_stays_so(yard: Yard) -> None:
    yard.configure("backup", type="fallback_flag", approval=False)
    yard.fire("fraud", "backup")
    yard.work_off()
    with yard.database.transaction() as conn:
        update_model(conn, "fraud", {"settings": {"fallback_active": False}})
    yard.let_pass(minutes=1)
    yard.work_off()
    assert (yard.run.status, yard.run.detail) == (Status.SUCCEEDED, "somebody switched back")
    assert not settings_of(yard)["fallback_active"]


def settings_of(yard: Yard) -> dict:
    with yard.database.transaction() as conn:
        return dict(get_model(conn, "fraud").settings)


def test_a_fallback_webhook_is_told_when_it_begins_and_when_it_is_over(yard: Yard) -> None:
    with run_provider(lambda _: Reply(200)) as provider:
        yard.configure("backup", **hook(provider.url, "fallback_webhook", approval=False))
        alert = yard.fire("fraud", "backup")
        yard.work_off()
        yard.resolve(alert)
        yard.let_pass(minutes=1)
        provider.troubles = [HANG_UP]
        yard.work_off()
        assert (yard.run.status, yard.run.detail[:24]) == (Status.RUNNING, "it could not be ended: n")
        yard.let_pass(minutes=1)
        yard.work_off()
    assert yard.run.status is Status.SUCCEEDED
    assert [request.content["phase"] for request in provider.requests] == ["start", "end", "end"]


def train(yard: Yard, code: str, **more: object) -> None:
    yard.configure(**({"type": "command", "argv": [sys.executable, "-c", code]} | EAGER | more))
    yard.fire("fraud", "retrain")
    yard.work_off()

    def is_over() -> bool:
        yard.work_off()
        return yard.run.status not in (Status.STARTING, Status.RUNNING)

    wait_for(is_over)


def test_a_command_gets_the_request_and_nothing_of_our_environment(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    monkeypatch.setenv("DATABASE_URL", "secret")
    monkeypatch.setenv("TRAINER", "named")
    seen = tmp_path / "seen.json"
    code = (
        f"import json, os, sys; out = open({str(seen)!r}, 'w');"
        "json.dump([json.load(sys.stdin), dict(os.environ)], out); print('auc 0.9')"
    )
    train(yard, code, environment=["TRAINER"])
    assert (yard.run.status, yard.run.detail) == (Status.SUCCEEDED, "auc 0.9")
    content, environment = json.loads(seen.read_text())
    assert content["model_id"] == environment["DRIFTLINE_MODEL_ID"] == "fraud"
    assert json.loads(environment["DRIFTLINE_REQUEST"]) == content
    assert environment["DRIFTLINE_CALLBACK_TOKEN"] == content["callback"]["token"]
    assert environment["TRAINER"] == "named"
    assert "DATABASE_URL" not in environment


def test_a_command_that_fails_says_how(yard: Yard) -> None:
    train(yard, "import sys; print('no data'); sys.exit(3)")
    assert (yard.run.status, yard.run.detail) == (
        Status.FAILED,
        "the command ended with exit code 3; it said: no data",
    )


def test_a_command_that_is_not_there(yard: Yard) -> None:
    train(yard, "", argv=["/nowhere/train"])
    assert yard.run.detail == "the command cannot be run: No such file or directory (/nowhere/train)"


def test_a_command_is_ended_at_its_time_out_with_all_that_it_started(yard: Yard, tmp_path) -> None:
    child = tmp_path / "child"
    code = (
        "import subprocess, sys, time; "
        f"p = subprocess.Popen(['sleep', '1000']); open({str(child)!r}, 'w').write(str(p.pid)); time.sleep(1000)"
    )
    train(yard, code, time_out="1s")
    assert (yard.run.status, yard.run.detail) == (Status.FAILED, "the command was ended after 1 s (time_out)")
    wait_for(lambda: not is_alive(int(child.read_text())))


def test_what_a_command_is_given_to_keep_secret_is_not_shown(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINER_TOKEN", "hunter2-token")
    code = "import os, sys; print('bad token', os.environ['TRAINER_TOKEN']); sys.exit(1)"
    train(yard, code, environment=["TRAINER_TOKEN"])
    assert yard.run.detail == "the command ended with exit code 1; it said: bad token …"


def test_a_command_dies_with_its_guard(yard: Yard, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = (
        "import os, subprocess, sys, time; child = subprocess.Popen(['sleep', '1000']);"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}.'); time.sleep(1000)"
    )
    work = yard.configure(type="command", argv=[sys.executable, "-c", code], **EAGER)
    yard.fire("fraud", "retrain")
    yard.work_off()
    wait_for(lambda: pids.exists() and pids.read_text().endswith("."))
    guard = int(yard.run.external_id.rpartition(":")[2])
    os.kill(guard, signal.SIGKILL)
    ((_, running),) = work.commands.values()
    assert running.poll(30) is not None
    yard.work_off()
    assert (yard.run.status, yard.run.detail) == (Status.FAILED, "the command's guard died")
    wait_for(lambda: not any(is_alive(int(pid)) for pid in pids.read_text()[:-1].split()))


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_an_alert_about_driftline_itself_has_no_model(yard: Yard) -> None:
    with run_provider(lambda _: Reply(204)) as provider:
        yard.configure("tell", **hook(provider.url, "webhook"))
        yard.configure("backup", type="fallback_flag", approval=False)
        yard.fire("driftline", "tell", "backup", metric="consumer_lag", feature="")
        yard.work_off()
    told = {run.action: (run.status, run.detail) for run in yard.runs()}
    assert told == {
        "tell": (Status.SUCCEEDED, ""),
        "backup": (Status.FAILED, "there is no model 'driftline'"),
    }


def test_what_was_proposed_for_a_model_that_is_deleted_does_not_start(yard: Yard) -> None:
    yard.configure(**hook("http://127.0.0.1:9", min_windows=0))
    yard.fire("fraud", "retrain")
    yard.work_off()
    with yard.database.transaction() as conn:
        delete_model(conn, "fraud")
        end_model_alerts(conn, "fraud", None, "model deleted", yard.now)
    yard.let_pass(minutes=1)
    yard.work_off()
    assert (yard.run.status, yard.run.reason) == (Status.EXPIRED, "its alerts are over")


def test_a_step_that_fails_holds_up_no_other(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    with run_provider(lambda _: Reply(204)) as provider:
        work = yard.configure("tell", **hook(provider.url, "webhook"))
        yard.fire("fraud", "tell")
        yard.fire("credit", "tell")
        read_facts = action_steps.read_facts

        def fail(conn, run, *others):
            if run.model_id == "fraud":
                raise RuntimeError("a fault of ours")
            return read_facts(conn, run, *others)

        monkeypatch.setattr(action_steps, "read_facts", fail)
        yard.work_off(work)
        assert {run.model_id: run.status for run in yard.runs()} == {
            "fraud": Status.PROPOSED,
            "credit": Status.SUCCEEDED,
        }
        monkeypatch.undo()
        yard.let_pass(minutes=3)
        yard.work_off(work)
    assert {run.status for run in yard.runs()} == {Status.SUCCEEDED}


def test_an_action_that_the_settings_do_not_have(yard: Yard) -> None:
    alert = yard.fire("fraud", "retrian")
    refuse_nameless(yard.database, ["retrain"], yard.now)
    assert (yard.run.status, yard.run.reason) == (
        Status.BLOCKED,
        "the settings have no action 'retrian'; add [actions.retrian]",
    )
    yard.resolve(alert)
    refuse_nameless(yard.database, ["retrain"], yard.now + HOUR)
    assert yard.run.status is Status.EXPIRED


def test_a_run_that_goes_on_is_held_while_the_settings_do_not_have_its_action(yard: Yard) -> None:
    with run_provider(lambda _: Reply(200)) as provider:
        yard.configure("backup", **hook(provider.url, "fallback_webhook", approval=False))
        alert = yard.fire("fraud", "backup")
        yard.work_off()
        yard.resolve(alert)
        for _ in range(3):
            yard.let_pass(minutes=2)
            refuse_nameless(yard.database, [], yard.now)
        assert (yard.run.status, len(provider.requests)) == (Status.RUNNING, 1)
        reason = "the settings have no action 'backup'; add [actions.backup]: nothing follows the run until then"
        assert yard.run.reason == reason
        yard.let_pass(minutes=2)
        yard.work_off()
    assert (yard.run.status, yard.run.reason) == (Status.SUCCEEDED, "")
    assert [request.content["phase"] for request in provider.requests] == ["start", "end"]


def test_an_alert_that_joins_a_fallback_while_it_is_ended_gets_another_run(yard: Yard) -> None:
    late = []

    def answer(request) -> Reply:
        if request.content["phase"] == "end" and not late:
            late.append(yard.fire("fraud", "backup", feature="country"))
        return Reply(204)

    with run_provider(answer) as provider:
        yard.configure("backup", **hook(provider.url, "fallback_webhook", approval=False))
        alert = yard.fire("fraud", "backup")
        yard.work_off()
        yard.resolve(alert)
        yard.let_pass(minutes=1)
        yard.work_off()
    assert [run.status for run in yard.runs()] == [Status.SUCCEEDED, Status.RUNNING]
    assert [request.content["phase"] for request in provider.requests] == ["start", "end", "start"]
    assert len({request.headers["Idempotency-Key"] for request in provider.requests}) == 3
    assert yard.again(late[0]).action_taken == "backup: running"


def test_an_alert_that_joins_a_run_that_is_about_to_expire_is_not_lost(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    yard.configure(**hook("http://127.0.0.1:9", min_windows=0))
    yard.resolve(yard.fire("fraud", "retrain"))
    read_facts, threads = action_steps.read_facts, []

    def fire_meanwhile(conn, run, *others):
        if not threads:
            threads.append(threading.Thread(target=yard.fire, args=("fraud", "retrain")))
            threads[0].start()
            waiting = (
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                " AND datname = current_database() AND query LIKE %s"
            )
            wait_for(lambda: not threads[0].is_alive() or yard.execute(waiting, "%action_runs%") != [(0,)])
        return read_facts(conn, run, *others)

    monkeypatch.setattr(action_steps, "read_facts", fire_meanwhile)
    yard.work_off()
    threads[0].join()
    yard.work_off()
    assert sorted(run.status for run in yard.runs()) == [Status.EXPIRED, Status.WAITING]


@pytest.mark.parametrize(("second", "hours"), [(Reply(401), 0), (Reply(504), 2)])
def test_a_fallback_that_may_be_up_is_ended_before_its_start_has_failed(
    yard: Yard, second: Reply, hours: int
) -> None:
    with run_provider(lambda _: Reply(204)) as provider:
        provider.troubles = [Reply(504), second, Reply(503), second]
        yard.configure("backup", **hook(provider.url, "fallback_webhook", approval=False))
        yard.fire("fraud", "backup")
        yard.work_off()
        yard.let_pass(minutes=10, hours=hours)
        yard.work_off()
        assert yard.run.status is Status.STARTING
        assert "it may be up and could not be ended: HTTP 503" in yard.run.detail
        yard.let_pass(minutes=10)
        yard.work_off()
    assert yard.run.status is Status.FAILED
    assert [request.content["phase"] for request in provider.requests] == ["start", "start", "end", "start", "end"]
