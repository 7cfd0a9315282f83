"""GET /models/{model_id}/drift."""

from typing import Any

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from driftline import store
from driftline.api import drift
from driftline.api.drift import shorten
from driftline.core.drift import Status
from driftline.core.window import DAY
from driftline.store.database import Database
from driftline.store.drift import METRICS, read_drift_series
from tests.api.examples import ARROW, FRAUD, HOUR, NAMES, NOON, make_frame, upload_reference, write_window

PATH = "/models/fraud/drift"
ALL = {"from": "2024-11-25T00:00:00Z", "to": "2024-11-26T00:00:00Z"}


@pytest.fixture
def watched(fraud: httpx.Client, database: Database) -> httpx.Client:
    """Fraud with a reference and four windows, the third of which has drifted."""
    upload_reference(fraud)
    for k in range(4):
        frame = make_frame(900, seed=10 + k, shift=2.0 if k == 2 else 0.0)
        frame.loc[: 9 * k, "age"] = np.nan
        write_window(database, frame, NOON + k * HOUR)
    return fraud


def get(client: httpx.Client, **query: Any) -> dict[str, Any]:
    answer = client.get(PATH, params=query)
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()
    return content


def test_the_shape(watched: httpx.Client) -> None:
    said = get(watched, **ALL)
    assert (said["model_id"], said["version"], said["from"], said["to"]) == ("fraud", "3", ALL["from"], ALL["to"])
    assert said["windows"] == [f"2024-11-25T{hour}:00:00Z" for hour in (12, 13, 14, 15)]
    assert (said["window_status"], said["rows"], said["next"]) == (["ok"] * 4, [900] * 4, None)
    assert (said["segment"], said["reference"], said["step"]) == ("", "training", "1h")
    assert [feature["feature_name"] for feature in said["features"]] == list(NAMES)
    for feature in said["features"]:
        assert set(feature) == {
            "feature_name",
            "kind",
            "psi_score",
            "ks_statistic",
            "ks_pvalue",
            "sample_count",
            "drifted",
            "status",
        }
        assert {len(values) for name, values in feature.items() if name not in ("feature_name", "kind")} == {4}
    amount, country = said["features"][0], said["features"][4]
    assert amount["drifted"] == [False, False, True, False]
    assert amount["status"] == ["ok"] * 4
    assert (country["kind"], country["ks_statistic"], country["sample_count"]) == (
        "categorical",
        [None] * 4,
        [900] * 4,
    )


def test_the_numbers_are_those_of_the_store(watched: httpx.Client, database: Database) -> None:
    said = get(watched, **ALL, metric=[name for name in METRICS if name != "feature_status"])
    with database.transaction() as conn:
        data = read_drift_series(conn, "fraud", "3", since=NOON, until=NOON + DAY, step=HOUR)
    for f, feature in enumerate(said["features"]):
        for name in METRICS:
            if name == "feature_status":
                assert feature["status"] == data.metrics[name][:, f].tolist()
                continue
            values = [np.nan if value is None else value for value in feature[name]]
            np.testing.assert_allclose(values, data.metrics[name][:, f], rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("names", [["age"], ["__score__", "amount"], [*NAMES[::-1]], ["age", "age"]])
def test_features_are_picked_in_the_order_asked_for(watched: httpx.Client, names: list[str]) -> None:
    whole = {feature["feature_name"]: feature for feature in get(watched, **ALL)["features"]}
    picked = get(watched, **ALL, feature=names)["features"]
    assert picked == [whole[name] for name in dict.fromkeys(names)]


@pytest.mark.parametrize("picked", [0, 100])
@pytest.mark.parametrize("few", [0, 1, 8])
def test_wherever_features_are_picked_they_are_the_same(
    watched: httpx.Client, monkeypatch: pytest.MonkeyPatch, picked: int, few: int
) -> None:
    whole = {feature["feature_name"]: feature for feature in get(watched, **ALL)["features"]}
    monkeypatch.setattr(drift, "_PICKED", picked)
    monkeypatch.setattr(store.drift, "_FEW", few)
    names = [NAMES[2], NAMES[0]]
    assert get(watched, **ALL, feature=names)["features"] == [whole[name] for name in names]
    metrics = ["p50", "level", "status"]
    two = get(watched, **ALL, feature=names, metric=metrics)["features"]
    assert [list(feature) for feature in two] == [["feature_name", "kind", "p50", "level", "status"]] * 2
    assert [feature["status"] for feature in two] == [whole[name]["status"] for name in names]


def test_metrics_are_picked(watched: httpx.Client) -> None:
    said = get(watched, **ALL, metric=["mean", "missing_rate", "mean"], feature="age")
    (age,) = said["features"]
    assert list(age) == ["feature_name", "kind", "mean", "missing_rate", "status"]
    assert age["missing_rate"] == [pytest.approx((9 * k + 1) / 900, rel=1e-6) for k in range(4)]
    assert list(get(watched, **ALL, metric="status")["features"][0]) == ["feature_name", "kind", "status"]


def test_segments(watched: httpx.Client) -> None:
    said = get(watched, **ALL, segment="country=DE")
    assert (said["segment"], len(said["windows"])) == ("country=DE", 4)
    assert all(450 < rows < 630 for rows in said["rows"])
    assert said["features"][0]["drifted"] == [False, False, True, False]
    assert get(watched, **ALL, segment="country=__other__")["windows"] == []


def test_the_span(watched: httpx.Client) -> None:
    two = get(watched, **{"from": "2024-11-25T13:00:00Z", "to": "2024-11-25T16:00:00+01:00"})
    assert two["windows"] == ["2024-11-25T13:00:00Z", "2024-11-25T14:00:00Z"]
    assert two["to"] == "2024-11-25T15:00:00Z"
    raw = watched.get(f"{PATH}?from=2024-11-25T14:00:00+01:00&to=2024-11-25T15:00:00Z")  # an unescaped plus
    assert raw.json()["windows"] == two["windows"]
    newest = get(watched)
    assert (newest["from"], newest["to"]) == ("2024-11-24T16:00:00Z", "2024-11-25T16:00:00Z")
    assert len(newest["windows"]) == 4
    assert get(watched, **{"from": "-1h"})["windows"] == []
    assert get(watched, **{"from": "2024-11-25T00:00:00Z", "to": "now"})["windows"] == newest["windows"]
    assert len(get(watched, **{"from": "2024-11-25T14:00:00Z"})["windows"]) == 2


def test_pages(watched: httpx.Client) -> None:
    whole = get(watched, **ALL, feature="amount")
    seen: list[str] = []
    scores: list[float] = []
    after = None
    for _ in range(4):
        query = {**ALL, "feature": "amount", "limit": 3} | ({} if after is None else {"after": after})
        page = get(watched, **query)
        seen += page["windows"]
        scores += page["features"][0]["psi_score"]
        after = page["next"]
        if after is None:
            break
    assert (seen, scores) == (whole["windows"], whole["features"][0]["psi_score"])
    assert get(watched, **ALL, limit=4)["next"] is None


@pytest.mark.parametrize(
    ("query", "values"),
    [
        ({}, len(NAMES) * 6),  # five metrics and the status of each feature
        ({"metric": ["p50"]}, len(NAMES) * 2),
        ({"feature": "amount"}, 6),
        ({"feature": NAMES[:-1]}, len(NAMES) * 6),  # so many of them are not picked by the database
        ({"metric": [name for name in METRICS if name != "feature_status"]}, len(NAMES) * len(METRICS)),
    ],
)
def test_a_page_is_bounded_by_what_is_read(
    watched: httpx.Client, monkeypatch: pytest.MonkeyPatch, query: dict[str, Any], values: int
) -> None:
    whole = get(watched, **ALL, **query)
    monkeypatch.setattr(drift, "MAX_VALUES", 3 * values - 1)
    page = get(watched, **ALL, **query, limit=1000)
    assert (len(page["windows"]), page["next"]) == (2, "2024-11-25T13:00:00Z")
    rest = get(watched, **ALL, **query, after=page["next"])
    assert (page["windows"] + rest["windows"], rest["next"]) == (whole["windows"], None)
    monkeypatch.setattr(drift, "MAX_VALUES", 1)
    assert len(get(watched, **ALL, **query)["windows"]) == 1


def test_days(watched: httpx.Client, database: Database) -> None:
    write_window(database, make_frame(3600), NOON - NOON % DAY, step=DAY)
    said = get(watched, step="1d")
    assert (said["step"], said["windows"], said["rows"]) == ("1d", ["2024-11-25T00:00:00Z"], [3600])
    assert (said["from"], said["to"]) == ("2024-10-27T00:00:00Z", "2024-11-26T00:00:00Z")
    assert get(watched, step="60m")["step"] == "1h"


def test_partial_and_pooling_windows(watched: httpx.Client, database: Database) -> None:
    write_window(database, make_frame(100, shift=3), NOON + 4 * HOUR, status=Status.POOLING)
    write_window(database, make_frame(50, shift=3), NOON + 5 * HOUR, status=Status.PARTIAL)
    said = get(watched, **ALL)
    assert said["window_status"] == [*["ok"] * 4, "pooling", "partial"]
    amount = said["features"][0]
    assert (amount["drifted"][4:], amount["status"][4:]) == ([False, False], ["pooling", "partial"])
    assert amount["psi_score"][5] is not None


def test_the_version_with_most_traffic_is_the_default(watched: httpx.Client, database: Database) -> None:
    watched.post("/models", json={**FRAUD, "version": "4"})
    assert get(watched, **ALL)["version"] == "3"
    other = get(watched, **ALL, version="4")
    assert (other["version"], other["windows"], other["next"]) == ("4", [], None)
    upload_reference(watched, version="4")
    write_window(database, make_frame(9000), NOON, version="4")
    assert get(watched, **ALL)["version"] == "4"


def test_nothing_yet(fraud: httpx.Client) -> None:
    said = get(fraud)
    assert (said["windows"], said["rows"], said["next"]) == ([], [], None)
    assert [feature["psi_score"] for feature in said["features"]] == [[]] * len(NAMES)
    fraud.post("/models", json={"model_id": "bare", "version": "1"})
    assert fraud.get("/models/bare/drift").json()["features"] == []


def test_a_reference_that_windows_are_not_compared_with(watched: httpx.Client) -> None:
    assert get(watched, **ALL, reference="rolling")["windows"] == []


def read_table(answer: httpx.Response) -> pa.Table:
    assert (answer.status_code, answer.headers["content-type"]) == (200, ARROW)
    with pa.ipc.open_stream(answer.content) as reader:
        return reader.read_all()


def test_arrow(watched: httpx.Client) -> None:
    said = get(watched, **ALL)
    table = read_table(watched.get(PATH, params=ALL, headers={"accept": ARROW}))
    assert table.schema.metadata[b"version"] == b"3"
    assert table.schema.metadata[b"next"] == b""
    frame = table.to_pandas()
    assert len(frame) == 4 * len(NAMES)
    assert list(frame["window_start"].unique()) == list(pd.to_datetime(said["windows"]))
    assert (frame["window_end"] - frame["window_start"] == pd.Timedelta(hours=1)).all()
    for feature in said["features"]:
        rows = frame[frame["feature_name"] == feature["feature_name"]]
        assert rows["drifted"].tolist() == feature["drifted"]
        assert rows["status"].tolist() == feature["status"]
        assert rows["sample_count"].tolist() == feature["sample_count"]
        expected = [np.nan if value is None else value for value in feature["psi_score"]]
        np.testing.assert_allclose(rows["psi_score"].astype(float), expected, rtol=1e-6)
    assert table["ks_statistic"].null_count == 4 * 2  # of the categorical features


def test_arrow_of_a_page_and_of_nothing(watched: httpx.Client) -> None:
    query = {**ALL, "limit": 1, "metric": ["mean", "p99"], "feature": "age"}
    table = read_table(watched.get(PATH, params=query, headers={"accept": f"{ARROW};q=1, application/json"}))
    assert table.num_rows == 1
    assert table.column_names == [
        "feature_name",
        "window_start",
        "window_end",
        "mean",
        "p99",
        "status",
        "partial",
    ]
    assert table.schema.metadata[b"next"] == b"2024-11-25T12:00:00Z"
    empty = read_table(watched.get(PATH, params={"from": "-1h"}, headers={"accept": ARROW}))
    assert empty.num_rows == 0


@pytest.mark.parametrize(
    ("query", "status", "field", "says"),
    [
        ({"from": "2024-11-25T00:00:00"}, 422, "from", "has no time zone; write 2024-11-25T00:00:00Z"),
        ({"from": "2024-11-25"}, 422, "from", "has no time zone"),
        ({"to": "yesterday"}, 422, "to", "write e.g. 2026-11-23T08:00:00Z, -24h or now"),
        ({"to": ""}, 422, "to", "is no time"),
        ({"from": "-999999w"}, 422, "from", "beyond the calendar"),
        ({"to": "9999-12-31T23:59:59-10:00"}, 422, "to", "beyond the calendar"),
        ({"from": "now", "to": "-1h"}, 422, "from", "from must lie before to"),
        ({"after": "x"}, 422, "after", "is no time"),
        ({"feature": "amuont"}, 404, "feature", "did you mean 'amount'?"),
        ({"feature": "zzzzz"}, 404, "feature", "it has amount, age"),
        ({"metric": "psi"}, 422, "metric.0", "metric 'psi' is not known; there are psi_score, psi_raw"),
        ({"segment": "DE"}, 404, "segment", "as in country=…"),
        ({"segment": "age=7"}, 404, "segment", "columns country"),
        ({"segment": "a\x00"}, 422, "segment", "NUL"),
        ({"step": "2h"}, 422, "step", "step '2h' is not kept; use 1h, the model's, or 1d"),
        ({"step": "7m"}, 422, "window", "does not divide a day"),
        ({"version": "9"}, 404, None, "has no version '9'"),
        ({"version": "a/b"}, 422, "version", "'/' is not allowed"),
        ({"reference": "weekly"}, 422, "reference", "seasonal"),
        ({"limit": "0"}, 422, "limit", "greater than or equal to 1"),
        ({"features": "amount"}, 422, "features", "no query parameter 'features'"),
    ],
)
def test_bad_questions(
    refusing: httpx.Client, query: dict[str, str], status: int, field: str | None, says: str
) -> None:
    answer = refusing.get(PATH, params=query)
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert says in problem["detail"]
    assert problem.get("field") == field


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30, 1e-7])
def test_shortened_numbers_keep_their_digits(scale: float) -> None:
    values = (np.random.default_rng(0).normal(size=1000) * scale).astype(np.float32)
    short = shorten(values)
    np.testing.assert_allclose(short, values, rtol=5e-7)
    if scale in (1.0, 1e-7):
        assert np.mean([len(repr(value)) for value in short.tolist()]) < 13
