"""GET /models/{model_id}/performance."""

from typing import Any

import httpx
import numpy as np
import pytest

from driftline.core.window import DAY
from driftline.store.database import Database
from driftline.store.performance import PerformanceResult, upsert_performance
from tests.api.examples import HOUR, NOON

PATH = "/models/fraud/performance"
METRICS = ("accuracy", "roc_auc")


def write_results(
    database: Database, *hours: int, segment: str = "", labeled: int = 700, auc: float = float("nan")
) -> None:
    """Write windows whose accuracy is 0.9 and whose AUC is not defined unless given, but estimated."""
    nan, status = float("nan"), "one_class" if np.isnan(auc) else "ok"
    with database.transaction() as conn:
        upsert_performance(
            conn,
            [
                PerformanceResult(
                    "fraud", "3", segment, NOON + k * HOUR, NOON + (k + 1) * HOUR, 900, labeled, 650.0, 0.75, nan,
                    METRICS, np.array([0.9, auc]), np.array([0.85, auc - 0.1]), np.array([0.95, auc + 0.1]),
                    ("ok", status),
                    np.array([0.88, 0.8]), np.array([0.8, 0.7]), np.array([0.96, 0.9]), ("ok", "ok"),
                    ("within", "unknown"), ("within", "worse"), ("confirmed", "undecided"),
                    {"class_ratio": {"verdict": "changed", "confirmation": "refuted"}}, NOON + DAY,
                )
                for k in hours
            ],
        )  # fmt: skip


def get(client: httpx.Client, **query: Any) -> dict[str, Any]:
    answer = client.get(PATH, params=query)
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()
    return content


def refused(client: httpx.Client, **query: Any) -> dict[str, Any]:
    answer = client.get(PATH, params=query)
    assert answer.status_code in (400, 404, 422), answer.text
    content: dict[str, Any] = answer.json()
    return content


def test_the_shape(fraud: httpx.Client, database: Database) -> None:
    write_results(database, 0, 1, 2)
    said = get(fraud, metric=["accuracy", "auc"])
    assert (said["model_id"], said["version"], said["segment"], said["step"]) == ("fraud", "3", "", "window")
    assert said["windows"] == [f"2024-11-25T{hour}:00:00Z" for hour in (12, 13, 14)]
    assert said["window_ends"] == [f"2024-11-25T{hour}:00:00Z" for hour in (13, 14, 15)]
    assert (said["rows"], said["labeled"], said["coverage"]) == ([900] * 3, [700] * 3, [0.75] * 3)
    assert said["maturity"] == [None] * 3  # not known
    accuracy, auc = said["metrics"]
    assert accuracy == {
        "metric": "accuracy",
        "better": "higher",
        "value": [0.9] * 3,
        "lower": [0.85] * 3,
        "upper": [0.95] * 3,
        "status": ["ok"] * 3,
        "estimate": [0.88] * 3,
        "estimate_lower": [0.8] * 3,
        "estimate_upper": [0.96] * 3,
        "estimate_status": ["ok"] * 3,
        "verdict": ["within"] * 3,
        "estimate_verdict": ["within"] * 3,
        "confirmation": ["confirmed"] * 3,
        "baseline": None,
    }
    assert (auc["metric"], auc["value"], auc["status"]) == ("roc_auc", [None] * 3, ["one_class"] * 3)
    assert auc["estimate"] == [0.8] * 3
    assert said["proxies"] == {"class_ratio": {"verdict": ["changed"] * 3, "confirmation": ["refuted"] * 3}}


def test_the_main_metric_is_shown_unless_others_are_asked_for(fraud: httpx.Client, database: Database) -> None:
    write_results(database, 0)
    assert [each["metric"] for each in get(fraud)["metrics"]] == ["roc_auc"]
    everything = [each["metric"] for each in get(fraud, metric="all")["metrics"]]
    assert {"accuracy", "roc_auc", "log_loss", "ks"} <= set(everything)
    log_loss = get(fraud, metric="log_loss")["metrics"][0]
    assert (log_loss["better"], log_loss["value"], log_loss["status"]) == ("lower", [None], ["undefined"])


def test_a_span_and_pages(fraud: httpx.Client, database: Database) -> None:
    write_results(database, *range(5))
    span = {"from": "2024-11-25T13:00:00Z", "to": "2024-11-25T16:00:00Z"}
    assert len(get(fraud, **span)["windows"]) == 3
    first = get(fraud, **span, limit=2)
    second = get(fraud, **span, limit=2, after=first["next"])
    assert first["windows"] + second["windows"] == get(fraud, **span)["windows"]
    assert second["next"] is None


def test_nothing_is_known_yet(fraud: httpx.Client) -> None:
    for step in ("window", "month"):
        said = get(fraud, step=step)
        assert (said["windows"], said["metrics"][0]["value"]) == ([], [])


def test_a_segment(fraud: httpx.Client, database: Database) -> None:
    write_results(database, 0, segment="country=DE", labeled=7)
    assert get(fraud)["windows"] == []
    assert get(fraud, segment="country=DE")["labeled"] == [7]


@pytest.mark.parametrize(
    ("query", "field", "said"),
    [
        ({"metric": "rmse"}, "metric", "metric 'rmse' is not one of a binary model; it has accuracy"),
        ({"from": "2024-11-26T00:00:00Z", "to": "2024-11-25T00:00:00Z"}, "from", "from must lie before to"),
        ({"segment": "planet=DE"}, "segment", "not segment"),
        ({"step": "1d"}, "step", "'window' or 'month'"),
        ({"version": "9"}, None, "has no version '9'"),
    ],
)
def test_what_cannot_be_shown(fraud: httpx.Client, query: dict[str, str], field: str | None, said: str) -> None:
    problem = refused(fraud, **query)
    assert said in problem["detail"]
    assert problem.get("field") == field


def test_an_unknown_model(client: httpx.Client) -> None:
    assert client.get("/models/nothing/performance").status_code == 404


def test_the_summary_has_the_current_performance(fraud: httpx.Client, database: Database) -> None:
    nothing = fraud.get("/models/fraud/drift/summary").json()["performance"]
    assert nothing == {"metric": "roc_auc", "baseline": None, "measured": None, "estimated": None}
    write_results(database, 0, 1)
    said = fraud.get("/models/fraud/drift/summary").json()["performance"]
    assert said["measured"] is None  # the labels were of one class
    assert (said["estimated"]["value"], said["estimated"]["verdict"]) == (0.8, "worse")
    write_results(database, 2, auc=0.7)
    said = fraud.get("/models/fraud/drift/summary").json()["performance"]
    assert said["measured"] == {
        "window": "2024-11-25T14:00:00Z",
        "value": 0.7,
        "lower": 0.6,
        "upper": 0.8,
        "status": "ok",
        "verdict": "unknown",
        "labeled": 700,
        "coverage": 0.75,
        "maturity": None,
    }
