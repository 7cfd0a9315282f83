"""GET /models/{model_id}/drift/summary."""

from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from driftline.core.drift import Status
from driftline.core.window import DAY
from driftline.store.database import Database
from driftline.store.learning import Learning, write_learning
from driftline.store.references import current_reference
from tests.api.examples import FRAUD, HOUR, NAMES, NOON, make_frame, upload_reference, write_window

PATH = "/models/fraud/drift/summary"


@pytest.fixture
def watched(fraud: httpx.Client) -> httpx.Client:
    """Fraud with a reference."""
    upload_reference(fraud, make_frame(20_000).drop(columns="timestamp"))
    return fraud


def get(client: httpx.Client, **query: str) -> dict[str, Any]:
    answer = client.get(PATH, params=query)
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()
    return content


def drift_all(rows: int = 2000) -> pd.DataFrame:
    """Rows of which amount drifts much, age a little, and the score as well."""
    rng = np.random.default_rng(5)
    frame = make_frame(rows, seed=5, shift=2.0)
    older = rng.random(rows) < 0.3
    frame.loc[older, "age"] = rng.integers(54, 90, older.sum()).astype(np.float32)
    frame["score"] = rng.beta(2, 4, rows)
    return frame


def test_a_quiet_window(watched: httpx.Client, database: Database) -> None:
    write_window(database, make_frame(900, seed=1))
    said = get(watched)
    assert (said["model_id"], said["version"], said["status"]) == ("fraud", "3", "ok")
    assert said["counts"] == {"features": 6, "drifted": 0, "moderate": 0, "by_status": {"ok": 6}}
    assert (said["drifted"], said["moderate"], said["data_quality"]) == ([], [], [])
    assert said["window"] == said["newest_closed"]
    assert said["window"]["start"] == "2024-11-25T12:00:00Z"
    assert (said["window"]["status"], said["window"]["rows"], said["window"]["n_eff"]) == ("ok", 900, 900.0)
    assert said["last_computed"] == said["window"]["computed_at"] == "2024-11-25T14:00:00Z"
    assert said["open_window"] is None
    assert said["windows"] == {
        "total": 1,
        "verdicts": 1,
        "without_verdict": 0,
        "open": 0,
        "first": "2024-11-25T12:00:00Z",
        "last": "2024-11-25T12:00:00Z",
    }
    assert watched.get(said["links"]["drift"]).status_code == 200
    assert watched.get(said["links"]["model"]).status_code == 200
    assert watched.get(said["links"]["distribution"].format(feature_name="amount")).status_code == 200


def test_drifted_features_are_ranked(watched: httpx.Client, database: Database) -> None:
    frame = drift_all()
    write_window(database, frame)
    said = get(watched)
    assert said["status"] == "drifted"
    assert [each["feature_name"] for each in said["drifted"]] == ["amount"]
    assert [each["feature_name"] for each in said["moderate"]] == ["age"]
    assert (said["counts"]["drifted"], said["counts"]["moderate"]) == (2, 1)
    amount = said["drifted"][0]
    assert amount["psi_score"] > 1
    assert amount["ks_statistic"] > 0.5
    assert amount["qvalue"] < 0.01
    assert (amount["sample_count"], amount["status"], amount["drifted"], amount["level"]) == (2000, "ok", True, 2)
    assert amount["mean"]["window"] == pytest.approx(frame["amount"].mean(), rel=1e-6)
    assert amount["mean"]["reference"] == pytest.approx(50, abs=0.5)
    assert amount["median"]["reference"] == pytest.approx(50, abs=0.5)


def test_outputs_are_apart(watched: httpx.Client, database: Database) -> None:
    write_window(database, drift_all())
    outputs = {each["feature_name"]: each for each in get(watched)["outputs"]}
    assert list(outputs) == ["__score__", "__prediction__"]
    assert (outputs["__score__"]["drifted"], outputs["__prediction__"]["drifted"]) == (True, False)
    assert outputs["__prediction__"]["mean"] == {"window": None, "reference": None}


def test_ranking_is_by_effect(watched: httpx.Client, database: Database) -> None:
    frame = make_frame(2000, seed=2, shift=1.0)
    frame["country"] = "FR"
    frame["member"] = ~frame["member"]
    write_window(database, frame)
    drifted = get(watched)["drifted"]
    assert {each["feature_name"] for each in drifted} == {"country", "amount", "member"}
    effects = [max(each["psi_score"] / 0.2, (each["ks_statistic"] or 0) / 0.18) for each in drifted]
    assert effects == sorted(effects, reverse=True)


def test_data_quality(watched: httpx.Client, database: Database) -> None:
    frame = make_frame(2000, seed=3).astype({"age": "float64"})
    frame.loc[:199, "amount"] = np.nan
    frame.loc[:9, "age"] = np.inf
    frame.loc[10:199, "age"] = 500.0
    frame["member"] = np.nan
    frame.loc[:99, "country"] = "XX"
    write_window(database, frame)
    found = {(each["feature_name"], each["problem"]): each for each in get(watched)["data_quality"]}
    assert set(found) == {
        ("member", "missing_entirely"),
        ("amount", "missing_surge"),
        ("age", "infinite"),
        ("country", "never_seen"),
        ("age", "out_of_range"),
    }
    assert found["amount", "missing_surge"]["rate"] == 0.1
    assert found["amount", "missing_surge"]["reference_rate"] == 0
    assert found["amount", "missing_surge"]["detail"] == "amount: missing values rose from 0.0% to 10.0%"
    assert found["country", "never_seen"]["rate"] == 0.05
    assert found["age", "infinite"]["rate"] == 0.005
    assert found["age", "out_of_range"]["rate"] == pytest.approx(190 / 1990, abs=1e-4)
    assert found["member", "missing_entirely"]["rate"] == 1


def test_what_the_reference_has_too_is_no_problem(fraud: httpx.Client, database: Database) -> None:
    frame = make_frame(20_000)
    frame.loc[::5, "amount"] = np.nan
    upload_reference(fraud, frame.drop(columns=["timestamp", "score"]))
    window = make_frame(500, seed=4).drop(columns="score")
    window.loc[::5, "amount"] = np.nan
    write_window(database, window)
    said = get(fraud)
    assert said["data_quality"] == []
    assert said["counts"]["by_status"] == {"ok": 5, "no_reference": 1}


def test_why_there_is_no_verdict(fraud: httpx.Client, database: Database) -> None:
    assert get(fraud)["status"] == "no_reference"
    upload_reference(fraud)
    said = get(fraud)
    assert (said["status"], said["window"], said["last_computed"]) == ("waiting", None, None)
    write_window(database, make_frame(50), status=Status.PARTIAL)
    said = get(fraud)
    assert (said["status"], said["window"], said["open_window"]["rows"]) == ("waiting", None, 50)
    write_window(database, make_frame(50), status=Status.POOLING)
    said = get(fraud)
    assert (said["status"], said["window"]["status"], said["open_window"]) == ("pooling", "pooling", None)
    assert said["windows"]["without_verdict"] == 1


def test_the_newest_verdict_stands_while_later_windows_pool(watched: httpx.Client, database: Database) -> None:
    write_window(database, drift_all(), NOON)
    write_window(database, make_frame(20), NOON + HOUR, status=Status.POOLING)
    said = get(watched)
    assert (said["status"], said["window"]["start"]) == ("drifted", "2024-11-25T12:00:00Z")
    assert (said["newest_closed"]["start"], said["newest_closed"]["status"]) == ("2024-11-25T13:00:00Z", "pooling")


def test_the_open_window(watched: httpx.Client, database: Database) -> None:
    write_window(database, make_frame(900, seed=1), NOON)
    write_window(database, make_frame(30, seed=2, shift=4), NOON + HOUR, status=Status.PARTIAL)
    said = get(watched)
    assert said["status"] == "ok"
    opened = said["open_window"]
    assert (opened["start"], opened["rows"], opened["status"]) == ("2024-11-25T13:00:00Z", 30, "partial")
    assert opened["features"][0]["feature_name"] == "amount"
    assert (opened["features"][0]["status"], opened["features"][0]["drifted"]) == ("partial", False)
    assert len(opened["features"]) == len(NAMES)
    assert said["windows"]["open"] == 1


def test_segments_have_summaries_of_their_own(watched: httpx.Client, database: Database) -> None:
    frame = make_frame(2000, seed=6)
    italy = frame["country"] == "IT"
    frame.loc[italy, "amount"] += 40
    write_window(database, frame)
    assert [each["feature_name"] for each in get(watched, segment="country=IT")["drifted"]] == ["amount"]
    german = get(watched, segment="country=DE")
    assert (german["status"], german["segment"]) == ("ok", "country=DE")
    assert get(watched, segment="country=IT")["drifted"][0]["mean"]["reference"] == pytest.approx(50, abs=1)


def test_days(watched: httpx.Client, database: Database) -> None:
    write_window(database, drift_all(), NOON - NOON % DAY, step=DAY)
    said = get(watched, step="1d")
    assert (said["step"], said["status"], said["window"]["end"]) == ("1d", "drifted", "2024-11-26T00:00:00Z")
    assert get(watched)["status"] == "waiting"


def test_an_old_reference_is_still_the_one_of_old_windows(watched: httpx.Client, database: Database) -> None:
    frame = drift_all()
    write_window(database, frame)
    before = get(watched)
    upload_reference(watched, make_frame(seed=8, shift=5.0))
    assert get(watched) == before


def test_what_production_has_taught(watched: httpx.Client, database: Database) -> None:
    write_window(database, make_frame(900, seed=1))
    assert get(watched)["learning"] is None
    size = len(NAMES)
    with database.transaction() as conn:
        stored = current_reference(conn, "fraud", "3")
        assert stored is not None
        offset = np.linspace(0, 0.5, size, dtype=np.float32)
        skewed = np.isin(NAMES, ["amount", "country"])
        learned = np.full(size, 0.3, np.float32)
        taught = Learning(
            "fraud",
            "3",
            stored.grid_id,
            HOUR,
            NOON,
            NOON + 14 * DAY,
            NOON + HOUR,
            1,
            learned,
            learned,
            offset,
            skewed,
        )
        write_learning(conn, taught)
    assert get(watched)["learning"] == {
        "since": "2024-11-25T12:00:00Z",
        "until": "2024-12-09T12:00:00Z",
        "done": False,
        "windows": 1,
        "training_serving_skew": [
            {"feature_name": "country", "psi_offset": pytest.approx(0.4)},
            {"feature_name": "amount", "psi_offset": 0.0},
        ],
    }


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/models/nobody/drift/summary", 404),
        (f"{PATH}?version=9", 404),
        (f"{PATH}?segment=x", 404),
        (f"{PATH}?step=2h", 422),
        (f"{PATH}?from=-1h", 422),
    ],
)
def test_bad_questions(refusing: httpx.Client, path: str, status: int) -> None:
    answer = refusing.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


def test_another_version(watched: httpx.Client) -> None:
    watched.post("/models", json={**FRAUD, "version": "4"})
    assert get(watched, version="4")["status"] == "no_reference"
