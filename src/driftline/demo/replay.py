"""The replay: a year's flights sent to a running driftline as a service would send them, only faster."""

import io
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from driftline.demo.flights import TIME_ZONE, describe_schema

MODEL, VERSION = "flights-late", "1"
NEW_SEASON: dict[str, Any] = {
    "rule_id": f"{MODEL}.new_season",
    "metric": "drifted_share",
    "comparison": "above",
    "threshold": 0.05,
    "severity": "MEDIUM",
}
"""The rule that proposes to retrain: one of sixteen inputs drifted, three days in a row."""
BATCH = 2_000
_SETTLE_S, _TRAIN_S = 120.0, 300.0
_SPAN: dict[str, str | int] = {"from": "2013-04-01T00:00:00Z", "to": "2014-02-01T00:00:00Z", "limit": 1000}
_ARROW = "application/vnd.apache.arrow.stream"

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Stopwatch:
    """Seconds that each stage took."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Time a stage."""
        start = time.perf_counter()
        yield
        self.seconds[stage] = round(self.seconds.get(stage, 0.0) + time.perf_counter() - start, 2)


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent and acknowledged: predictions, and labels of those flights that arrived."""

    predictions: int
    labels: int


class ReplayFailed(RuntimeError):
    """The server refused something, or did not finish; the message is its own."""


def register_model(client: httpx.Client, training: pd.DataFrame, version: str = VERSION) -> dict[str, Any]:
    """Register a version and upload what it was trained on, with its timestamps; gives the server's answer."""
    schema = describe_schema()
    registered = client.post(
        "/models",
        json={
            "model_id": MODEL,
            "version": version,
            "task": "binary",
            "window": "1d",
            "time_zone": TIME_ZONE,
            "owner": "demo",
            "team": "airport operations",
            "schema": schema.to_dict(),
            "settings": {"idle_close_s": 3},
        },
    )
    _check(registered)
    body = io.BytesIO()
    pq.write_table(_to_arrow(training, "timestamp", "prediction", "score", "late"), body)
    answer = client.put(
        f"/models/{MODEL}/versions/{version}/reference",
        content=body.getvalue(),
        headers={"content-type": "application/vnd.apache.parquet"},
    )
    return _check(answer)


def propose_retraining(client: httpx.Client, action: str) -> None:
    """Add a rule that proposes an action when it fires."""
    _check(client.post(f"/models/{MODEL}/alerts", json={**NEW_SEASON, "actions": [action]}))


def send_flights(client: httpx.Client, versions: Mapping[str, pd.DataFrame], progress: Progress) -> Sent:
    """Send the predictions that versions made of the same flights, in order of time, and labels as they arrive.

    Each batch is sent until it is acknowledged.
    """
    total = sum(len(frame) for frame in versions.values())
    senders = [_Sender(client, version, frame) for version, frame in versions.items()]
    flights = len(next(iter(versions.values())))
    for start in range(0, flights, BATCH):
        for sender in senders:
            sender.send(start, is_last=start + BATCH >= flights)
        progress(sum(sender.predictions for sender in senders), total)
    return Sent(sum(sender.predictions for sender in senders), sum(sender.labels for sender in senders))


class _Sender:
    """Sends what one version said of flights, and their labels."""

    def __init__(self, client: httpx.Client, version: str, frame: pd.DataFrame) -> None:
        self._client, self._version, self._frame = client, version, frame
        self._table = _to_arrow(frame, "prediction_id", "timestamp", "prediction", "score")
        self._arrived = frame[frame["known_at"].notna()].sort_values("known_at", kind="stable")
        self.predictions = self.labels = 0

    def send(self, start: int, *, is_last: bool) -> None:
        """Send the batch that begins at a row, and the labels of what has arrived when it ends."""
        batch = self._table.slice(start, BATCH)
        self._send_batch(batch, str(self._frame["prediction_id"].iloc[start]))
        self.predictions += batch.num_rows
        now = self._frame["timestamp"].iloc[start + batch.num_rows - 1]
        times = self._arrived["known_at"]
        until = len(times) if is_last else int(times.searchsorted(now, "right"))
        _send_labels(self._client, self._arrived.iloc[self.labels : until])
        self.labels = until

    def _send_batch(self, batch: pa.Table, key: str) -> None:
        body = pa.BufferOutputStream()
        with pa.ipc.new_stream(body, batch.schema) as writer:
            writer.write_table(batch)
        answer = self._client.post(
            "/predictions",
            params={"model_id": MODEL, "version": self._version},
            content=body.getvalue().to_pybytes(),
            headers={"content-type": _ARROW, "idempotency-key": f"{MODEL}-{key}"},
        )
        _check(answer)


def _send_labels(client: httpx.Client, arrived: pd.DataFrame) -> None:
    if arrived.empty:
        return
    known_at = arrived["known_at"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    labels = [
        {"prediction_id": key, "value": int(late), "known_at": moment}
        for key, late, moment in zip(arrived["prediction_id"], arrived["late"], known_at, strict=True)
    ]
    _check(client.post("/labels", json={"model_id": MODEL, "labels": labels}))


def await_labels(client: httpx.Client, expected: int, progress: Progress) -> None:
    """Wait until so many predictions have their label."""
    deadline = time.monotonic() + _SETTLE_S
    while time.monotonic() < deadline:
        joined = _check(client.get(f"/models/{MODEL}/labels/status"))["predictions"]["labeled"]
        progress(joined, expected)
        if joined >= expected:
            return
        time.sleep(0.25)
    raise ReplayFailed(f"{expected} labels should have been joined within {_SETTLE_S:.0f} s; see the log above")


def await_proposal(client: httpx.Client) -> dict[str, Any]:
    """Wait until a run of an action waits for its approval; gives it."""

    deadline = time.monotonic() + _SETTLE_S
    while time.monotonic() < deadline:
        params = {"model_id": MODEL, "status": "waiting_for_approval"}
        if runs := _check(client.get("/actions", params=params))["actions"]:
            return dict(runs[0])
        time.sleep(0.25)
    raise ReplayFailed(f"an alert should have proposed to retrain within {_SETTLE_S:.0f} s; see the log above")


def await_end(client: httpx.Client, run_id: str) -> dict[str, Any]:
    """Wait until a run has ended; gives it."""

    run: dict[str, Any] = {}
    deadline = time.monotonic() + _TRAIN_S
    while time.monotonic() < deadline:
        run = _check(client.get(f"/actions/{run_id}"))
        if run["ended_at"] and (run["status"] != "succeeded" or run["retrained_as"]):
            return run
        time.sleep(0.25)
    said = f"{run['status']} {run['reason'] or run['detail']}"
    raise ReplayFailed(f"the retraining should have ended within {_TRAIN_S:.0f} s; it is {said.strip()}")


def approve_run(client: httpx.Client, run_id: str) -> None:
    """Approve a run."""
    _check(client.post(f"/actions/{run_id}/approve", json={"by": "demo", "comment": "a new season"}))


def read_alerts(client: httpx.Client) -> list[dict[str, Any]]:
    """Read the alerts, oldest first."""
    page = _check(client.get("/alerts", params={"model_id": MODEL, "limit": 1000}))
    return sorted(page["alerts"], key=lambda alert: (alert["opened_at"], alert["alert_id"]))


def read_months(client: httpx.Client, version: str = VERSION) -> dict[str, Any]:
    """Read the area under the ROC curve by month: realised, and as it was estimated before."""
    params = {"metric": "auc", "step": "month", "version": version, **_SPAN}
    return _check(client.get(f"/models/{MODEL}/performance", params=params))


def await_windows(
    client: httpx.Client, expected: int, progress: Progress, version: str = VERSION
) -> dict[str, Any]:
    """Wait until the expected number of windows is closed and judged; gives their drift."""
    deadline = time.monotonic() + _SETTLE_S
    while time.monotonic() < deadline:
        drift = read_drift(client, version)
        judged = sum(status != "partial" for status in drift["window_status"])
        progress(judged, expected)
        if judged >= expected:
            return drift
        time.sleep(0.25)
    raise ReplayFailed(f"{expected} windows should have closed within {_SETTLE_S:.0f} s; see the log above")


def read_drift(client: httpx.Client, version: str = VERSION) -> dict[str, Any]:
    """Read the drift of the replayed months."""
    return _check(client.get(f"/models/{MODEL}/drift", params={"version": version, **_SPAN}))


def read_end(client: httpx.Client) -> pd.Timestamp:
    """Read until when the model has seen flights: the end of the newest window."""
    return pd.Timestamp(read_drift(client)["windows"][-1]) + pd.Timedelta(days=1)


def _to_arrow(frame: pd.DataFrame, *columns: str) -> pa.Table:
    names = [feature.name for feature in describe_schema().features]
    return pa.Table.from_pandas(frame[[*columns, *names]], preserve_index=False)


def _check(answer: httpx.Response) -> dict[str, Any]:
    content: dict[str, Any] = answer.json()
    if answer.is_error:
        raise ReplayFailed(f"{answer.request.method} {answer.request.url.path}: {content.get('detail')}")
    return content
