"""The demo, run as a user runs it: real flights, the real path, and what the seasons say."""

import hashlib
import hmac
import json
import subprocess
import sys

import httpx
import pandas as pd
import pytest

from driftline.cli.demo import make_settings
from driftline.demo.flights import Flights
from driftline.demo.inbox import Inbox, open_inbox
from driftline.demo.results import count_events, draw_months, draw_table, list_months, rank_features
from driftline.demo.retrain import MODEL_FILE, choose_recent


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    file = tmp_path_factory.mktemp("demo") / "demo.json"
    command = [sys.executable, "-m", "driftline", "demo", "--headless", "--approve", "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(file.read_text())


@pytest.mark.slow
def test_counts_exactly_the_events_that_were_sent(result):
    both = sum(month["flights"] for month in result["performance_after"])
    assert result["events_sent"] == result["events_counted"] == 255_987 + both
    assert both == 198_861  # June to December, by the second version
    assert result["windows"] == 275


@pytest.mark.slow
def test_labels_come_with_the_arrivals_and_the_months_have_their_auc(result):
    months, after = result["performance"], result["performance_after"]
    assert [month["month"] for month in months] == [f"2013-{number:02}" for number in range(4, 13)]
    assert sum(month["flights"] for month in months) == 255_987
    assert sum(month["labeled"] for month in months) == 249_435  # cancelled and diverted flights never get one
    assert sum(month["labeled"] for month in months + after) == result["labels_sent"]
    for month in months:
        assert 0.95 < month["coverage"] < 1
        assert month["lower"] < month["realised"] < month["upper"]
        assert 0.6 < month["realised"] < 0.8
        assert month["estimated_lower"] < month["estimated"] < month["estimated_upper"]
    assert {month["agree"] for month in months} == {True, False}


@pytest.mark.slow
def test_temperature_and_dew_point_drift_by_far_most(result):
    first, second, third = result["features"][:3]
    assert {first["feature_name"], second["feature_name"]} == {"temp", "dewp"}
    assert second["windows_drifted"] > 10 * third["windows_drifted"]
    assert first["first_drifted"] < "2013-06"


@pytest.mark.slow
def test_tells_every_feature_and_how_long_each_stage_took(result):
    names = {feature["feature_name"] for feature in result["features"]}
    assert {"carrier", "origin", "dest", "hour", "weekday", "__prediction__", "__score__"} <= names
    assert {"feature_name", "first_drifted", "windows_drifted", "peak_psi"} == set(result["features"][0])
    assert set(result["seconds"]) == {"load", "train", "reference", "send", "judge", "join", "retrain"}


@pytest.mark.slow
def test_an_alert_proposes_to_retrain_and_the_new_version_is_better_in_summer(result):
    run = result["retraining"]
    assert (run["status"], run["decided_by"], run["retrained_as"]) == ("succeeded", "demo", "2")
    assert [month["month"] for month in result["performance_after"]] == [f"2013-{n:02}" for n in range(6, 13)]
    before = {month["month"]: month["realised"] for month in result["performance"]}
    summer = [month for month in result["performance_after"] if month["month"] in ("2013-08", "2013-09")]
    assert all(month["realised"] > before[month["month"]] for month in summer)


@pytest.mark.slow
def test_alerts_reach_the_inbox_once_and_those_of_the_first_version_end_with_the_second(result):
    assert {alert["rule_id"].partition(".")[2] for alert in result["alerts"]} >= {"new_season", "performance"}
    assert "retrained as version 2" in {alert["ended"] for alert in result["alerts"]}
    told = [(notice["dedup_key"], notice["kind"]) for notice in result["notices"]]
    assert {kind for _, kind in told} >= {"trigger", "resolve"}
    assert all(told.count(each) == 1 for each in told if each[1] in ("trigger", "resolve"))


def test_the_demo_never_touches_another_database(monkeypatch, tmp_path):
    for name, value in {
        "DATABASE_URL": "postgresql://prod/db",
        "DRIFTLINE_DATA_DIR": "/srv/real",
        "DRIFTLINE_PORT": "9000",
        "DRIFTLINE_HOST": "0.0.0.0",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(MODEL_FILE, "")  # which it sets
    settings = make_settings(tmp_path, headless=True, port=None, inbox=Inbox("key", "http://127.0.0.1:9/"))
    assert settings.database_url is None
    assert (settings.data_dir, settings.host) == (tmp_path, "127.0.0.1")
    assert settings.port not in (0, 9000)
    assert settings.public_url == f"http://127.0.0.1:{settings.port}"
    assert settings.log_partitions == 4


SERIES = {
    "windows": ["2013-04-01T04:00:00Z", "2013-04-02T04:00:00Z", "2013-05-01T04:00:00Z"],
    "features": [
        {
            "feature_name": "x",
            "psi_score": [0.1, None, 0.4],
            "drifted": [False, False, True],
            "sample_count": [9, 9, 9],
        },
        {
            "feature_name": "y",
            "psi_score": [0.3, 0.9, 0.5],
            "drifted": [True, True, True],
            "sample_count": [9, 9, 9],
        },
        {
            "feature_name": "__score__",
            "psi_score": [None, None, None],
            "drifted": [False] * 3,
            "sample_count": [5, 6, 7],
        },
    ],
}


def test_features_are_ranked_by_the_windows_that_drifted():
    y, x, score = rank_features(SERIES)
    assert y.to_dict() == {
        "feature_name": "y",
        "first_drifted": "2013-04-01T04:00:00Z",
        "windows_drifted": 3,
        "peak_psi": 0.9,
    }
    assert (x.feature_name, x.windows_drifted, x.first_drifted) == ("x", 1, "2013-05-01T04:00:00Z")
    assert x.by_month == (("2013-04", 0, 2), ("2013-05", 1, 1))
    assert score.peak_psi is None
    assert score.first_drifted is None


def test_events_are_counted_by_the_score():
    assert count_events(SERIES) == 18


PERFORMANCE = {
    "windows": ["2013-04-01T04:00:00Z", "2013-05-01T04:00:00Z", "2013-06-01T04:00:00Z"],
    "rows": [9, 8, 7],
    "labeled": [8, 8, 0],
    "coverage": [0.89, 1.0, 0.0],
    "metrics": [
        {
            "value": [0.7, 0.6, None],
            "lower": [0.6, 0.5, None],
            "upper": [0.8, 0.7, None],
            "estimate": [0.72, 0.72, 0.72],
            "estimate_lower": [0.65, 0.65, 0.65],
            "estimate_upper": [0.79, 0.79, 0.79],
        }
    ],
}


def test_months_say_whether_the_estimate_was_right():
    months = list_months(PERFORMANCE)
    assert [(month.month, month.agree) for month in months] == [
        ("2013-04", True),
        ("2013-05", False),
        ("2013-06", None),
    ]
    assert months[0].to_dict()["agree"] is True
    assert draw_months(months).row_count == 3


def test_the_table_has_a_row_for_every_feature():
    assert draw_table(rank_features(SERIES), 3).row_count == 3


def test_the_inbox_takes_what_is_signed_and_each_notice_once():
    shown = []
    with open_inbox("key", shown.append) as inbox:
        body = b'{"kind": "trigger"}'
        signature = hmac.new(b"key", b"1700000000." + body, hashlib.sha256).hexdigest()
        headers = {
            "Driftline-Timestamp": "1700000000",
            "Driftline-Signature": f"v1={signature}",
            "Idempotency-Key": "1",
        }
        assert [httpx.post(inbox.url, content=body, headers=headers).status_code for _ in range(2)] == [204, 204]
        forged = {**headers, "Driftline-Signature": "v1=0", "Idempotency-Key": "2"}
        assert httpx.post(inbox.url, content=body, headers=forged).status_code == 401
    assert shown == inbox.notices == [{"kind": "trigger"}]


def test_the_trainer_learns_from_three_months_and_only_from_what_was_known():
    times = pd.to_datetime(
        ["2013-01-10", "2013-03-10", "2013-05-10", "2013-05-31 23:00", "2013-06-02"], utc=True, format="ISO8601"
    )
    frame = pd.DataFrame({"timestamp": times, "known_at": times + pd.Timedelta(hours=3), "late": 1.0})
    flights = Flights(frame.iloc[:2], frame.iloc[2:])
    recent = choose_recent(flights, pd.Timestamp("2013-06-01", tz="UTC"))
    assert recent["timestamp"].dt.day.tolist() == [10, 10]
    assert recent["timestamp"].dt.month.tolist() == [3, 5]
