"""Alert rules over HTTP: created, listed, shown, replaced, deleted; and applied as a set."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from driftline.core.rules import Comparison, Rule
from driftline.core.system_rules import SYSTEM_RULES
from driftline.store.alert_rules import upsert_rules
from driftline.store.audit import AuditEntry, list_audit
from driftline.store.database import Database
from tests.api.examples import FRAUD

PSI: dict[str, Any] = {"metric": "psi", "feature": "amount", "comparison": "above", "threshold": 0.2}
SILENT: dict[str, Any] = {"rule_id": "silent", "metric": "volume", "comparison": "below", "threshold": 1}


@pytest.fixture
def bare(client: httpx.Client) -> httpx.Client:
    """A client of a server that knows fraud without any rule."""
    assert client.post("/models", json={**FRAUD, "alerts": {"preset": "none"}}).status_code == 201
    return client


def ids(answer: httpx.Response) -> list[str]:
    """Give the ids of rules, but for driftline's own."""
    assert answer.status_code == 200, answer.text
    return [rule["rule_id"] for rule in answer.json()["rules"] if rule["origin"] != "built_in"]


def audit(database: Database) -> list[AuditEntry]:
    with database.transaction() as conn:
        return list_audit(conn)[::-1]


def put(client: httpx.Client, *rules: dict[str, Any], **more: Any) -> dict[str, Any]:
    answer = client.put("/rules", json={"rules": rules, **more})
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.json()
    return said


def test_created_shown_replaced_and_deleted(bare: httpx.Client, database: Database) -> None:
    created = bare.post("/models/fraud/alerts", json={**PSI, "by": "ana"})
    assert created.status_code == 201, created.text
    rule = created.json()
    assert (rule["rule_id"], rule["model"], rule["origin"]) == ("fraud.psi.amount", "fraud", "api")
    assert (rule["consecutive_windows"], rule["severity"], rule["actions"]) == (3, "MEDIUM", [])
    path = "/models/fraud/alerts/fraud.psi.amount"
    assert bare.get(path).json() == rule
    edited = bare.put(path, json={**rule, "threshold": 0.3, "by": "bob"}).json()  # what was shown can be sent back
    assert (edited["threshold"], edited["created_at"]) == (0.3, rule["created_at"])
    assert edited["updated_at"] > rule["updated_at"]
    assert bare.put(path, json={**PSI, "threshold": 0.3}).json() == edited  # nothing has changed
    assert bare.delete(path, params={"by": "cyd"}).status_code == 204
    assert bare.get(path).status_code == bare.delete(path).status_code == 404
    told = [(entry.actor, entry.act, entry.subject) for entry in audit(database)]
    subject = "rule/fraud.psi.amount"
    assert told == [("ana", "added", subject), ("bob", "changed", subject), ("cyd", "removed", subject)]
    assert audit(database)[1].details == {"fields": {"threshold": [0.2, 0.3]}}


def test_names_are_made_of_what_a_rule_watches_and_stay_apart(bare: httpx.Client) -> None:
    bodies = [PSI, PSI, {**PSI, "feature": "*", "segment": "country=*"}, {**SILENT, "rule_id": "a/b c"}, PSI]
    names = [bare.post("/models/fraud/alerts", json=body).json()["rule_id"] for body in bodies]
    assert names == [
        "fraud.psi.amount",
        "fraud.psi.amount.2",
        "fraud.psi.any.country=*",
        "a/b c",
        "fraud.psi.amount.3",
    ]
    assert bare.get("/models/fraud/alerts/a%2Fb%20c").json()["rule_id"] == "a/b c"
    assert bare.delete("/models/fraud/alerts/a/b c").status_code == 204


def test_a_model_lists_what_watches_it_and_rules_list_everything(bare: httpx.Client, database: Database) -> None:
    elsewhere = [
        Rule("all", "volume", Comparison.BELOW, 1),
        Rule("eu", "volume", Comparison.BELOW, 1, model="fraud-eu"),
        Rule("globbed", "volume", Comparison.BELOW, 1, model="fr[a-c]*"),
        Rule("other", "volume", Comparison.BELOW, 1, model="churn*"),
    ]
    with database.transaction() as conn:
        upsert_rules(conn, elsewhere, "file")
    bare.post("/models/fraud/alerts", json=SILENT)
    assert ids(bare.get("/models/fraud/alerts")) == ["all", "globbed", "silent"]
    assert bare.get("/models/fraud/alerts/eu").status_code == 404
    assert "does not watch model 'fraud', but 'fraud-eu'" in bare.get("/models/fraud/alerts/eu").json()["detail"]
    assert bare.get("/models/fruad/alerts").status_code == 404
    limit = len(SYSTEM_RULES) + 2  # these sort between the others
    first = bare.get("/rules", params={"limit": limit})
    rest = bare.get("/rules", params={"limit": limit, "after": first.json()["next"]})
    assert len(first.json()["rules"]) == limit
    assert (ids(first), ids(rest), rest.json()["next"]) == (["all", "eu"], ["globbed", "other", "silent"], None)
    assert ids(bare.get("/rules", params={"origin": "api"})) == ["silent"]


def test_a_new_model_has_the_rules_of_its_preset_and_they_can_be_edited(fraud: httpx.Client) -> None:
    rules = fraud.get("/models/fraud/alerts").json()["rules"]
    assert {rule["origin"] for rule in rules} == {"preset", "built_in"}
    rules = [rule for rule in rules if rule["origin"] == "preset"]
    path = f"/models/fraud/alerts/{rules[0]['rule_id']}"
    assert fraud.put(path, json={**rules[0], "threshold": 0.4}).json()["origin"] == "api"


def test_rules_of_driftline_itself_are_shown_and_never_changed(bare: httpx.Client) -> None:
    rules = bare.get("/rules", params={"origin": "built_in"}).json()["rules"]
    assert [rule["rule_id"] for rule in rules] == sorted(rule.rule_id for rule in SYSTEM_RULES)
    listed = bare.get("/models/driftline/alerts").json()["rules"]
    assert [rule["rule_id"] for rule in listed] == [rule["rule_id"] for rule in rules]
    assert "driftline.reference_missing" in [
        rule["rule_id"] for rule in bare.get("/models/fraud/alerts").json()["rules"]
    ]
    path = "/models/driftline/alerts/driftline.consumer_lag"
    shown = bare.get(path).json()
    assert (shown["threshold"], shown["created_at"]) == (120, None)
    assert bare.get("/models/fraud/alerts/driftline.consumer_lag").status_code == 404
    body = {"metric": "consumer_lag", "feature": "*", "comparison": "above", "threshold": 600}
    for answer in (bare.put(path, json=body), bare.delete(path)):
        assert (answer.status_code, "silence its alerts" in answer.json()["detail"]) == (409, True)
    own = bare.post("/models/driftline/alerts", json=body).json()
    assert (own["rule_id"], own["model"]) == ("consumer_lag.any", "driftline")


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ({**PSI, "metric": "psy"}, "metric", "there is no metric 'psy'; did you mean psi?"),
        ({**PSI, "tresholds": 1}, "tresholds", "did you mean threshold"),
        ({**PSI, "model": "churn"}, "model", "is not the 'fraud' of the path"),
        ({**PSI, "by": ""}, "by", "at least 1 character"),
        ({**PSI, "threshold": 10**400}, "threshold", "not finite"),
        ({**PSI, "rule_id": "a" * 600}, "rule_id", "has 600 characters; give at most 512"),
        ({**PSI, "runbook": "a\x00"}, "runbook", "write it as text"),
        ({"metric": "psi"}, "comparison", "comparison is missing"),
        ([], "", "valid dictionary"),
    ],
)
def test_what_is_wrong_is_named(refusing: httpx.Client, body: Any, field: str, says: str) -> None:
    answer = refusing.post("/models/fraud/alerts", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json().get("field", "") == field
    assert says in answer.json()["detail"]


def test_ids_are_taken_once_and_kept(bare: httpx.Client) -> None:
    bare.post("/models/fraud/alerts", json=SILENT)
    again = bare.post("/models/fraud/alerts", json=SILENT)
    assert (again.status_code, again.json()["field"]) == (409, "rule_id")
    renamed = bare.put("/models/fraud/alerts/silent", json={**SILENT, "rule_id": "quiet"})
    assert (renamed.status_code, "leave it out" in renamed.json()["detail"]) == (422, True)
    assert bare.put("/models/fraud/alerts/quiet", json=PSI).status_code == 404
    assert bare.post("/models/fruad/alerts", json=SILENT).status_code == 404


def test_a_set_is_compared_then_applied(bare: httpx.Client, database: Database) -> None:
    one, two = {**SILENT, "rule_id": "one"}, {**SILENT, "rule_id": "two", "model": "fraud"}
    dry = put(bare, one, two, dry_run=True)
    assert [rule["rule_id"] for rule in dry["added"]] == ["one", "two"]
    assert ids(bare.get("/rules")) == []
    assert put(bare, one, two, by="ci") == {**dry, "dry_run": False}
    bare.post("/models/fraud/alerts", json=SILENT)
    said = put(bare, {**one, "threshold": 5, "severity": "HIGH"}, by="ci")
    assert said["changed"] == [
        {
            "rule_id": "one",
            "fields": {
                "threshold": {"before": 1, "after": 5},
                "severity": {"before": "MEDIUM", "after": "HIGH"},
            },
        }
    ]
    assert (said["added"], said["removed"]) == ([], [{"rule_id": "two", "open_alerts": 0}])
    assert ids(bare.get("/rules")) == ["one", "silent"]
    same = put(bare, {**one, "threshold": 5, "severity": "HIGH"})
    assert (same["unchanged"], same["added"], same["changed"], same["removed"]) == (1, [], [], [])
    assert [(entry.actor, entry.act) for entry in audit(database)] == [
        ("ci", "added"),
        ("ci", "added"),
        ("unknown", "added"),
        ("ci", "changed"),
        ("ci", "removed"),
    ]


def test_a_set_says_which_rules_watch_no_model(bare: httpx.Client) -> None:
    models = ("fraud", "fr*", "*", "driftline", "fruad", "churn-*")
    rules = [{**SILENT, "rule_id": f"r{place}", "model": model} for place, model in enumerate(models)]
    assert put(bare, *rules, dry_run=True)["without_model"] == ["r4", "r5"]


def test_files_take_over_rules_of_their_ids_which_are_then_theirs(bare: httpx.Client) -> None:
    bare.post("/models/fraud/alerts", json=SILENT)
    said = put(bare, {**SILENT, "model": "fraud"})
    assert said["changed"][0]["fields"] == {"origin": {"before": "api", "after": "file"}}
    for answer in (
        bare.put("/models/fraud/alerts/silent", json=SILENT),
        bare.delete("/models/fraud/alerts/silent"),
    ):
        assert (answer.status_code, "driftline rules apply" in answer.json()["detail"]) == (409, True)
    assert put(bare)["removed"][0]["rule_id"] == "silent"


def test_a_set_with_a_fault_changes_nothing(bare: httpx.Client) -> None:
    answer = bare.put("/rules", json={"rules": [SILENT, {**SILENT, "rule_id": "two", "metric": "vol"}]})
    assert (answer.status_code, answer.json()["field"]) == (422, "metric")
    assert answer.json()["detail"].startswith("rule 'two': there is no metric 'vol'")
    twice = bare.put("/rules", json={"rules": [SILENT, SILENT]})
    assert "two rules have this rule_id" in twice.json()["detail"]
    assert ids(bare.get("/rules")) == []


def test_rules_that_come_at_once_get_names_of_their_own(bare: httpx.Client) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: bare.post("/models/fraud/alerts", json=PSI), range(8)))
    assert [answer.status_code for answer in answers] == [201] * 8
    assert len({answer.json()["rule_id"] for answer in answers}) == 8
