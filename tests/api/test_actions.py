"""Runs of actions over HTTP: listed, shown, decided, reported on, and the page behind an approval link."""

import re
from collections.abc import Iterator

import httpx
import pytest

from driftline.api.moments import read_clock
from driftline.core.action_runs import Status
from driftline.core.approval import make_token, sign_approval
from driftline.settings import Settings
from driftline.store.database import Database
from driftline.workers.approval_key import read_approval_key
from tests.notify.provider import Reply, run_provider
from tests.workers.action_yard import Yard

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def yard(database: Database, settings: Settings, client: httpx.Client) -> Iterator[Yard]:
    """A retraining for fraud waits for approval; `client` asks the API on the same database."""
    made = Yard(database, httpx.Client(timeout=2, trust_env=False), now=read_clock())
    made.register("fraud")
    made.configure(type="retrain_webhook", url="http://127.0.0.1:9", key="env:KEY", min_windows=0)
    made.fire("fraud", "retrain", feature=f"amount{EVIL}")
    made.work_off()
    assert made.run.status is Status.WAITING
    yield made
    made.client.close()


@pytest.fixture
def link(yard: Yard, settings: Settings) -> str:
    return make_link(settings, yard.run.run_id, yard.run.approve_before // 1_000_000)


def make_link(settings: Settings, run_id: str, expires: int) -> str:
    signature = sign_approval(read_approval_key(settings), run_id, expires)
    return f"/actions/{run_id}/approval?expires={expires}&signature={signature}"


def test_runs_are_listed_and_shown(client: httpx.Client, yard: Yard) -> None:
    (listed,) = client.get("/actions", params={"model_id": "fraud", "open": True}).json()["actions"]
    assert (listed["action"], listed["status"], listed["starts"]) == ("retrain", "waiting_for_approval", 0)
    assert client.get("/actions", params={"status": "running"}).json() == {"actions": [], "next": None}
    yard.fire("fraud", "page")
    page = client.get("/actions", params={"limit": 1}).json()
    (older,) = client.get("/actions", params={"after": page["next"]}).json()["actions"]
    assert {page["actions"][0]["run_id"], older["run_id"]} == {run.run_id for run in yard.runs()}
    shown = client.get(f"/actions/{listed['run_id']}").json()
    assert [entry["act"] for entry in shown["history"]] == ["proposed", "waiting_for_approval"]
    assert shown["alerts"][0]["metric_value"] == 0.4172
    assert {name: shown[name] for name in listed} == listed
    gone = client.get("/actions/nowhere")
    assert (gone.status_code, gone.json()["detail"]) == (404, "there is no run nowhere; GET /actions lists them")


def test_a_person_approves_once(client: httpx.Client, yard: Yard) -> None:
    path = f"/actions/{yard.run.run_id}"
    assert client.post(f"{path}/approve", json={"comment": "x"}).json()["field"] == "by"
    done = client.post(f"{path}/approve", json={"by": "ana", "comment": "new supplier"}).json()
    assert (done["status"], done["decided_by"], done["comment"]) == ("approved", "ana", "new supplier")
    again = client.post(f"{path}/approve", json={"by": "bob"})
    assert again.status_code == 409
    assert again.json()["detail"] == "the run cannot be approved: it is approved by ana"


def test_an_approval_may_be_too_late(client: httpx.Client, yard: Yard, link: str) -> None:
    yard.execute("UPDATE action_runs SET approve_before = now() - interval '1 hour'")
    late = client.post(f"/actions/{yard.run.run_id}/approve", json={"by": "ana"})
    assert (late.status_code, late.json()["field"]) == (409, "status")
    assert late.json()["detail"].startswith("the run cannot be approved: it waited for that until 20")
    assert client.post(link, data={"who": "ana", "decision": "approve"}).status_code == 409
    assert yard.run.status is Status.WAITING
    assert client.post(f"/actions/{yard.run.run_id}/reject", json={"by": "ana"}).json()["status"] == "rejected"


def test_runs_that_there_are_not(client: httpx.Client, yard: Yard) -> None:
    for run_id in ("nowhere", "00000000-0000-0000-0000-000000000000", yard.run.run_id[:-1]):
        assert client.get(f"/actions/{run_id}").status_code == 404
        assert client.post(f"/actions/{run_id}/approve", json={"by": "ana"}).status_code == 404
        assert client.get("/actions", params={"after": run_id}).json() == {"actions": [], "next": None}


def test_a_rejected_run_never_starts(client: httpx.Client, yard: Yard) -> None:
    path = f"/actions/{yard.run.run_id}"
    assert client.post(f"{path}/reject", json={"by": "ana"}).json()["status"] == "rejected"
    assert client.post(f"{path}/approve", json={"by": "ana"}).status_code == 409
    yard.work_off()
    assert (yard.run.status, yard.run.starts) == (Status.REJECTED, 0)


def test_looking_at_the_page_changes_nothing(client: httpx.Client, yard: Yard, link: str) -> None:
    page = client.get(link)
    assert page.status_code == 200
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert (page.headers["cache-control"], page.headers["referrer-policy"]) == ("no-store", "no-referrer")
    assert "psi" in page.text
    assert "&lt;script&gt;" in page.text
    assert "<script" not in page.text
    assert '<form method="post">' in page.text
    assert yard.run.status is Status.WAITING


def test_the_form_of_the_page_approves(client: httpx.Client, yard: Yard, link: str) -> None:
    done = client.post(link, data={"who": f"ana {EVIL}", "decision": "approve", "comment": "é"})
    assert done.status_code == 303
    after = client.get(httpx.URL(link).join(done.headers["location"])).text
    assert "Status</dt><dd>approved" in after
    assert "<form" not in after
    assert EVIL not in after
    assert (yard.run.status, yard.run.decided_by, yard.run.comment) == (Status.APPROVED, f"ana {EVIL}", "é")
    assert client.post(link, data={"who": "bob", "decision": "reject"}).status_code == 303
    assert client.post(link, data={"who": "bob", "decision": "approve"}).status_code == 409


@pytest.mark.parametrize(
    "form", [{"decision": "approve"}, {"who": "ana"}, {"who": "ana", "decision": "maybe"}, {"who": "a" * 30_000}]
)
def test_a_form_that_is_not_filled_in_decides_nothing(
    client: httpx.Client, yard: Yard, link: str, form: dict
) -> None:
    assert client.post(link, data=form).status_code == 422
    assert yard.run.status is Status.WAITING


def test_links_that_are_not_ours(client: httpx.Client, yard: Yard, link: str, settings: Settings) -> None:
    form = {"who": "eve", "decision": "approve"}
    later = re.sub(r"expires=(\d+)", lambda found: f"expires={int(found[1]) + 1}", link)
    forged = (later, link[:-1] + ("0" if link[-1] != "0" else "1"), make_link(settings, yard.run.run_id, 1_000))
    for bad in forged:
        assert client.get(bad).status_code == client.post(bad, data=form).status_code == 403
    assert client.get(f"/actions/{yard.run.run_id}/approval").status_code == 422
    assert client.get(make_link(settings, "gone", 2**40)).status_code == 404
    assert yard.run.status is Status.WAITING


def test_a_trainer_reports_with_the_token_of_its_run(client: httpx.Client, yard: Yard, settings: Settings) -> None:
    run_id = yard.run.run_id
    path, token = f"/actions/runs/{run_id}/callback", make_token(read_approval_key(settings), run_id)
    headers = {"Authorization": f"Bearer {token}"}
    early = client.post(path, json={"status": "succeeded"}, headers=headers)
    assert (early.status_code, early.json()["detail"]) == (
        409,
        "the run is waiting_for_approval; it cannot become succeeded",
    )
    start(client, yard)
    assert client.post(path, json={"status": "failed"}).status_code == 403
    other = {"Authorization": f"Bearer {make_token(read_approval_key(settings), 'other')}"}
    assert client.post(path, json={"status": "failed"}, headers=other).status_code == 403
    claim = yard.run.claim
    going = client.post(path, json={"status": "running", "detail": "epoch 3"}, headers=headers).json()
    assert (going["status"], going["detail"], yard.run.claim) == ("running", "epoch 3", claim)
    report = {"status": "succeeded", "detail": "auc 0.91", "result": {"auc": 0.91}}
    for _ in range(2):
        done = client.post(path, json=report, headers=headers).json()
        assert (done["status"], done["detail"], done["result"]) == ("succeeded", "auc 0.91", {"auc": 0.91})
    assert client.post(path, json={"status": "failed"}, headers=headers).status_code == 409
    acts = [(entry["actor"], entry["act"]) for entry in client.get(f"/actions/{run_id}").json()["history"]]
    assert acts[-1] == ("callback/retrain", "succeeded")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_a_number_of_a_result_that_is_not_finite_is_kept_as_null(
    client: httpx.Client, yard: Yard, settings: Settings, number: str
) -> None:
    start(client, yard)
    done = report(client, yard, settings, f'{{"status": "running", "result": {{"a": [{{"b": {number}}}, 0.5]}}}}')
    assert (done.status_code, done.json()["result"]) == (200, {"a": [{"b": None}, 0.5]})


@pytest.mark.parametrize(
    "result", [r'{"a": "x\u0000y"}', r'{"a": [{"b\u0000": 1}]}', r'{"a": "\ud800"}', r'{"\ud800": 1}']
)
def test_a_result_that_cannot_be_kept_is_refused(
    client: httpx.Client, yard: Yard, settings: Settings, result: str
) -> None:
    start(client, yard)
    refused = report(client, yard, settings, f'{{"status": "succeeded", "result": {result}}}')
    assert refused.status_code == 422
    assert refused.json()["field"].startswith("result")
    assert yard.run.status is Status.RUNNING


def test_a_callback_does_not_end_a_fallback(client: httpx.Client, yard: Yard, settings: Settings) -> None:
    yard.execute("DELETE FROM action_run_alerts")
    yard.execute("DELETE FROM action_runs")
    yard.works.clear()
    with run_provider(lambda _: Reply(204)) as provider:
        yard.configure("backup", type="fallback_webhook", url=provider.url, key="env:KEY", approval=False)
        alert = yard.fire("fraud", "backup")
        yard.work_off()
        for status in ("succeeded", "failed"):
            refused = report(client, yard, settings, f'{{"status": "{status}"}}')
            assert (refused.status_code, refused.json()["field"]) == (409, "status")
            assert "ends by itself" in refused.json()["detail"]
        noted = report(client, yard, settings, '{"status": "running", "detail": "switched"}')
        assert (noted.json()["status"], noted.json()["detail"]) == ("running", "switched")
        yard.resolve(alert)
        yard.let_pass(minutes=1)
        yard.work_off()
    assert yard.run.status is Status.SUCCEEDED
    assert [request.content["phase"] for request in provider.requests] == ["start", "end"]


def report(client: httpx.Client, yard: Yard, settings: Settings, content: str) -> httpx.Response:
    token = make_token(read_approval_key(settings), yard.run.run_id)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    return client.post(f"/actions/runs/{yard.run.run_id}/callback", content=content, headers=headers)


def start(client: httpx.Client, yard: Yard) -> None:
    assert client.post(f"/actions/{yard.run.run_id}/approve", json={"by": "ana"}).status_code == 200
    yard.let_pass(minutes=1)
    with run_provider(lambda _: Reply(202)) as provider:
        yard.works.clear()
        yard.configure(type="retrain_webhook", url=provider.url, key="env:KEY", min_windows=0)
        yard.work_off()
    assert yard.run.status is Status.RUNNING
