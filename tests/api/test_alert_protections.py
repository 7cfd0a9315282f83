"""Hostile requests about rules, alerts and silences: each is answered, and none is a failure of the server."""

import json
import random
from typing import Any

import httpx
import pytest
import structlog

from driftline.store.database import Database
from tests.api.alerts import fire
from tests.api.test_protections import hostile_text, hostile_value

RULE: dict[str, Any] = {
    "rule_id": "a",
    "metric": "psi",
    "feature": "amount",
    "comparison": "above",
    "threshold": 0.2,
    "actions": ["retrain"],
    "by": "ana",
}
IDS = ("1", "2", "99", str(2**63), "-1", "x", "%00")
FIELDS = (*RULE, "model", "version", "segment", "reference_kind", "measure", "band_windows", "consecutive_windows",
          "min_samples", "min_maturity", "severity", "require_significance", "owner", "origin")  # fmt: skip
SILENCE: dict[str, Any] = {"matcher": {"model": "fraud"}, "ends_at": "+2h", "by": "ana", "comment": "why"}
ACKNOWLEDGEMENT: dict[str, Any] = {"by": "ana", "comment": "on it"}
GLOBS = ("*", "[", "[!a", "[z-a]*", "?" * 200, "*a" * 100, "[]]", "a*b*c*d*e*f*g*h")
ASKED = {
    "/alerts": ("model_id", "version", "feature", "segment", "rule_id", "severity", "open", "since", "until",
                "limit", "after", "incident_id", "nothing"),
    "/incidents": ("model_id", "open", "limit", "after"),
    "/silences": ("over", "limit", "after"),
    "/audit": ("subject", "actor", "limit", "after"),
    "/rules": ("origin", "limit", "after"),
}  # fmt: skip


def spoil(rng: random.Random, content: dict[str, Any], fields: tuple[str, ...]) -> Any:
    """Change a few fields of a body, or send something else."""
    if rng.random() < 0.1:
        return hostile_value(rng)
    changed = dict(content)
    for name in rng.sample(fields, rng.randint(0, min(3, len(fields)))):
        changed[name] = rng.choice(GLOBS) if rng.random() < 0.3 else hostile_value(rng)
    return changed


def draw_path(rng: random.Random) -> str:
    return rng.choice(
        (
            "a",
            "b",
            "",
            "%2E%2E%2F",
            "%00",
            "%ff",
            "%2F",
            "a/b/c",
            "%F0%9F%92%A5",
            "x" * 3000,
            "%ED%A0%80",
            "-1",
            "1e9",
        )
    )


def draw_request(rng: random.Random) -> dict[str, Any]:
    """Draw a request that may be almost right or nonsense."""
    return rng.choice((change_a_rule, change_a_rule, apply_rules, silence, acknowledge, look_at_one, ask))(rng)


def change_a_rule(rng: random.Random) -> dict[str, Any]:
    model = "/models/fraud/alerts"
    method = rng.choice(("POST", "PUT", "GET", "DELETE"))
    if method in ("GET", "DELETE"):
        return {"method": method, "url": f"{model}/{draw_path(rng)}"}
    url = model if method == "POST" else f"{model}/{draw_path(rng)}"
    return {"method": method, "url": url, "json": spoil(rng, RULE, FIELDS)}


def apply_rules(rng: random.Random) -> dict[str, Any]:
    rules = [spoil(rng, {**RULE, "rule_id": name}, FIELDS) for name in ("a", "b", "c")]
    if rng.random() < 0.7:
        rules = [{k: v for k, v in rule.items() if k in FIELDS[:6]} for rule in rules if isinstance(rule, dict)]
    return {"method": "PUT", "url": "/rules", "json": spoil(rng, {"rules": rules}, ("by", "dry_run"))}


def silence(rng: random.Random) -> dict[str, Any]:
    body = spoil(rng, SILENCE, (*SILENCE, "starts_at"))
    if isinstance(body, dict) and rng.random() < 0.5:
        body["matcher"] = spoil(rng, {}, ("model", "version", "feature", "rule", "metric", "severity"))
    return {"method": "POST", "url": "/silences", "json": body}


def acknowledge(rng: random.Random) -> dict[str, Any]:
    url = f"/incidents/{rng.choice(IDS)}/acknowledge"
    return {"method": "POST", "url": url, "json": spoil(rng, ACKNOWLEDGEMENT, ("by", "comment"))}


def look_at_one(rng: random.Random) -> dict[str, Any]:
    which = rng.choice(("/alerts", "/incidents", "/silences"))
    return {"method": rng.choice(("GET", "DELETE")), "url": f"{which}/{rng.choice(IDS)}"}


def ask(rng: random.Random) -> dict[str, Any]:
    path = rng.choice(tuple(ASKED))
    asked = {name: hostile_text(rng) for name in rng.sample(ASKED[path], rng.randint(0, 2))}
    params = {name: text.encode(errors="replace").decode() for name, text in asked.items()}
    return {"method": "GET", "url": path, "params": params}


@pytest.mark.parametrize("seed", range(3))
def test_any_request_is_answered_and_none_is_a_failure(fraud: httpx.Client, database: Database, seed: int) -> None:
    rng = random.Random(seed)
    fire(database)
    fire(database, model_id="churn", ended="recovered")
    seen = set()
    with structlog.testing.capture_logs() as logs:
        for _ in range(100):
            request = draw_request(rng)
            if "json" in request:
                request |= {
                    "content": json.dumps(request.pop("json")),
                    "headers": {"content-type": "application/json"},
                }
            answer = fraud.request(**request)
            seen.add(answer.status_code)
            assert answer.status_code in (200, 201, 204, 400, 404, 405, 409, 422), (answer.text, request)
            if answer.status_code >= 400:
                assert answer.json()["detail"]
    assert [log for log in logs if log["log_level"] == "error"] == []
    assert {200, 404, 422} <= seen
    assert fraud.get("/models/fraud/alerts").status_code == 200
