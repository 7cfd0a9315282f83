"""A window whose drift could not be computed: visible as failed, and out of the way of the others."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from driftline.core.drift import Status
from driftline.core.segment import EVERYTHING
from driftline.core.window import MICROSECONDS
from driftline.store.drift import DriftWindow, upsert_drift
from driftline.store.models import get_model
from driftline.store.versions import get_version
from driftline.store.windows import StoredWindow, close_window, get_window, lock_version, mark_failed


def fail_window(conn: Connection, window: StoredWindow, now: int, *, close: bool) -> None:
    """Say of a window that its drift could not be computed; close it first if told to. Its parts stay."""
    key = (window.model_id, window.model_version)
    lock_version(conn, *key)
    if close:
        close_window(conn, *key, window.window_start, now)
    current = get_window(conn, *key, window.window_start)
    if current is None:
        return  # deleted meanwhile
    mark_failed(conn, *key, window.window_start, now)
    features = len(get_version(conn, *key).feature_names)
    row = DriftWindow(
        *key,
        EVERYTHING,
        "training",
        current.window_start,
        current.window_end,
        get_model(conn, window.model_id).window_seconds * MICROSECONDS,
        current.window_start,
        current.grid_id,
        str(Status.FAILED),
        current.closed_at is None,
        current.row_count,
        0.0,
        now,
    )
    metrics: dict[str, NDArray[Any]] = {
        "sample_count": np.zeros(features, np.int64),
        "level": np.zeros(features, np.int16),
        "drifted": np.zeros(features, np.bool_),
        "feature_status": np.full(features, str(Status.FAILED), np.object_),
    }
    upsert_drift(conn, row, metrics)
