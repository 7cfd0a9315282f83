"""The replay: a year's flights sent to a running driftline as a service would send them, only faster."""

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from driftline.demo.flights import TIME_ZONE, describe_schema

MODEL, VERSION = "flights-late", "1"
BATCH = 2_000
_SETTLE_S = 120.0
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
        self.seconds[stage] = round(time.perf_counter() - start, 2)


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent and acknowledged: predictions, and labels of those flights that arrived."""

    predictions: int
    labels: int


class ReplayFailed(RuntimeError):
    """The server refused something, or did not finish; the message is its own."""


def register_model(client: httpx.Client, training: pd.DataFrame) -> dict[str, Any]:
    """Register the model and upload what it was trained on, with its timestamps; gives the server's answer."""
    schema = describe_schema()
    registered = client.post(
        "/models",
        json={
            "model_id": MODEL,
            "version": VERSION,
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
        f"/models/{MODEL}/versions/{VERSION}/reference",
        content=body.getvalue(),
        headers={"content-type": "application/vnd.apache.parquet"},
    )
    return _check(answer)


def send_flights(client: httpx.Client, predictions: pd.DataFrame, progress: Progress) -> Sent:
    """Send all predictions in order of time, and each label once its flight has arrived.

    Each batch is sent until it is acknowledged.
    """
    table = _to_arrow(predictions, "prediction_id", "timestamp", "prediction", "score")
    arrived = predictions[predictions["known_at"].notna()].sort_values("known_at", kind="stable")
    times, labeled = arrived["known_at"], 0
    for start in range(0, table.num_rows, BATCH):
        batch = table.slice(start, BATCH)
        _send_batch(client, batch, start)
        now = predictions["timestamp"].iloc[start + batch.num_rows - 1]
        until = len(times) if start + BATCH >= table.num_rows else int(times.searchsorted(now, "right"))
        _send_labels(client, arrived.iloc[labeled:until])
        labeled = until
        progress(start + batch.num_rows, table.num_rows)
    return Sent(table.num_rows, labeled)


def _send_batch(client: httpx.Client, batch: pa.Table, start: int) -> None:
    body = pa.BufferOutputStream()
    with pa.ipc.new_stream(body, batch.schema) as writer:
        writer.write_table(batch)
    answer = client.post(
        "/predictions",
        params={"model_id": MODEL, "version": VERSION},
        content=body.getvalue().to_pybytes(),
        headers={"content-type": _ARROW, "idempotency-key": f"{MODEL}-{start}"},
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


def read_months(client: httpx.Client) -> dict[str, Any]:
    """Read the area under the ROC curve by month: realised, and as it was estimated before."""
    return _check(client.get(f"/models/{MODEL}/performance", params={"metric": "auc", "step": "month", **_SPAN}))


def await_windows(client: httpx.Client, expected: int, progress: Progress) -> dict[str, Any]:
    """Wait until the expected number of windows is closed and judged; gives their drift."""
    deadline = time.monotonic() + _SETTLE_S
    while time.monotonic() < deadline:
        drift = read_drift(client)
        judged = sum(status != "partial" for status in drift["window_status"])
        progress(judged, expected)
        if judged >= expected:
            return drift
        time.sleep(0.25)
    raise ReplayFailed(f"{expected} windows should have closed within {_SETTLE_S:.0f} s; see the log above")


def read_drift(client: httpx.Client) -> dict[str, Any]:
    """Read the drift of the replayed months."""
    return _check(client.get(f"/models/{MODEL}/drift", params=_SPAN))


def _to_arrow(frame: pd.DataFrame, *columns: str) -> pa.Table:
    names = [feature.name for feature in describe_schema().features]
    return pa.Table.from_pandas(frame[[*columns, *names]], preserve_index=False)


def _check(answer: httpx.Response) -> dict[str, Any]:
    content: dict[str, Any] = answer.json()
    if answer.is_error:
        raise ReplayFailed(f"{answer.request.method} {answer.request.url.path}: {content.get('detail')}")
    return content
