"""What the tests of the API send: a model, training data, predictions; and windows as the workers write them."""

import io
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from driftline.core.drift import Drift, Status, compute_drift
from driftline.core.frame import pack_frame
from driftline.core.moment import from_micros, to_micros
from driftline.core.profile import Profile, encode_profile, profile_rows
from driftline.core.reference import Reference, decode_reference, profile_segments
from driftline.core.window import DAY, Window
from driftline.store.database import Database
from driftline.store.drift import METRICS, DriftWindow, upsert_drift
from driftline.store.profiles import StoredProfile, upsert_profiles
from driftline.store.references import current_reference
from driftline.store.windows import WindowGrowth, close_window, grow_windows

HOUR = 3600 * 1_000_000
NOON = to_micros(datetime(2024, 11, 25, 12, tzinfo=UTC))
PARQUET = "application/vnd.apache.parquet"
ARROW = "application/vnd.apache.arrow.stream"

FRAUD: dict[str, Any] = {
    "model_id": "fraud",
    "version": "3",
    "task": "binary",
    "window": "1h",
    "owner": "payments-ml",
    "team": "payments",
    "schema": {
        "features": [
            {"name": "amount", "kind": "numeric", "unit": "EUR"},
            {"name": "age", "kind": "numeric"},
            {"name": "member", "kind": "boolean"},
            {"name": "country", "kind": "categorical"},
        ],
        "segments": ["country"],
    },
}
NAMES = ("amount", "age", "member", "__score__", "country", "__prediction__")
"""Features of fraud in profile order."""


def make_frame(rows: int = 5000, *, seed: int = 0, shift: float = 0.0, begin: int = NOON) -> pd.DataFrame:
    """Draw rows of fraud, one a second; `shift` moves the amount by so many standard deviations."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "prediction_id": [f"p{seed}-{i}" for i in range(rows)],
            "timestamp": pd.date_range(from_micros(begin), periods=rows, freq="s"),
            "amount": rng.normal(50 + 10 * shift, 10, rows).astype(np.float32),
            "age": rng.integers(18, 90, rows).astype(np.float32),
            "member": rng.random(rows) < 0.3,
            "country": rng.choice(["DE", "FR", "IT"], rows, p=[0.6, 0.3, 0.1]),
            "prediction": rng.integers(0, 2, rows),
            "score": rng.random(rows),
        }
    )


def to_parquet(frame: pd.DataFrame) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), sink)
    return sink.getvalue()


def to_arrow(frame: pd.DataFrame) -> bytes:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def make_prediction(name: str = "a", **changes: Any) -> dict[str, Any]:
    """One prediction of fraud as JSON."""
    return {
        "prediction_id": name,
        "timestamp": "2024-11-25T08:00:00Z",
        "entity_id": "c-17",
        "features": {"amount": 12.5, "age": 40, "member": True, "country": "DE"},
        "prediction": 1,
        "score": 0.83,
        **changes,
    }


def make_body(*predictions: Any, version: str = "3") -> dict[str, Any]:
    return {"model_id": "fraud", "version": version, "predictions": list(predictions)}


def upload_reference(
    client: httpx.Client, frame: pd.DataFrame | None = None, *, version: str = "3"
) -> dict[str, Any]:
    body = to_parquet(make_frame().drop(columns="timestamp") if frame is None else frame)
    answer = client.put(f"/models/fraud/versions/{version}/reference", content=body)
    assert answer.status_code == 201, answer.text
    content: dict[str, Any] = answer.json()
    return content


def write_window(
    database: Database,
    frame: pd.DataFrame,
    start: int = NOON,
    *,
    version: str = "3",
    status: Status = Status.OK,
    step: int = HOUR,
) -> None:
    """Write a window with its profiles and its drift, of everything and of each country, as the workers do."""
    window = Window(start, start + step)
    with database.transaction() as conn:
        stored = current_reference(conn, "fraud", version, start)
        assert stored is not None
        reference = decode_reference(stored.payload)
        columns = pack_frame(frame, reference.schema).columns
        parts = {"": profile_rows(reference.grid, columns)}
        parts |= dict(profile_segments(reference.coarse, columns, reference.schema, reference.segments))
        if step < DAY:
            growth = WindowGrowth(
                "fraud", version, start, window.end, stored.grid_id, len(frame), len(frame), start, start, start
            )
            grow_windows(conn, [growth])
            if status is not Status.PARTIAL:
                close_window(conn, "fraud", version, start, window.end)
        for segment, profile in parts.items():
            if step < DAY:
                upsert_profiles(conn, [_store_profile(version, segment, start, profile)])
            drift = _compare(reference, segment, profile)
            row = DriftWindow(
                "fraud",
                version,
                segment,
                "training",
                start,
                window.end,
                step,
                start,
                profile.grid_id,
                str(status),
                status is Status.PARTIAL,
                profile.rows,
                profile.effective_rows,
                window.end + HOUR,
            )
            upsert_drift(conn, row, _list_metrics(drift, status))


def _store_profile(version: str, segment: str, start: int, profile: Profile) -> StoredProfile:
    return StoredProfile(
        "fraud",
        version,
        segment,
        start,
        profile.grid_id,
        profile.rows,
        profile.effective_rows,
        encode_profile(profile),
        None,
    )


def _compare(reference: Reference, segment: str, profile: Profile) -> Drift:
    nothing = replace(profile, rows=0, weight=0, weight_squares=0, counts=np.zeros_like(profile.counts))
    if segment == "":
        cells = reference.grid, reference.bins, reference.profile
    else:
        expected = reference.segment_profiles.get(segment, nothing)
        cells = reference.coarse, reference.coarse_bins, expected
    return compute_drift(*cells, profile, outputs=reference.outputs)


def _list_metrics(drift: Drift, status: Status) -> Mapping[str, Any]:
    summary = drift.summary
    judged = status is Status.OK
    own = {name: getattr(drift, name) for name in METRICS if hasattr(drift, name)}
    own |= {name: getattr(summary, name) for name in METRICS if hasattr(summary, name)}
    own |= {f"p{p}": summary.percentiles[:, i] for i, p in enumerate((1, 5, 25, 50, 75, 95, 99))}
    return own | {
        "sample_count": np.nan_to_num(summary.value_count).round(),
        "level": drift.level if judged else np.zeros_like(drift.level),
        "drifted": drift.drifted if judged else np.zeros(len(drift.level), bool),
        "feature_status": drift.status
        if judged
        else np.where(drift.status == Status.TOO_FEW, str(status), drift.status),
    }
