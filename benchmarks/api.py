"""What the HTTP API takes: drift series as a chart asks for them, and predictions as a service sends them.

Runs a server on an embedded database of its own, with 90 days of 15-minute windows of 500 features.
"""

import json
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter, time

import httpx
import numpy as np
from rich.progress import track

from driftline.api.app import create_app
from driftline.api.server import serve
from driftline.core.batch import Batch
from driftline.core.columns import Columns
from driftline.core.schema import Schema
from driftline.core.window import MICROSECONDS
from driftline.log.batch_format import CONTENT_TYPE, encode_batch
from driftline.log.postgres_log import PostgresLog
from driftline.settings import Settings
from driftline.store.database import Database, open_database
from driftline.store.drift import METRICS, DriftWindow, upsert_drift
from driftline.store.partitions import maintain_partitions
from records import Record, make_parser, report

FEATURES = 500
ROWS = 900
QUARTER = 900 * MICROSECONDS
SCHEMA = {"features": [{"name": f"f{i}", "kind": "numeric"} for i in range(FEATURES)], "task": "binary"}


@contextmanager
def run_server() -> Iterator[tuple[Database, str]]:
    """Run a server that knows one model; gives its URL."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(database_url=None, data_dir=Path(folder), log_level="error")
        with (
            open_database(settings) as database,
            serve(create_app(database, PostgresLog(database), settings), "127.0.0.1", 0) as url,
        ):
            body = {"model_id": "m", "version": "1", "window": "15m", "task": "binary", "schema": SCHEMA}
            httpx.post(f"{url}/models", json=body).raise_for_status()
            yield database, url


def write_windows(database: Database, days: int, now: int) -> None:
    """Write the drift of every window: random numbers, which do not compress."""
    rng = np.random.default_rng(0)
    with database.connection() as conn:
        maintain_partitions(conn, now)
    for k in track(range(96 * days), f"{days} days of windows"):
        start = now - (96 * days - k) * QUARTER
        metrics = {name: rng.random(FEATURES + 2) for name, dtype in METRICS.items() if dtype.kind == "f"}
        counted = {
            "sample_count": np.full(FEATURES + 2, ROWS),
            "level": np.zeros(FEATURES + 2, np.int16),
            "drifted": rng.random(FEATURES + 2) < 0.02,
            "feature_status": np.full(FEATURES + 2, "ok", np.object_),
        }
        window = DriftWindow(
            "m", "1", "", "training", start, start + QUARTER, QUARTER, start, "grid", "ok", False, ROWS, ROWS, now
        )
        with database.transaction() as conn:
            upsert_drift(conn, window, metrics | counted)
    with database.connection() as conn:
        conn.execute("VACUUM ANALYZE drift_windows")


@dataclass(frozen=True, slots=True)
class Question:
    """A request, sent `runs` times; the 95th percentile of its milliseconds has a budget."""

    name: str
    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes = b""
    runs: int = 60
    budget: float | None = None


def ask(question: Question) -> Record:
    """Time a request from a process of its own, so that the server has its interpreter to itself."""
    seconds = []
    with httpx.Client(timeout=60) as client:
        for run in range(question.runs + 3):
            headers = question.headers | {"idempotency-key": f"{question.name} {run}"}
            start = perf_counter()
            answer = client.request(question.method, question.url, headers=headers, content=question.content)
            seconds.append(perf_counter() - start)
            answer.raise_for_status()
    high = float(np.quantile(seconds[3:], 0.95)) * 1000
    return Record(f"{question.name}, p95", high, "ms", question.budget)


def list_series(url: str, days: int) -> list[Question]:
    """Drift series as charts ask for them."""
    path, arrow = f"{url}/models/m/drift", {"accept": "application/vnd.apache.arrow.stream"}
    of_one = f"{path}?from=-{days}d&feature=f7"
    return [
        Question("500 features x 24 h", "GET", f"{path}?from=-24h", budget=100),
        Question("500 features x 24 h as Arrow", "GET", f"{path}?from=-24h", arrow),
        Question(f"1 feature x {days} days", "GET", of_one, runs=40, budget=100),
        Question("summary", "GET", f"{path}/summary", runs=40),
    ]


def list_intake(url: str) -> list[Question]:
    """Predictions as a service sends them: acknowledged once durable."""
    rng = np.random.default_rng(1)
    schema = Schema.from_dict(SCHEMA)
    values = rng.normal(size=(ROWS, FEATURES)).astype(np.float32)
    outputs = np.column_stack([rng.random(ROWS)])
    columns = Columns(values, outputs, np.zeros((ROWS, 1), np.int32), (("1",),))
    moments = np.full(ROWS, int(time() * MICROSECONDS))
    ids = tuple(f"p{i}" for i in range(ROWS))
    batch = Batch("m", "1", schema.schema_id, "b", ids, moments, columns)
    packed = encode_batch(batch, schema)
    names = [feature.name for feature in schema.features]
    rows = [
        {
            "prediction_id": name,
            "timestamp": "2025-01-01T00:00:00Z",
            "features": dict(zip(names, row.round(5).tolist(), strict=True)),
            "prediction": 1,
        }
        for name, row in zip(ids, values, strict=True)
    ]
    body = json.dumps({"model_id": "m", "version": "1", "predictions": rows}).encode()
    one = json.dumps({"model_id": "m", "version": "1", "predictions": rows[:1]}).encode()
    path, plain = f"{url}/predictions", {"content-type": "application/json"}
    return [
        Question("1 prediction of 500 features, JSON", "POST", path, plain, one),
        Question("900 of 500 features, JSON", "POST", path, plain, body, runs=20),
        Question("900 of 500 features, batch format", "POST", path, {"content-type": CONTENT_TYPE}, packed),
    ]


def main() -> None:
    """Measure and report."""
    parser = make_parser(__doc__)
    parser.add_argument("--days", type=int, default=90, help="days of windows (default 90)")
    options = parser.parse_args()
    with run_server() as (database, url), ProcessPoolExecutor(1, get_context("spawn")) as elsewhere:
        write_windows(database, options.days, int(time() * MICROSECONDS) // QUARTER * QUARTER)
        records = list(elsewhere.map(ask, [*list_series(url, options.days), *list_intake(url)]))
    report("The HTTP API", records, options)


if __name__ == "__main__":
    main()
