"""POST /models, GET /models, GET|PATCH|DELETE /models/{model_id}."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from driftline.api.registration import describe_difference
from driftline.core.schema import Feature, Kind, Schema
from driftline.store.alert_rules import list_rules, upsert_rules
from driftline.store.database import Database
from driftline.store.versions import get_version
from tests.api.examples import FRAUD, NAMES, NOON, make_frame, upload_reference, write_window

AGE2 = {"name": "age2", "kind": "numeric"}


def test_register_a_version(client: httpx.Client, database: Database) -> None:
    answer = client.post("/models", json=FRAUD)
    assert answer.status_code == 201
    shown = answer.json()
    assert {name: shown[name] for name in ("model_id", "version", "task", "window", "owner", "team")} == {
        name: FRAUD[name] for name in ("model_id", "version", "task", "window", "owner", "team")
    }
    assert shown["time_zone"] == "UTC"
    assert shown["schema"]["task"] == "binary"
    assert [feature["name"] for feature in shown["schema"]["features"]] == ["amount", "age", "member", "country"]
    (version,) = shown["versions"]
    assert (version["version"], version["features"], version["bins"], version["references"]) == ("3", 4, None, [])
    assert shown == client.get("/models/fraud").json()
    with database.transaction() as conn:
        stored = get_version(conn, "fraud", "3")
    assert tuple(stored.feature_names) == NAMES
    assert stored.feature_kinds[-1] == "categorical"


def test_the_defaults_are_told(client: httpx.Client) -> None:
    shown = client.post("/models", json={"model_id": "m", "version": "1"}).json()
    assert (shown["window"], shown["time_zone"], shown["task"], shown["schema"]) == ("1h", "UTC", None, None)
    assert shown["settings"] == {
        "expected_rows": None,
        "reference_kinds": ["training"],
        "allowed_lateness_s": 60,
        "idle_close_s": 300,
        "sampling_n": None,
        "fallback_active": False,
        "max_label_delay_s": 2_592_000,
        "label_on_expiry": None,
        "join_tolerance_s": 86_400,
        "positive_class": None,
    }


def test_the_same_again_changes_nothing(fraud: httpx.Client) -> None:
    before = fraud.get("/models/fraud").json()
    for same in (FRAUD, {"model_id": "fraud", "version": "3"}, {**FRAUD, "schema": None}):
        answer = fraud.post("/models", json=same)
        assert (answer.status_code, answer.json()) == (200, before)


def test_a_further_version_takes_what_it_leaves_out_from_the_model(fraud: httpx.Client) -> None:
    answer = fraud.post("/models", json={"model_id": "fraud", "version": "4", "schema": {"features": []}})
    assert answer.status_code == 201
    shown = answer.json()
    assert [each["version"] for each in shown["versions"]] == ["3", "4"]
    assert (shown["version"], shown["schema"]["task"], shown["window"]) == ("4", "binary", "1h")
    assert fraud.get("/models/fraud", params={"version": "3"}).json()["version"] == "3"


def test_a_version_gets_its_schema_later(client: httpx.Client) -> None:
    bare = {name: value for name, value in FRAUD.items() if name != "schema"}
    assert client.post("/models", json=bare).json()["schema"] is None
    assert client.post("/models", json=FRAUD).status_code == 201
    assert client.post("/models", json=FRAUD).status_code == 200


def test_a_model_without_a_task_gets_it_from_a_schema(client: httpx.Client) -> None:
    client.post("/models", json={"model_id": "m", "version": "1"})
    shown = client.post("/models", json={"model_id": "m", "version": "1", "schema": {"task": "regression"}}).json()
    assert shown["task"] == "regression"
    client.post("/models", json={"model_id": "n", "version": "1"})
    assert (
        client.post("/models", json={"model_id": "n", "version": "1", "task": "ranking"}).json()["task"]
        == "ranking"
    )


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"owner": "x"}, "owner", "owner of model 'fraud' is 'payments-ml', not 'x'; leave it out"),
        ({"window": "15m"}, "window", "is '1h', not '15m'; leave it out, or register another"),
        ({"task": "regression"}, "task", "task of model 'fraud' is 'binary'"),
        ({"time_zone": "Europe/Berlin"}, "time_zone", "time_zone of model 'fraud' is 'UTC'"),
        ({"settings": {"expected_rows": 9}}, "settings.expected_rows", "PATCH /models/fraud"),
        ({"schema": {"features": []}}, "schema", "feature 'amount' is missing"),
        ({"schema": {"features": [*FRAUD["schema"]["features"], AGE2]}}, "schema", "'age2' is new"),
        ({"schema": {**FRAUD["schema"], "segments": []}}, "schema", "segments is [], was ['country']"),
        ({"schema": {**FRAUD["schema"], "task": "regression"}}, "schema.task", "make them equal"),
    ],
)  # fmt: skip
def test_what_contradicts_is_refused(
    refusing: httpx.Client, changes: dict[str, Any], field: str, says: str
) -> None:
    answer = refusing.post("/models", json={**FRAUD, **changes})
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (409, "urn:driftline:problem:conflict")
    assert problem["field"] == field
    assert says in problem["detail"]


def test_another_schema_says_to_register_a_new_version(fraud: httpx.Client) -> None:
    features = [dict(feature) for feature in FRAUD["schema"]["features"]]
    features[1]["kind"] = "categorical"
    schema = {**FRAUD["schema"], "features": features}
    detail = fraud.post("/models", json={**FRAUD, "schema": schema}).json()["detail"]
    assert "kind of feature 'age' is 'categorical', was 'numeric'" in detail
    assert detail.endswith("register a new version")
    assert fraud.post("/models", json={**FRAUD, "schema": schema, "version": "4"}).status_code == 201


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"model_id": "a/b"}, "model_id", "'/' is not allowed; use 1 to 128 of A-Z"),
        ({"model_id": ""}, "model_id", "it is empty"),
        ({"model_id": "x" * 129}, "model_id", "it has 129 characters"),
        ({"model_id": ".."}, "model_id", "folder"),
        ({"model_id": "fräud"}, "model_id", "'ä' is not allowed"),
        ({"model_id": 7}, "model_id", "valid string"),
        ({"version": "3 "}, "version", "' ' is not allowed"),
        ({"window": "7m"}, "window", "use e.g. 15m, 1h, 6h or 1d"),
        ({"window": "2d"}, "window", "does not divide a day"),
        ({"task": "guessing"}, "task", "binary"),
        ({"owner": "a\x00b"}, "owner", "NUL"),
        ({"owner": "x" * 257}, "owner", "256"),
        ({"ownr": "x"}, "ownr", "there is no field 'ownr'; remove it or correct its name"),
        ({"time_zone": "Mars"}, "time_zone", "write e.g. 'Europe/Berlin'"),
        ({"settings": {"expected_rows": 0}}, "settings.expected_rows", "greater than or equal to 1"),
        ({"settings": {"reference_kinds": ["training", "weekly"]}}, "settings.reference_kinds.1", "seasonal"),
        ({"settings": {"reference_kinds": []}}, "settings.reference_kinds", "at least 1"),
        ({"settings": {"idle": 1}}, "settings.idle", "no field"),
        ({"schema": {"features": [{"name": "x", "kind": "number"}]}}, "schema.features[0].kind", "use numeric,"),
        ({"schema": {"features": [{"name": "x"}]}}, "schema.features[0].kind", "use numeric,"),
        ({"schema": {"features": [{"name": "x", "kind": "numeric"}] * 2}}, "schema.x", "there twice"),
        ({"schema": {"features": [{"name": "__x", "kind": "numeric"}]}}, "schema.__x", "reserved"),
        ({"schema": {"feature": []}}, "schema.feature", "schema has no field 'feature'"),
        ({"schema": []}, "schema", "valid dictionary"),
    ],
)  # fmt: skip
def test_what_cannot_be_registered(refusing: httpx.Client, changes: dict[str, Any], field: str, says: str) -> None:
    answer = refusing.post("/models", json={**FRAUD, "model_id": "new", **changes})
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert (problem["status"], problem["instance"], problem["field"]) == (422, "/models", field)
    assert says in problem["detail"]


def test_several_faults_are_told_at_once(client: httpx.Client) -> None:
    problem = client.post("/models", json={"model_id": "a/b", "window": "7m"}).json()
    assert {error["field"] for error in problem["errors"]} == {"model_id", "version", "window"}


def test_names_of_every_allowed_character(client: httpx.Client) -> None:
    name = "aZ0._-:" + "x" * 121
    assert client.post("/models", json={"model_id": name, "version": name}).status_code == 201
    assert client.get(f"/models/{name}").json()["model_id"] == name


def test_registering_at_the_same_time(client: httpx.Client) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: client.post("/models", json=FRAUD).status_code, range(8)))
    assert sorted(answers) == [200] * 7 + [201]


def test_pages_of_models(client: httpx.Client) -> None:
    for name in ("b", "a", "d", "c", "e"):
        client.post("/models", json={"model_id": name, "version": "1", "owner": f"team-{name}"})
    seen, after = [], ""
    while after is not None:
        page = client.get("/models", params={"limit": 2, "after": after}).json()
        seen.append([model["model_id"] for model in page["models"]])
        after = page["next"]
    assert seen == [["a", "b"], ["c", "d"], ["e"]]
    assert client.get("/models", params={"limit": 5}).json()["next"] is None


def test_search_and_versions_in_the_list(fraud: httpx.Client) -> None:
    fraud.post("/models", json={"model_id": "churn", "version": "1", "team": "Growth"})
    fraud.post("/models", json={"model_id": "fraud", "version": "10"})
    (found,) = fraud.get("/models", params={"search": "PAYMENTS"}).json()["models"]
    assert (found["model_id"], found["versions"]) == ("fraud", ["3", "10"])
    assert [m["model_id"] for m in fraud.get("/models", params={"search": "growth"}).json()["models"]] == ["churn"]
    assert fraud.get("/models", params={"search": "%"}).json()["models"] == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"page": "2"}, "page"),
        ({"search": "a\x00"}, "search"),
    ],
)
def test_bad_pages(refusing: httpx.Client, query: dict[str, str], field: str) -> None:
    answer = refusing.get("/models", params=query)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_the_version_with_most_traffic_is_shown(fraud: httpx.Client, database: Database) -> None:
    fraud.post("/models", json={**FRAUD, "version": "4"})
    assert fraud.get("/models/fraud").json()["version"] == "4"  # the newest, as long as none has traffic
    for version in ("3", "4"):
        upload_reference(fraud, version=version)
    write_window(database, make_frame(900), NOON)
    write_window(database, make_frame(300), NOON, version="4")
    assert fraud.get("/models/fraud").json()["version"] == "3"
    write_window(
        database, make_frame(1000), NOON + 48 * 3_600_000_000, version="4"
    )  # what was before that is history
    assert fraud.get("/models/fraud").json()["version"] == "4"


def test_change_a_model(fraud: httpx.Client) -> None:
    changed = fraud.patch("/models/fraud", json={"owner": None, "settings": {"expected_rows": 900}}).json()
    assert (changed["owner"], changed["team"], changed["settings"]["expected_rows"]) == (None, "payments", 900)
    fraud.patch("/models/fraud", json={"settings": {"reference_kinds": ["training", "rolling"]}})
    kept = fraud.get("/models/fraud").json()["settings"]
    assert (kept["expected_rows"], kept["reference_kinds"]) == (900, ["training", "rolling"])
    reset = fraud.patch("/models/fraud", json={"settings": {"expected_rows": None}}).json()["settings"]
    assert reset == {**kept, "expected_rows": None}
    assert fraud.patch("/models/fraud", json={}).status_code == 200


@pytest.mark.parametrize("name", ["window", "task", "time_zone", "model_id", "schema"])
def test_what_cannot_be_changed(refusing: httpx.Client, name: str) -> None:
    answer = refusing.patch("/models/fraud", json={name: "x"})
    assert (answer.status_code, answer.json()["field"]) == (422, name)


def test_delete_a_model(fraud: httpx.Client, database: Database) -> None:
    upload_reference(fraud)
    write_window(database, make_frame(600))
    answer = fraud.delete("/models/fraud")
    assert (answer.status_code, answer.content) == (204, b"")
    for path in ("/models/fraud", "/models/fraud/drift", "/models/fraud/drift/summary"):
        assert fraud.get(path).status_code == 404
    assert fraud.post("/models", json=FRAUD).status_code == 201
    assert fraud.get("/models/fraud/drift").json()["windows"] == []


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_a_model_that_is_not_there(refusing: httpx.Client, method: str) -> None:
    answer = refusing.request(method, "/models/nobody", json={} if method == "PATCH" else None)
    assert answer.status_code == 404
    assert answer.json()["detail"] == "there is no model 'nobody'"


def test_a_version_that_is_not_there(fraud: httpx.Client) -> None:
    answer = fraud.get("/models/fraud", params={"version": "9"})
    assert answer.status_code == 404
    assert answer.json()["detail"] == "model 'fraud' has no version '9'; it has 3"


def test_driftlines_own_name_is_taken(client: httpx.Client) -> None:
    answer = client.post("/models", json={"model_id": "driftline", "version": "1"})
    assert (answer.status_code, answer.json()["field"]) == (422, "model_id")
    assert "stands for driftline itself" in answer.json()["detail"]


def test_a_slash_in_a_path_gets_a_hint(client: httpx.Client) -> None:
    answer = client.get("/models/a%2Fb")
    assert answer.status_code == 404
    assert "slash" in answer.json()["detail"]
    answer = client.get("/models/a%20b")
    assert (answer.status_code, answer.json()["field"]) == (422, "model_id")


@pytest.mark.parametrize(
    ("headers", "body", "status", "says"),
    [
        ({}, b'{"model_id": "m", "version": "1"}', 415, "with the header Content-Type: application/json"),
        ({"content-type": "text/csv"}, b"a,b", 415, "send application/json, not text/csv"),
        ({"content-type": "application/json"}, b'{"model_id"', 422, "the body is no JSON"),
        ({"content-type": "application/json"}, b"[" * 100_000, 400, "parsing the body"),
        ({"content-type": "application/json"}, b'"\xff"', 400, "parsing the body"),
        ({"content-type": "application/json"}, b'{"model_id": "\\ud800", "version": "1"}', 422, "model_id"),
        ({"content-type": "application/json"}, b"null", 422, "body"),
    ],
)
def test_bodies_that_are_no_json(
    refusing: httpx.Client, headers: dict[str, str], body: bytes, status: int, says: str
) -> None:
    answer = refusing.post("/models", content=body, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert says in answer.json()["detail"]


def test_a_label_on_expiry_is_what_the_model_predicts(client: httpx.Client) -> None:
    model = {"model_id": "prices", "version": "1", "task": "regression", "schema": {"features": []}}
    refused = client.post("/models", json=model | {"settings": {"label_on_expiry": "none"}})
    assert (refused.status_code, refused.json()["field"]) == (422, "settings.label_on_expiry")
    assert client.post("/models", json=model | {"settings": {"label_on_expiry": 0}}).status_code == 201
    assert client.patch("/models/prices", json={"settings": {"label_on_expiry": "none"}}).status_code == 422
    changed = client.patch("/models/prices", json={"settings": {"label_on_expiry": 1.5, "join_tolerance_s": 60}})
    settings = changed.json()["settings"]
    assert (settings["label_on_expiry"], settings["join_tolerance_s"]) == (1.5, 60)


def test_a_new_model_starts_with_the_rules_of_its_preset(client: httpx.Client, database: Database) -> None:
    """By default those of `default`; the same registration again leaves what somebody has changed."""
    body = {"model_id": "fraud", "version": "1", "task": "binary"}
    assert client.post("/models", json=body).status_code == 201
    with database.transaction() as conn:
        rules = {each.rule.rule_id: each for each in list_rules(conn)}
        assert set(rules) == {
            f"fraud.{name}"
            for name in ("drifted_share", "missing", "no_data", "prediction_drift", "score_drift", "performance")
        }
        assert {each.origin for each in rules.values()} == {"preset"}
        changed = dataclasses.replace(rules["fraud.missing"].rule, threshold=0.9)
        upsert_rules(conn, [changed], "api")
    assert client.post("/models", json=body).status_code == 200
    assert client.post("/models", json={**body, "version": "2"}).status_code == 201
    with database.transaction() as conn:
        assert {each.rule for each in list_rules(conn)} >= {changed}
        assert len(list_rules(conn)) == 6


def test_a_model_names_its_preset_and_the_features_to_watch(client: httpx.Client, database: Database) -> None:
    schema = {"features": [{"name": "amount", "kind": "numeric"}], "score": None}
    body = {"model_id": "fraud", "version": "1", "schema": schema}
    wrong = client.post("/models", json={**body, "alerts": {"features": ["amonut"]}})
    assert wrong.status_code == 422
    assert "'amonut'" in wrong.json()["detail"]
    assert client.post("/models", json={**body, "alerts": {"preset": "none"}}).status_code == 201
    other = {**body, "model_id": "loans", "alerts": {"preset": "quiet", "features": ["amount"]}}
    assert client.post("/models", json=other).status_code == 201
    with database.transaction() as conn:
        rules = {each.rule.rule_id: each.rule for each in list_rules(conn)}
    assert all(name.startswith("loans.") for name in rules)
    assert rules["loans.drift.amount"].consecutive_windows == 6
    assert client.delete("/models/loans").status_code == 204
    with database.transaction() as conn:
        assert list_rules(conn) == []


def test_another_source_of_a_feature_is_another_schema() -> None:
    known, other = (Schema((Feature("amount", Kind.NUMERIC, source=source),)) for source in (None, "payments"))
    assert describe_difference(known, other) == "source of feature 'amount' is 'payments', was not set"
